"""The head that tests register when they need one with layers of its own, which plain transformers does not know."""

from __future__ import annotations

from torch import nn

from reasoner.heads.base import TaskHead
from reasoner.losses import cross_entropy


class OwnLayers(TaskHead):
    """A head with layers of its own."""

    def __init__(self, config, *, num_outputs, problem_type=None):
        super().__init__(config, num_outputs=num_outputs)
        self.layer = nn.Linear(self.width, num_outputs)

    def forward(self, hidden, batch):
        return {"logits": self.layer(hidden[:, 0])}

    def loss(self, outputs, batch):
        return cross_entropy(outputs["logits"], batch.targets["labels"])

    def predict(self, outputs, batch):
        return list(outputs["logits"].softmax(-1).cpu().numpy())
