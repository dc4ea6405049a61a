"""The contract of a head, the part that people subclass: outputs, their loss, and the small records kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.losses import LossSum

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Outputs = dict[str, Tensor]


class Runs(Protocol):
    """A model as `infer` sees it: a batch in, outputs out."""

    def __call__(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch."""

    def generate(self, inputs: dict[str, Tensor], **settings: Any) -> Tensor:
        """Return the tokens that a decoder goes on with, (rows, new tokens); see `TaskModel.generate`."""

    def run(self, inputs: dict[str, Any]) -> Any:
        """Return what the network gives for these arguments; see `TaskModel.run`."""

    @property
    def network(self) -> Any:
        """Transformers' own model."""

    @property
    def virtual_tokens(self) -> int:
        """How many positions a method put before each row."""


class GoldProbabilities(NamedTuple):
    """How probable the gold is, beside the other label that is the most probable.

    One value for each label: (features,), or (features, length) where a feature has several.
    """

    gold: Tensor
    """The label's number; `-100` where there is none."""
    probability: Tensor
    other: Tensor
    """The number of the other label."""
    other_probability: Tensor


class TaskHead(nn.Module, ABC):
    """The output layer of a task and its loss. It knows nothing about data.

    Either `auto_class` names the transformers class whose layers are borrowed, so that plain transformers loads the
    saved folder, or the head has layers of its own and `forward` runs them on the backbone's hidden states.
    """

    auto_class: ClassVar[str | None] = None
    """Such as `"AutoModelForTokenClassification"`; None: own layers."""
    pretrained: ClassVar[bool] = False
    """Whether the borrowed layers come with every checkpoint of the kind, as the output layer over a vocabulary does:
    they are never made anew, and methods that leave the backbone's weights as they are leave these too."""
    one_pass: ClassVar[bool] = True
    """Whether what the network gives for a whole batch is all that `infer` asks for; else it wants keys and values from
    before, as generation does, and no file that holds one pass (ONNX) will do."""
    scores_choices: ClassVar[bool] = False
    """Whether its records are scores, whose softmax over the choices of a row the task takes; `infer` divides them by
    the temperature, which is then fitted to the probabilities of predictions."""
    outputs_at: ClassVar[str | None] = None
    """What each of its outputs belongs to: "features", or "tokens" (tensors of (features, length, ...)). None: neither,
    so that those for a row and for an edited copy of it cannot be compared as `consistency` does."""
    elsewhere: ClassVar[str] = ""
    """What whoever uses the folder without this library must know of the head, for the model card."""
    temperature: float = 1.0
    """What the logits are divided by before they become probabilities: fitted on validation, 1 until then."""

    def __init__(self, config: PreTrainedConfig, *, num_outputs: int) -> None:
        super().__init__()
        self.width: int = config.hidden_size
        """Of the hidden states."""
        self.num_outputs = num_outputs
        """Outputs for a text, a token or a choice."""

    def model_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the network is called with."""
        return batch.inputs

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return the outputs of the head's own layers.

        Args:
            hidden: (batch, length, width), the backbone's last hidden states.
            batch: what they were computed from; `batch.inputs["attention_mask"]` is (batch, length).
        """
        raise NotImplementedError(f"{type(self).__name__} has neither an auto_class nor a forward.")

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the loss as a total and the count it is over, so that it stays exact under accumulation."""

    @abstractmethod
    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return one small record a feature, on the CPU: what the task's `decode` needs and no more."""

    def negative_log_likelihood(self, outputs: Outputs, batch: Batch) -> LossSum | None:
        """Return how unlikely the gold is, in nats, without weights and smoothing: a temperature is fitted to it.

        None: the outputs give no probabilities that dividing the logits would sharpen or flatten. A head that returns a
        loss promises that no temperature changes what it predicts, only how sure it is.
        """
        return None

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return how far two passes over a batch are from saying the same, summed over what the loss counts: a scalar.

        R-Drop and `consistency` add it to the loss. As a rule it is half the sum of both Kullback-Leibler divergences
        (`losses`).

        Raises:
            ConfigError: if this head has none.
        """
        raise ConfigError(
            f"{type(self).__name__} has no divergence between two predictions, which r_drop and consistency need. "
            "Leave them out."
        )

    def distillation(self, outputs: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return how far outputs are from a teacher's, summed over what the loss counts: a scalar.

        As a rule it is the Kullback-Leibler divergence from the teacher's probabilities (`losses`). Both were divided
        by the temperature (see `scaled`); of the teacher's outputs there are only the logits.

        Raises:
            ConfigError: if this head has none.
        """
        raise ConfigError(f"teacher: {type(self).__name__} has no distillation. Take another head, or leave it out.")

    def debiased(self, outputs: Outputs, bias: Tensor) -> Outputs:
        """Return the outputs with a shortcut's log-probabilities added to them, for the loss of a training against it.

        A softmax over them is then the product of both probabilities (product of experts).

        Args:
            outputs: of a batch.
            bias: (features, outputs), of the labels of each feature; (features, 1) where features are choices.

        Raises:
            ConfigError: if this head chooses no label for a text, or no choice.
        """
        raise ConfigError(f"debias: {type(self).__name__} chooses no label of a text by a softmax. Leave it out.")

    def gold_probabilities(self, outputs: Outputs, batch: Batch) -> GoldProbabilities | None:
        """Return how probable the gold is, without a graph, on the device of the outputs: the label review reads it.

        None: there are no labels to doubt, or no probabilities.
        """
        return None

    def take_over(self, name: str, old: Tensor, into: Tensor) -> None:
        """Put a weight of a head with fewer labels, or a number for each of its parts, into this one's larger weight.

        The old labels are the first ones. As a rule a dimension counts labels, and the old ones' part is the beginning.

        Args:
            name: of the weight, without the module that it is in.
            old: what it was.
            into: is changed in place.
        """
        into[tuple(slice(0, size) for size in old.shape)] = old

    def scaled(self, outputs: Outputs, temperature: float) -> Outputs:
        """Return the outputs with their logits (`logits`, or a name that ends with `_logits`) over the temperature."""
        if temperature == 1:
            return outputs
        return {
            name: value.to(torch.promote_types(value.dtype, torch.float32)) / temperature  # half precision makes ties
            if name == "logits" or name.endswith("_logits")
            else value
            for name, value in outputs.items()
        }

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Run the model and return its records, calibrated; a head that generates overrides this."""
        return self.predict(self.scaled(model(batch), self.temperature), batch)


@torch.no_grad()
def gold_probabilities(logits: Tensor, labels: Tensor) -> GoldProbabilities:
    """Compare the gold with the most probable other label, by a softmax over the last dimension.

    Args:
        logits: (..., classes)
        labels: (...), class indices; `-100` is ignored.
    """
    probabilities = logits.float().softmax(-1)
    index = labels.clamp(min=0).unsqueeze(-1)
    probability = probabilities.gather(-1, index).squeeze(-1)
    other_probability, other = probabilities.scatter(-1, index, -1.0).max(-1)
    return GoldProbabilities(labels, probability, other, other_probability)


def distinct(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Return the rows of a batch's inputs that differ, and for each row which of these it is, (rows,)."""
    known: dict[bytes, int] = {}
    first, place = [], []
    for number, row in enumerate(torch.cat(list(inputs.values()), dim=1).cpu().numpy()):
        key = row.tobytes()
        if key not in known:
            known[key] = len(known)
            first.append(number)
        place.append(known[key])
    return {name: values[first] for name, values in inputs.items()}, torch.tensor(place)
