"""How is what a model knows kept while it is taught more? Settings alone; `previous` and the trainer do the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from reasoner.errors import ConfigError, suggestion


@dataclass(frozen=True)
class Protection:
    """A frozen dataclass; its fields are the settings, JSON values."""

    needs_rows: ClassVar[bool] = False
    """Whether it works with old rows."""


@dataclass(frozen=True)
class Replay(Protection):
    """Show old rows among the new ones, drawn anew for each epoch (Rolnick et al., 2019).

    Experience replay, https://arxiv.org/abs/1811.11682, where as many old rows as new ones do best.
    """

    needs_rows = True
    share: float = 0.5
    """Of the rows of an epoch that are old ones, above 0 and below 1; where there are fewer old rows, all of them."""

    def __post_init__(self) -> None:
        _require(0 < self.share < 1, f"Replay(share={self.share!r}): give a number between 0 and 1.")

    def drawn(self, new: int) -> int:
        """Return how many old rows belong beside so many new ones."""
        return max(1, round(new * self.share / (1 - self.share)))


@dataclass(frozen=True)
class EWC(Protection):
    """Hold each weight the faster to its old value, the more the old rows depend on it (Kirkpatrick et al., 2017).

    Elastic weight consolidation, https://arxiv.org/abs/1612.00796, equation 3: `strength / 2` times the sum of
    `F (w - w_old) ** 2` is added to the mean loss. `F` is the diagonal of the Fisher information of the old model: the
    mean over the labels of old rows of the squared gradient of a row's log-likelihood, with the gold labels (the
    "empirical" Fisher), worked out row by row.
    """

    needs_rows = True
    strength: float = 1000.0
    """Lambda in the paper."""
    rows: int = 500
    """How many old rows are run at most, drawn by the seed: each takes a backward pass of its own."""

    def __post_init__(self) -> None:
        _require(self.strength > 0, f"EWC(strength={self.strength!r}): give a number above 0.")
        _require(isinstance(self.rows, int) and self.rows >= 1, f"EWC(rows={self.rows!r}): give a whole number from 1.")


@dataclass(frozen=True)
class LwF(Protection):
    """Let the new rows be learned together with what the old model says of them (Li & Hoiem, 2016).

    Learning without forgetting, https://arxiv.org/abs/1606.09282: the old model is the teacher of its own labels, by
    the mechanism of `teacher`; no old row is needed.
    """

    weight: float = 0.5
    """The old model's share of the loss, above 0 and below 1; half and half is the paper's lambda of 1."""
    temperature: float = 2.0
    """What logits are divided by; 2 in the paper."""

    def __post_init__(self) -> None:
        _require(0 < self.weight < 1, f"LwF(weight={self.weight!r}): give a number between 0 and 1.")
        _require(self.temperature > 0, f"LwF(temperature={self.temperature!r}): give a number above 0.")


@dataclass(frozen=True)
class OwnAdapter(Protection):
    """Leave the old model as it is, and put another adapter with a head of its own on the same base model.

    Houlsby et al. (2019, https://arxiv.org/abs/1902.00751, section 1). Nothing is forgotten, but whoever asks must know
    which model to ask: the new one has the new labels alone. `load_together` holds the base once for all of them.
    """


PROTECTIONS: dict[str, type[Protection]] = {"replay": Replay, "ewc": EWC, "lwf": LwF, "adapters": OwnAdapter}
"""By the names that `fine_tune` takes."""


def as_protection(protection: Any) -> Protection | None:
    """Return the protection given by name (with its default settings) or as an object; None: none.

    Raises:
        ConfigError: if it is neither.
    """
    if protection is None or isinstance(protection, Protection):
        return protection
    if isinstance(protection, str) and protection in PROTECTIONS:
        return PROTECTIONS[protection]()
    near = suggestion(protection, PROTECTIONS) if isinstance(protection, str) else "Give a name, or an object."
    raise ConfigError(f"protection is {protection!r:.60}; there are {', '.join(PROTECTIONS)}. {near}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)
