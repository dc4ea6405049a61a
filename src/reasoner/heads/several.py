"""Several heads on one encoder: a layer and a loss for each part of a task, and one loss of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.base import Outputs, TaskHead
from reasoner.losses import LossSum

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

TEXTS, TOKENS = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
THERE = "there"
"""Name of the target (features, length) that is 1 where a feature is one of the part's, else 0 (padding: -100)."""


class SeveralHead(TaskHead):
    """Part heads side by side (Caruana, 1997, https://doi.org/10.1023/A:1007379606734).

    A part whose head would borrow transformers' layers gets a linear layer here, behind dropout: above the mean of the
    hidden states where texts have labels, above each token where tokens have. Outputs, targets and records are those of
    the part heads; names have `part.` before them, and a record is a dict by part.

    A label of a part weighs its `weights`, in the loss as in its count: so the loss is one sum over one count, and
    exact however rows are batched. With weight 1 / (labels a row) each part counts alike.

    Args:
        config: of the model.
        heads: by part.
        weights: of a label of each part, above 0.
        num_outputs: not used: the parts have their own.

    Raises:
        ConfigError: if a head needs more than hidden states.
    """

    elsewhere = (
        "The folder's network gives hidden states. The layers of the parts are in `head.safetensors`: linear ones,"
        " above the mean of the hidden states for labels of texts, above each token for labels of tokens."
    )

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        heads: Mapping[str, TaskHead],
        weights: Mapping[str, float],
        num_outputs: int = 1,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.parts = nn.ModuleList([_Part(config, name, head, weights[name]) for name, head in heads.items()])

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return the outputs of each part, for those of the features that are its own."""
        outputs: Outputs = {}
        for part in self._all():
            rows = part.rows(batch)
            outputs |= {f"{part.name}.{key}": value for key, value in part(hidden[rows], part.of(batch, rows)).items()}
        return outputs

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the weighted sums of the parts' totals and of their counts."""
        losses = [(part.weight, part.head.loss(part.own(outputs), part.of(batch))) for part in self._all()]
        totals = torch.stack([weight * loss.total for weight, loss in losses])
        return LossSum(totals.sum(), torch.stack([weight * loss.count.to(totals) for weight, loss in losses]).sum())

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return the weighted sum of the parts' divergences."""
        found = [
            part.weight * part.head.divergence(part.own(outputs), part.own(other), part.of(batch))
            for part in self._all()
        ]
        return torch.stack(found).sum()

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return for each feature the record of each part that it belongs to."""
        records: list[Any] = [{} for _ in batch.feature_index]
        for part in self._all():
            rows = part.rows(batch)
            found = part.head.predict(part.own(outputs), part.of(batch, rows))
            for row, record in zip(rows.tolist(), found, strict=True):
                records[row][part.name] = record
        return records

    def _all(self) -> list[_Part]:
        return list(self.parts)  # type: ignore[arg-type]


class _Part(nn.Module):
    """One head, the layer that it needs, and which of a batch is its own."""

    def __init__(self, config: PreTrainedConfig, name: str, head: TaskHead, weight: float) -> None:
        super().__init__()
        kind = type(head)
        plain = kind.infer is TaskHead.infer and kind.model_inputs is TaskHead.model_inputs
        if not plain or head.pretrained or head.auto_class not in (None, TEXTS, TOKENS):
            raise ConfigError(f"{name}: {kind.__name__} needs more of a network than its hidden states, and cannot "
                              "share one. Train this part by itself.")  # fmt: skip
        self.name, self.head, self.weight = name, head, weight
        self.layer = None if head.auto_class is None else _layer(config, head)

    def forward(self, hidden: Tensor, batch: Batch) -> Outputs:
        """Return the outputs that the head's loss takes; all of the part's own features."""
        if self.layer is None:
            outputs: Outputs = self.head(hidden, batch)
            return outputs
        if self.head.auto_class == TEXTS:
            mask = batch.inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (features, length, 1)
            hidden = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)  # (features, width)
        return {"logits": self.layer(hidden)}

    def rows(self, batch: Batch) -> Tensor:
        """Return which features of a batch are the part's."""
        return (batch.targets[f"{self.name}.{THERE}"] == 1).any(1).nonzero().squeeze(1)

    def of(self, batch: Batch, rows: Tensor | None = None) -> Batch:
        """Return the part's own features of a batch, under the names that its head knows."""
        rows = self.rows(batch) if rows is None else rows
        targets = self.own(batch.targets)
        return replace(
            batch,
            inputs={name: tensor[rows] for name, tensor in batch.inputs.items()},
            targets={name: tensor[rows] for name, tensor in targets.items() if name != THERE},
            group=batch.group[rows].unique(return_inverse=True)[1],  # type: ignore[no-untyped-call]
            feature_index=[batch.feature_index[row] for row in rows.tolist()],
            states=None,
        )

    def own(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what is the part's of tensors by name, without its name."""
        start = f"{self.name}."
        return {name.removeprefix(start): tensor for name, tensor in named.items() if name.startswith(start)}


def _layer(config: PreTrainedConfig, head: TaskHead) -> nn.Module:
    """Return dropout and a linear layer, its weights drawn as the architecture's are."""
    names = ("classifier_dropout", "hidden_dropout_prob", "dropout", "resid_pdrop")
    given = (getattr(config, name, None) for name in names)
    linear = nn.Linear(head.width, head.num_outputs)
    nn.init.normal_(linear.weight, std=getattr(config, "initializer_range", None) or 0.02)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(next((share for share in given if share is not None), 0.0)), linear)
