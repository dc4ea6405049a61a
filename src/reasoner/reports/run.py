"""The record of a run: everything that the reports say, as plain JSON values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self


@dataclass(kw_only=True)
class Run:
    """What was trained, on what, how, and what came of it."""

    task: str
    """Registered name, such as "ner"."""
    model: str
    """Hub id or folder of the pretrained model."""
    method: str
    """Such as `Full()` or `Freeze(layers=4, embeddings=True)`."""
    primary_metric: str
    compared_split: str
    """The split on which "before" was scored, "test" if there is one, else "validation"."""
    labels: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """Examples in each split; of a stream of training rows those that were read."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where each split came from, as the user named it."""
    parameters: int = 0
    trainable_parameters: int = 0
    bytes_on_disk: int = 0
    """What the weights took when they were last saved; 0 if they never were."""
    config: dict[str, Any] = field(default_factory=dict)
    """All training settings, the learning rate that was used among them."""
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By "before", "train", "validation", "test": numbers, and tables as nested dicts (`by_type`, `by_label`, ...).
    "before" is absent when it was not asked for, "test" when there is no test split. "train" holds `seconds`,
    `tokens_per_second`, `loss`, `steps`, `epochs`, what of them was padding, `evaluations` and `evaluation_seconds`,
    `peak_memory_mib` (CUDA: of the device; else of the whole process), and on the CPU the `threads`."""
    intervals: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the primary metric, by "before", "validation", "test": `lower`, `upper` and `confidence` of its bootstrap
    interval over rows. A split is absent where the task has no `primary_counts`."""
    continued: dict[str, Any] = field(default_factory=dict)
    """With `after`: which model was taught again (`after`), by which `protection`, the `protected_rows` of each old
    data set by split, the `labels_added`, and as `old` the fields of a `Comparison` for each of these data sets, on its
    validation rows: the old model before, the new one after. Empty: the training began from a pretrained model."""
    comparison: dict[str, Any] | None = None
    """After against before on the compared split, the fields of `Comparison`; None when "before" was not asked for."""
    seeds: list[dict[str, Any]] = field(default_factory=list)
    """With several seeds, what each gave: `seed`, `validation` and `test` (the primary metric by name), `seconds`. The
    rest of the record is that of the best on validation, whose seed is in `config`."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Rows with `step`, `epoch`, `split` ("train" with `loss` and `learning_rate`, "validation" with scores)."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """What the probabilities are worth; empty where the task has none. `temperature` of the head, and the expected
    calibration error on validation without and with it (`validation_ece_before`, `validation_ece_after`). On the
    compared split: `count` of the rows (in NER entities), `ece`, `mce`, the `bins` of a reliability plot and the points
    of `risk_coverage`, with `risk_coverage_area`. `conformal_scores` of validation, for label sets."""
    checks: dict[str, Any] = field(default_factory=dict)
    """What was found before training: `findings`, `rows` and the `estimate`; see `checks.report.CheckReport`."""
    best_step: int | None = None
    stopped_early: bool = False
    notices: list[str] = field(default_factory=list)
    """Everything that was dropped, repaired, inferred or defaulted, as it was said."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of reasoner, torch, transformers, Python."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` gave; fields of a later version are left aside."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
