"""How does a network become an ONNX file, and that one of 8 bits?"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.model import TaskModel
from reasoner.onnx_models.network import import_runtime

LARGEST_FILE = 1_900_000_000
"""Bytes of weights that go into one file: the format's own limit is 2 GiB. More stand in a file beside it."""
DIMENSIONS = {2: ("batch", "length"), 3: ("batch", "choices", "length")}
"""What the dimensions of an input are called, by their number; all of them may have any size."""
NEEDED = ("onnx", "onnxscript")


class _Graph(nn.Module):
    """A model's network as a function from tensors to tensors."""

    def __init__(self, model: TaskModel, takes: list[str], gives: list[str]) -> None:
        super().__init__()
        self.model, self.takes, self.gives = model, takes, gives

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        results = self.model.run(dict(zip(self.takes, tensors, strict=True)))
        return tuple(results[name] for name in self.gives)


def write_graph(model: TaskModel, batch: Batch, file: Path) -> None:
    """Write the network of a model, with its weights; batch and length may be any when it is run.

    Inputs and outputs keep their names: `input_ids` and so on, `logits` or the like. A head with own layers is not in
    the file, whose output is then `last_hidden_state`.

    Args:
        model: in eval mode, on the CPU. Its config is changed.
        batch: of at least two rows and two tokens, an example of its inputs.
        file: where.

    Raises:
        ConfigError: if the exporter is not installed or refuses the network.
    """
    check_installed()
    model.network.config.use_cache = False
    inputs = {name: _two_at_least(tensor) for name, tensor in model.head.model_inputs(batch).items()}
    with torch.no_grad():
        results = model.run(dict(inputs))
    own = model.head.auto_class is None
    gives = ["last_hidden_state"] if own else [name for name in results if name.endswith("logits")]
    dimensions = tuple(dict(enumerate(DIMENSIONS[tensor.dim()])) for tensor in inputs.values())
    size = sum(weight.numel() * weight.element_size() for weight in model.network.parameters())
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                _Graph(model, list(inputs), gives),
                tuple(inputs.values()),
                str(file),
                dynamo=True,
                input_names=list(inputs),
                output_names=gives,
                dynamic_shapes=(dimensions,),
                external_data=size > LARGEST_FILE,
                verbose=False,
            )
    except Exception as error:  # whatever a network does that the exporter cannot follow
        cause: BaseException = error
        while cause.__cause__ is not None:  # the first of them says what it was
            cause = cause.__cause__
        raise ConfigError(
            f"PyTorch's exporter cannot write {type(model.network).__name__} as ONNX with what the method added, if it "
            f"did ({type(cause).__name__}: {' '.join(str(cause).split()):.200}). Use the model as it is."
        ) from error


def quantize(source: Path, target: Path) -> None:
    """Write a graph with its weights as whole numbers of 8 bits; activations become such when it is run.

    Dynamic quantisation as in https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, of the
    matrix products and the embeddings.
    """
    import_runtime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    large = source.with_name(f"{source.name}.data").exists()
    with _quiet():
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, use_external_data_format=large)


def check_installed() -> None:
    """Refuse where a package is missing that writes graphs.

    Raises:
        ConfigError: if it is.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"export_onnx needs {', '.join(missing)}. Install it: pip install 'reasoner-ft[onnx]'.")
    import_runtime()


def _two_at_least(tensor: Tensor) -> Tensor:
    """Return the tensor with every dimension of size 1 made 2: the exporter takes a 1 for one that never changes."""
    return tensor.repeat([2 if size == 1 else 1 for size in tensor.shape])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter and the quantiser say of themselves."""
    exporter, root, nothing = logging.getLogger("torch.onnx"), logging.getLogger(), logging.NullHandler()
    level, disabled = exporter.level, logging.root.manager.disable
    exporter.setLevel(logging.ERROR)
    root.addHandler(nothing)  # or logging would set itself up at their first word
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.removeHandler(nothing)
        exporter.setLevel(level)
