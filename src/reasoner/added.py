"""What has a method added to a network, and how is it kept apart from the base model?"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import say

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The names are peft's."""
BOTTLENECK_FILE = "bottlenecks.safetensors"
"""Of the method `Adapter`."""
TASK_TYPES = {
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
    None: "FEATURE_EXTRACTION",
}
"""What peft calls the networks of our heads; it has no name for multiple choice."""
CACHE_NAMES = ("cache", "past_key_values")
"""What transformers' backbones call their cache: since 5.24, and before."""
UNUSED_COPIES = ".original_module."
"""In the names of the head as it was before training, which peft keeps beside the one that learns. Nobody uses it."""


class Added(nn.Module, ABC):
    """Weights that a method put into a network, or before it. They are saved, and the network's own are not."""

    virtual_tokens: int = 0
    """Positions before each row that the method takes for itself; if there are any, the network is run by `forward`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what learns in the network, its head among it, and the settings that make room for it again."""

    def check_mergeable(self) -> None:
        """Refuse, unless the method can be folded into the network.

        Raises:
            ConfigError: if it cannot.
        """
        raise ConfigError(
            "These weights cannot be merged: they are layers or tokens of their own, and no change of the network's "
            "weights gives the same outputs. Keep them as they are; 'lora' and 'ia3' can be merged."
        )

    def merged(self) -> Any:
        """Fold the weights into the network, and return it: a plain one, with the same outputs."""
        raise NotImplementedError


