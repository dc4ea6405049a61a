"""What did a tuned model forget of the task that it was tuned on before?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.storage import CONFIG_FILE, load_folder


class OldSkills:
    """Rows of an old task, on which a model is scored before and after it was tuned on another.

    The old head, and the pooler under it, are those that the folder holds; the layers below are the tuned ones. So what
    is measured is what happened to the layers: with `method="head"` nothing is forgotten.

    Args:
        data: rows with gold for the old task, as `fine_tune` takes them; one split.
        device: where to score.

    Raises:
        ConfigError: if there are several splits.
        DataError: if they cannot be read.
    """

    def __init__(self, data: Any, device: torch.device) -> None:
        splits = read_splits(data, alone="old_data")
        if len(splits) != 1:
            raise ConfigError(f"old_data takes one split, and it has {', '.join(splits)}. Give one of them.")
        ((self.name, self.rows),) = splits.items()
        self.device = device
        self._before: dict[Path, float] = {}

    def before(self, folder: Path) -> float:
        """Return the score of the model in a folder, as it is; it is computed once.

        Raises:
            DataError: if the rows are not for its task, or hold other labels.
        """
        if folder not in self._before:
            self._before[folder] = self._score(load_folder(folder)[0])
        return self._before[folder]

    def after(self, folder: Path, tuned: Predictor) -> dict[str, Any]:
        """Return `metric`, `before` and `after`; the tuned model is taken apart for it, and must not be used again."""
        old, _ = load_folder(folder)
        _take_layers(old.model, tuned.model)
        return {"metric": old.task.primary_metric, "before": self.before(folder), "after": self._score(old)}

    def _score(self, predictor: Predictor) -> float:
        predictor.model.to(self.device).eval()
        schema = predictor.task.schema(predictor.task.settings())
        examples = examples_from_rows({self.name: self.rows}, schema)[self.name]
        evaluation = predictor.evaluate_examples(examples, name="old_data")
        return float(evaluation.metrics[predictor.task.primary_metric])


def tuned_folder(model: Any) -> Path:
    """Return the folder of a model that this library tuned.

    Raises:
        ConfigError: if it is none.
    """
    if isinstance(model, (str, Path)) and (Path(model) / CONFIG_FILE).is_file():
        return Path(model)
    raise ConfigError(
        f"old_data needs a model that was tuned on the old task by this library, and {model!s:.60} is none. "
        "Give the folder that fine_tune(..., output_dir=...) wrote."
    )


def _take_layers(old: Any, tuned: Any) -> None:
    """Put the tuned backbone, with the old pooler, in place of the old one."""
    backbone = tuned.backbone
    if hasattr(backbone, "pooler"):
        backbone.pooler = getattr(old.backbone, "pooler", None)
    if old.network.base_model is old.network:
        old.network = backbone
    else:
        setattr(old.network, old.network.base_model_prefix, backbone)
