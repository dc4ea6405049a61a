"""A transformers network and a task head behind one forward, saved and loaded in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from reasoner import networks
from reasoner.added import PEFT_CONFIG, Added, read_peft
from reasoner.base_model import checksum, name_of_base
from reasoner.data.features import Batch
from reasoner.data.labels import same_names
from reasoner.errors import CheckpointError, ConfigError
from reasoner.frozen_parts import backbone_is_frozen, frozen_part
from reasoner.heads.base import Outputs, TaskHead
from reasoner.losses import LossSum
from reasoner.methods.adapter import read_bottlenecks
from reasoner.notices import quietly, say
from reasoner.packing import packed, pooler_of, reason_to_pad, worth_packing
from reasoner.tasks.base import Task

HEAD_FILE = "head.safetensors"
VIRTUAL_TOKENS = "virtual tokens stand before each row"
"""Why a network is not packed."""
LONGEST_DEFAULT = 512
"""Tokens: the length limit for models that would take far more, unless `max_length` says otherwise."""


class TaskModel(nn.Module):
    """`network` is the architecture's own model with its head, or the bare backbone when `head` has own layers."""

    def __init__(self, network: Any, head: TaskHead) -> None:
        super().__init__()
        self.network, self.head = network, head
        self.packs = False
        """Whether batches with much padding are run without it; see `pack`."""
        self.added: Added | None = None
        """What a method put into the network; then only this and the head are saved."""
        self.base_name, self.base_checksum = "", 0
        """Where the base model is (empty: nothing says it), and a number that tells whether it is still the same."""
        self.in_memory = False  # whether it was given as an object, which may be another than the name says

    def add(self, make: Callable[[], Added]) -> None:
        """Let a method put weights of its own into the network.

        Args:
            make: does it.

        Raises:
            ConfigError: if another method did so before.
        """
        if self.added is not None:
            raise ConfigError("The network has weights that another method added. Start from its base model, or from "
                              "what merge() gives.")  # fmt: skip
        self.base_checksum = checksum(self.backbone)
        if self.in_memory and not networks.is_of_checkpoint(self, self.base_name):
            self.base_name = ""
        self.added = make()
        if self.packs and self.virtual_tokens:
            self.packs = False
            say(f"Batches are run with their padding: {VIRTUAL_TOKENS}.")

    @property
    def virtual_tokens(self) -> int:
        """How many positions a method put before each row."""
        return 0 if self.added is None else self.added.virtual_tokens

    @property
    def base(self) -> dict[str, Any] | None:
        """Name and checksum of the base model for the record; None where the folder holds all weights.

        Raises:
            CheckpointError: if nothing says where it is.
        """
        if self.added is None:
            return None
        if not self.base_name:
            raise CheckpointError(
                "The method saves its own weights and not the base model's, and the model that was given says not "
                "where it is from. Write it into a folder (save_pretrained), and give that folder to fine_tune."
            )
        return {"name": self.base_name, "checksum": self.base_checksum}

    def merged(self) -> TaskModel:
        """Return a copy whose network is a plain one with the same outputs.

        Raises:
            ConfigError: if the method added nothing, or what cannot be merged.
        """
        if self.added is None:
            raise ConfigError("There is nothing to merge: the method added no weights, and the model is a plain one.")
        self.added.check_mergeable()
        copy = deepcopy(self)
        assert copy.added is not None
        model = type(self)(copy.added.merged(), copy.head)
        model.base_name, model.packs = self.base_name, self.packs
        return model

    def generate(self, inputs: dict[str, Tensor], **settings: Any) -> Tensor:
        """Return the tokens that are written, by transformers' `generate`; see `generating`.

        Args:
            inputs: `input_ids` and `attention_mask`, (rows, length), padded on the left.
            settings: fields of transformers' `GenerationConfig`; what the checkpoint says of it does not count.

        Returns:
            (rows x `num_return_sequences`, new tokens); what stands behind an end token is of no account.
        """
        from reasoner.generating import generate

        with quietly():
            return generate(self.network, self.added if self.virtual_tokens else None, inputs, settings)

    def run(self, inputs: dict[str, Any]) -> Any:
        """Return what the network (with virtual tokens, if there are any) gives for these arguments, padding and all.

        So a head may run it more than once, with keys and values from before.
        """
        run: Any = self.added if self.virtual_tokens else self.network
        return run(**inputs)

    @property
    def backbone(self) -> nn.Module:
        """The pretrained part, without the task's head."""
        backbone: nn.Module = self.network.base_model
        return backbone

    def forward(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch, by name; what a frozen part gave before is not computed again."""
        part = None if batch.states is None else frozen_part(self.backbone)
        if batch.states is None or part is None or part.training:
            return self._computed(batch)
        known = batch.states.get(batch.feature_index, batch.inputs["input_ids"].shape[1])
        if known is not None:
            with part.giving(known.to(batch.group.device, non_blocking=True)):
                return self._outputs(batch)
        with part.seen() as seen:
            outputs = self._outputs(batch)
        batch.states.put(batch.feature_index, seen[-1])
        return outputs

    def _computed(self, batch: Batch) -> Outputs:
        """Return the outputs with the backbone run, on the tokens alone where that pays."""
        mask = batch.inputs.get("attention_mask")
        if not self.packs or mask is None or not worth_packing(mask.numel(), batch.tokens):
            return self._outputs(batch)
        with packed(self.backbone, mask, batch.tokens, span=getattr(batch, "span", None)):
            return self._outputs(batch)

    def _outputs(self, batch: Batch) -> Outputs:
        results = self.run(self.head.model_inputs(batch))
        if self.head.auto_class is None:
            outputs: Outputs = self.head(results.last_hidden_state, batch)
            return outputs
        return {name: value for name, value in results.items() if name.endswith("logits")}

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the head's loss."""
        return self.head.loss(outputs, batch)

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return the head's divergence between two passes."""
        return self.head.divergence(outputs, other, batch)

    def distillation(self, outputs: Outputs, teacher: Outputs, batch: Batch, *, temperature: float) -> Tensor:
        """Return the head's divergence from a teacher, times the temperature squared.

        So its gradient is of one size at any temperature (Hinton et al., 2015, section 2). Where the teacher says
        nothing, which is NaN, there is no divergence and no gradient. Of labels that it does not know, the last ones,
        the outputs are left out.
        """
        known = {name: outputs[name][..., : logits.shape[-1]] for name, logits in teacher.items()}
        said = {name: torch.where(logits.isnan(), known[name].detach(), logits) for name, logits in teacher.items()}
        ours, theirs = (self.head.scaled(given, temperature) for given in ({**outputs, **known}, said))
        return temperature**2 * self.head.distillation(ours, theirs, batch)

    def debiased(self, outputs: Outputs, bias: Tensor, form: str) -> Outputs:
        """Return the outputs as the loss of a training against a shortcut reads them; see `debiasing`.

        Args:
            outputs: of a batch.
            bias: what the shortcut tells of its features. For "product" its log-probabilities, which the head adds to
                its own. For "focal" a weight for each, (features, 1), by which the gradient of its outputs is
                multiplied: that of the loss is then that of the weighted sum over rows, whatever the head's loss is.
            form: which of both.
        """
        if form == "focal":
            return {
                name: value.detach() + bias.reshape(-1, *[1] * (value.ndim - 1)) * (value - value.detach())
                for name, value in outputs.items()
            }
        return self.head.debiased(outputs, bias)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except in parts that are frozen whole: no dropout is active there."""
        super().train(mode)
        for module in self.network.modules() if mode else ():
            weights = list(module.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                module.eval()
        # dropout beside the frozen modules, in none of them; but virtual tokens learn below them
        if mode and not self.virtual_tokens and backbone_is_frozen(self.backbone):
            self.backbone.eval()
            pooler = pooler_of(self.backbone)
            if pooler is not None:
                pooler.train(any(weight.requires_grad for weight in pooler.parameters()))
        return self

    def pack(self, wanted: bool | None = None, *, padding_side: str = "right") -> None:
        """Decide whether batches with much padding are run without it: outputs and gradients are the same.

        Args:
            wanted: None and True: where a trial on two rows shows that they are; True: and say it if not.
            padding_side: the tokenizer's.
        """
        if wanted is False:
            self.packs = False
            return
        training, network = self.training, self.eval().network
        reason = VIRTUAL_TOKENS if self.virtual_tokens else reason_to_pad(network, padding_side=padding_side)
        self.packs = not reason
        self.train(training)
        if wanted and reason:
            say(f"Batches are run with their padding: {reason}.")

    @classmethod
    def from_pretrained(
        cls, source: Any, task: Task[Any, Any], *, dropout: float | None = None, taken_over: bool = False
    ) -> Self:
        """Make a model for a task from a Hub id, a folder, or a loaded `PreTrainedModel` (which is copied).

        Weights are float32, whatever the checkpoint has. The checkpoint's head is kept when it is of the same kind and
        has the same labels, and made anew otherwise.

        Args:
            source: where the weights are.
            task: says which head, and what goes into `config.json`.
            dropout: the probability in all of the model's dropout layers; None: the checkpoint's.
            taken_over: another model's weights come into it right after: nothing is said of the head.

        Raises:
            ConfigError: if the model cannot be loaded, or its architecture has no such head.
        """
        given = read_config(source)
        config = deepcopy(given)
        config.update({**task.model_config(), **_dropout_settings(config, dropout)})
        head = task.build_head(config)
        auto_class = networks.auto_model(head.auto_class or "AutoModel")
        same_labels = same_names(_label_names(given), _label_names(config))
        with quietly():
            make = networks.copied if isinstance(source, nn.Module) else networks.loaded
            network, has_head = make(source, auto_class, config, same_labels)
        if task.token_types:
            networks.add_token_types(network, task.token_types)
        stored = source.dtype if isinstance(source, nn.Module) else getattr(given, "dtype", None)
        if stored in (torch.float16, torch.bfloat16):
            say(f"The checkpoint's weights are {stored}; they are trained in float32.")
        if head.pretrained:
            networks.check_pretrained(network, has_head)
        elif taken_over:
            pass
        elif has_head and same_labels:
            say("The checkpoint has a head for this task and these labels; it is kept.")
        elif has_head:
            say(f"The checkpoint's head has other labels ({', '.join(_label_names(given)[:5])}); a new one was made.")
        model = cls(network, head)
        model.base_name, model.in_memory = name_of_base(source), isinstance(source, nn.Module)
        return model

    def save(self, folder: Path) -> None:
        """Write the weights, or what was added to a base, and the head's own if it has any, into a folder."""
        if self.added is None:
            with quietly():
                self.network.save_pretrained(folder)
        else:
            self.network.config.architectures = [type(self.network).__name__]
            self.network.config.save_pretrained(folder)
            self.added.save(folder)
        self.save_head(folder)

    def save_head(self, folder: Path) -> None:
        """Write the weights of the head's own, if it has any."""
        from safetensors.torch import save_file

        state = {name: tensor.contiguous() for name, tensor in self.head.state_dict().items()}
        if state:
            save_file(state, folder / HEAD_FILE)

    @classmethod
    def load(cls, folder: Path, task: Task[Any, Any], *, base: dict[str, Any] | None = None) -> Self:
        """Read what `save` wrote.

        Args:
            folder: where it is.
            task: which made the head.
            base: what `TaskModel.base` gave, if that was not None; `checksum` may be left out.

        Raises:
            CheckpointError: if a file is missing or does not fit, or the base model is not what it was.
        """
        config = read_config(folder)
        head = task.build_head(config)
        kind = networks.auto_model(head.auto_class or "AutoModel")
        with quietly():
            network = networks.read_whole(folder, kind) if base is None else networks.read_base(base, kind, config)
            model = cls(network, head)
            if base is not None:
                model.base_name = base["name"]
                model._read_added(folder, base)
        model.read_head(folder)
        return model

    def read_head(self, folder: Path) -> None:
        """Read what `save_head` wrote.

        Raises:
            CheckpointError: if it is missing.
        """
        from safetensors.torch import load_file

        if self.head.state_dict():
            if not (folder / HEAD_FILE).is_file():
                raise CheckpointError(f"{folder} lacks {HEAD_FILE}, the weights of its head. Save it again.")
            self.head.load_state_dict(load_file(folder / HEAD_FILE))

    def _read_added(self, folder: Path, base: dict[str, Any]) -> None:
        if (folder / PEFT_CONFIG).is_file():
            self.add(lambda: read_peft(self, folder))
        else:
            read_bottlenecks(self, folder)
        if base.get("checksum", self.base_checksum) != self.base_checksum:
            raise CheckpointError(
                f"The base model '{base['name']}' is not the one that this was trained on: its weights differ. "
                "Say where that is: load(folder, base_model=...)."
            )


def read_config(source: Any) -> Any:
    """Return a new copy of a model's config, its label names in the order of their numbers.

    Raises:
        ConfigError: if there is no such model, or it asks for code of its own to be run.
    """
    from transformers import AutoConfig, PreTrainedModel

    if not isinstance(source, (str, Path, PreTrainedModel)):
        raise ConfigError(f"model is {source!r:.60}. Give a Hub id, a folder or a transformers PreTrainedModel.")
    try:
        if isinstance(source, PreTrainedModel):
            config = deepcopy(source.config)
        else:
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The model '{source}' cannot be loaded: {error}") from error
    if config.id2label:  # a config.json whose keys are sorted as text has 10 before 2
        config.id2label = dict(sorted(config.id2label.items()))
    return config


def length_limit(network: Any, tokenizer: Any) -> int:
    """Return how many tokens the model takes at most, special tokens included.

    RoBERTa and its kin count positions from the padding index on, so that some of their positions are never used.
    """
    limit = getattr(network.config, "max_position_embeddings", None) or tokenizer.model_max_length
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limit = module.num_embeddings - module.padding_idx - 1
    return int(min(limit, tokenizer.model_max_length))


def _label_names(config: Any) -> list[str]:
    return [str(name) for name in (config.id2label or {}).values()]


def _dropout_settings(config: Any, dropout: float | None) -> dict[str, float]:
    if dropout is None:
        return {}
    names = [
        name
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("_pdrop")) and (isinstance(value, float) or value is None or value == 0)
    ]
    return dict.fromkeys(names, dropout)