class PeftAdded(Added):
    """What peft added.

    Args:
        peft: a `PeftModel`; its base is the network, whose modules were replaced in place.
        base_name: of the base model, for peft's file: peft would write the folder that it was loaded from.
    """

    def __init__(self, peft: Any, base_name: str) -> None:
        super().__init__()
        self.peft = peft
        self.config = peft.active_peft_config
        self.config.base_model_name_or_path = base_name or None
        if self.config.is_prompt_learning:
            self.virtual_tokens = self.config.num_virtual_tokens

    def forward(self, **inputs: Tensor) -> Any:
        """Run the network below its virtual tokens, and leave out what it gives for them."""
        if self.config.peft_type == "PREFIX_TUNING":
            return self._behind_prefix(inputs)
        network = self.peft.get_base_model()
        last_token = self.config.task_type == "SEQ_CLS" and hasattr(network, "score")
        if last_token and self.config.peft_type == "PROMPT_TUNING":
            with _last_token_at_the_end(network.base_model, inputs["attention_mask"], self.virtual_tokens):
                return self.peft(**inputs)
        if self.config.task_type == "FEATURE_EXTRACTION":
            inputs.pop("token_type_ids", None)  # peft would warn, and leave them out
        if "logits_to_keep" in inputs:
            return self.peft(**{**inputs, "logits_to_keep": self._further(inputs["logits_to_keep"])})
        outputs = self.peft(**inputs)
        if self.config.task_type != "SEQ_CLS":
            length = inputs["input_ids"].shape[1]
            for name, value in outputs.items():
                if isinstance(value, Tensor) and value.shape[1] == length + self.virtual_tokens:
                    outputs[name] = value[:, self.virtual_tokens :]
        return outputs

    def _further(self, places: Tensor) -> Tensor:
        """Return places, as a mask (rows, length) or by their numbers, as they are behind the virtual tokens."""
        if places.dtype == torch.bool:
            return torch.nn.functional.pad(places, (self.virtual_tokens, 0), value=False)
        return places + self.virtual_tokens

    def generate(self, **inputs: Any) -> Any:
        """Let the network generate below its virtual tokens, which its cache keeps; see `TaskModel.generate`.

        peft's own `generate` counts the positions of rows that are padded on the left from their padding.
        """
        with self._below() as network:
            return network.generate(**inputs)

    def _behind_prefix(self, inputs: dict[str, Tensor]) -> Any:
        """Run the network with the learned keys and values in its cache.

        peft's own `forward` looks for an argument of the backbone that transformers 5.24 gave a new name.
        """
        if self.config.task_type == "FEATURE_EXTRACTION":
            inputs.pop("token_type_ids", None)  # as for prompts
        with self._below() as network:
            return network(**inputs)

    @contextmanager
    def _below(self) -> Iterator[Any]:
        """Give the network; inside the block the first call of its backbone begins with the virtual tokens.

        Later calls go on from the cache of the first.
        """
        network = self.peft.get_base_model()
        forward, begun = signature(type(network.base_model).forward), False

        def insert(backbone: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            nonlocal begun
            given = forward.bind(backbone, *args, **kwargs).arguments
            given |= given.pop("kwargs", {})
            mask = given.get("attention_mask")  # (rows, length); `generate` leaves out one that hides nothing
            if mask is not None:
                given["attention_mask"] = torch.cat([mask.new_ones(len(mask), self.virtual_tokens), mask], 1)
            if given.get("position_ids") is not None:
                given["position_ids"] = given["position_ids"] + self.virtual_tokens
            given |= {} if begun else self._beginning(network, given)
            begun = True
            return (), {name: value for name, value in given.items() if name != "self"}

        hook = network.base_model.register_forward_pre_hook(insert, with_kwargs=True)
        try:
            yield network
        finally:
            hook.remove()

    def _beginning(self, network: Any, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a backbone's first call that hold the virtual tokens: its cache, or embeddings."""
        rows, positions = len(given["input_ids"]), given.get("position_ids")
        prompt = self.peft.get_prompt(rows)
        if self.config.peft_type == "PREFIX_TUNING":
            return {str(cache_name(network.base_model)): prompt}
        embedded = network.get_input_embeddings()(given["input_ids"])  # (rows, length, width)
        if positions is not None:
            own = torch.arange(self.virtual_tokens, device=positions.device).expand(rows, -1)
            positions = torch.cat([own, positions], 1)
        return {"input_ids": None, "inputs_embeds": torch.cat([prompt, embedded], 1), "position_ids": positions}

    def save(self, folder: Path) -> None:
        """Write peft's two files, which `PeftModel.from_pretrained` reads."""
        with quiet_peft():
            self.peft.save_pretrained(folder, save_embedding_layers=False)

    def check_mergeable(self) -> None:
        """Refuse virtual tokens."""
        if self.virtual_tokens:
            super().check_mergeable()

    def merged(self) -> Any:
        """Fold LoRA's or IA3's weights into the network (peft's own `merge_and_unload` fails for IA3 with a pooler)."""
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils import ModulesToSaveWrapper

        network = self.peft.get_base_model()
        for name, module in list(network.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
                network.set_submodule(name, module.get_base_layer())
            elif isinstance(module, ModulesToSaveWrapper):
                network.set_submodule(name, module.modules_to_save[module.active_adapters[0]])
        return network


@contextmanager
def _last_token_at_the_end(backbone: nn.Module, mask: Tensor, before: int) -> Iterator[None]:
    """Let the last position hold what the last token's does.

    Without ids transformers' decoders classify a text by its last position, and that may be padding.
    """
    places = torch.arange(mask.shape[1], device=mask.device)
    last = before + (mask * places).argmax(1)  # (rows,)

    def move(_: Any, __: Any, output: Any) -> Any:
        hidden = output.last_hidden_state  # (rows, virtual tokens + length, width)
        found = hidden[torch.arange(len(last), device=last.device), last].unsqueeze(1)
        output.last_hidden_state = torch.cat([hidden[:, :-1], found], 1)
        return output

    hook = backbone.register_forward_hook(move)
    try:
        yield
    finally:
        hook.remove()


def cache_name(backbone: nn.Module) -> str | None:
    """Return the name under which a backbone takes keys and values of earlier tokens; None if it takes none."""
    arguments = signature(type(backbone).forward).parameters
    return next((name for name in CACHE_NAMES if name in arguments), None)


def add_with_peft(model: Any, kind: str, **settings: Any) -> None:
    """Let peft add weights to a `TaskModel`; its head, and the pooler that feeds it, learn beside them.

    Args:
        model: the task model.
        kind: peft's class of settings, such as `"LoraConfig"`.
        settings: its fields.

    Raises:
        ConfigError: if peft is not installed, or cannot do this with the architecture.
    """
    peft = import_peft()
    task_type = TASK_TYPES.get(model.head.auto_class)
    config = getattr(peft, kind)(task_type=task_type, modules_to_save=head_modules(model), **settings)
    if config.is_prompt_learning and task_type is None:
        raise ConfigError("peft runs no virtual tokens for multiple choice. Take method='lora' or 'adapter'.")

    again = any(getattr(module, "gradient_checkpointing", False) for module in model.network.modules())
    if config.is_prompt_learning and again:
        raise ConfigError(f"{kind}: transformers computes nothing again in layers that are frozen, and virtual tokens "
                          "learn below them. Leave gradient_checkpointing out, or take method='lora'.")  # fmt: skip
    if config.is_prompt_learning and model.network.config.is_encoder_decoder:
        raise ConfigError(f"{kind}: here virtual tokens stand before no encoder-decoder. Take method='lora' or "
                          "'adapter'.")  # fmt: skip
    if config.is_prompt_learning and task_type == "FEATURE_EXTRACTION":
        say("Token types are left out: peft runs a backbone whose head has own layers without them.")

    def make() -> PeftAdded:
        with quiet_peft():
            return PeftAdded(peft.get_peft_model(model.network, config), model.base_name)

    try:
        model.add(make)
    except ValueError as error:
        raise ConfigError(f"peft refuses {kind} for {type(model.network).__name__}: {error}") from error


def read_peft(model: Any, folder: Path) -> PeftAdded:
    """Put into the network of a `TaskModel` what `PeftAdded.save` wrote."""
    peft = import_peft()
    if not (folder / PEFT_WEIGHTS).is_file():  # peft would take a file of another kind instead
        raise CheckpointError(f"{folder} lacks {PEFT_WEIGHTS}, the weights that were added. Save it again.")
    with quiet_peft():
        read = peft.PeftModel.from_pretrained(model.network, str(folder), torch_device="cpu")
        return PeftAdded(read, model.base_name)


def import_peft() -> Any:
    """Return the package.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import peft
    except ImportError:
        raise ConfigError(
            "The methods 'lora', 'ia3', 'prefix' and 'prompt' need peft. Install it: pip install 'reasoner-ft[peft]'."
        ) from None
    return peft


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silence peft's warnings: of settings that it corrects, and of files that it looks for on the Hub."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def head_modules(model: Any) -> list[str]:
    """Return the names of the network's modules beside its backbone that have weights, and of the pooler.

    Those that came with the checkpoint (`TaskHead.pretrained`) are left out: they stay as they are.
    """
    network, backbone = model.network, model.backbone
    names = [] if network is backbone or model.head.pretrained else [
        name for name, module in network.named_children() if module is not backbone and list(module.parameters())
    ]  # fmt: skip
    return names if getattr(backbone, "pooler", None) is None else [*names, "pooler"]


def linear_maps(layer: nn.Module) -> dict[str, nn.Module]:
    """Return the linear maps of a layer by their names in it, in the order in which the layer has them."""
    from transformers.pytorch_utils import Conv1D

    return {name: module for name, module in layer.named_modules() if isinstance(module, (nn.Linear, Conv1D))}


def widths(linear: Any) -> tuple[int, int]:
    """Return how wide what goes into a linear map is, and what comes out."""
    if isinstance(linear, nn.Linear):
        return linear.in_features, linear.out_features
    return int(linear.nx), int(linear.nf)  # GPT-2's Conv1D
