"""The contract of a head, the part that people subclass: outputs, their loss, and the small records kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from reasoner.data.features import Batch
from reasoner.losses import LossSum

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Outputs = dict[str, Tensor]


class Runs(Protocol):
    """A model as `infer` sees it: a batch in, outputs out."""

    def __call__(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch."""


class TaskHead(nn.Module, ABC):
    """The output layer of a task and its loss. It knows nothing about data.

    Either `auto_class` names the transformers class whose layers are borrowed, so that plain transformers loads the
    saved folder, or the head has layers of its own and `forward` runs them on the backbone's hidden states.
    """

    auto_class: ClassVar[str | None] = None
    """Such as `"AutoModelForTokenClassification"`; None: own layers."""

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

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Run the model and return its records; a head that generates overrides this."""
        return self.predict(model(batch), batch)
