"""What runs an ONNX file in place of transformers' network?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from reasoner.errors import CheckpointError, ConfigError


class Given(dict[str, Tensor]):
    """What a network gave, by name: as keys and, as in transformers, as attributes."""

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class OnnxNetwork(nn.Module):
    """A network that ONNX Runtime runs on the CPU: it gives what the one gave that it was made of, and learns nothing.

    Args:
        file: written by `export_onnx`.
        config: of the model.
        threads: for one run; None: as many as PyTorch has.

    Raises:
        CheckpointError: if the file cannot be read.
        ConfigError: if ONNX Runtime is not installed (the extra `onnx`).
    """

    def __init__(self, file: Path, config: Any, *, threads: int | None = None) -> None:
        super().__init__()
        runtime = import_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3  # errors alone
        if not file.is_file():
            raise CheckpointError(f"'{file.parent}' lacks {file.name}. Write it with reasoner.export_onnx.")
        try:
            self.session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # whatever damaged content leads to in its reader
            raise CheckpointError(f"'{file}' cannot be read by ONNX Runtime: {error}") from error
        self.config = config
        self._takes = [item.name for item in self.session.get_inputs()]
        self._gives = [item.name for item in self.session.get_outputs()]

    @property
    def base_model(self) -> nn.Module:
        """Itself: a file has no backbone apart."""
        return self

    def forward(self, **inputs: Tensor) -> Given:
        """Return what the network gives for these inputs, each (rows, length)."""
        arrays = {name: inputs[name].numpy() for name in self._takes}
        return Given(zip(self._gives, map(torch.from_numpy, self.session.run(self._gives, arrays)), strict=True))

    def get_input_embeddings(self) -> NoReturn:
        """Refuse: whoever asks wants gradients.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("An ONNX model has no gradients. Take the model that it was made of: reasoner.load(folder).")

    def save_pretrained(self, folder: Any) -> NoReturn:
        """Refuse: the folder that it was read from is all there is.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError("An ONNX model is not saved again. Copy the folder that export_onnx wrote.")


def import_runtime() -> Any:
    """Return the package.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("ONNX models need onnxruntime. Install it: pip install 'reasoner-ft[onnx]'.") from None
    return onnxruntime
