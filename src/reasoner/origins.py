"""What did this library do to a model before, that a training on it starts from?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasoner.notices import say
from reasoner.storage import CONFIG_FILE

PRETRAINING_FILE = "pretraining.json"
"""The record that `pretrain` writes beside the model."""
PERPLEXITIES = ("perplexity", "masked_perplexity")
"""What the scores in it are called: of the next token, and of masked ones."""


def perplexity_name(scores: dict[str, Any]) -> str:
    """Return which of `PERPLEXITIES` stands in the scores."""
    return next(name for name in PERPLEXITIES if name in scores)


def say_origin(source: Any) -> None:
    """Say, if a model's folder tells it, on what the model was trained before: that belongs into the new record."""
    if not isinstance(source, (str, Path)):
        return
    if run := _read(Path(source) / CONFIG_FILE).get("run"):
        say(f"The model was tuned before on the task {run['task']}, from {run['model']} on {run['rows'].get('train')} "
            "rows; this training starts from its weights.")  # fmt: skip
    if record := _read(Path(source) / PRETRAINING_FILE):
        name = perplexity_name(record["before"])
        before, after = record["before"][name], record["after"][name]
        say(f"{record['model']} was pretrained on {record['texts']['train']} more texts before "
            f"({name.replace('_', ' ')} on held-out ones {before:.2f} before, {after:.2f} after).")  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # none of our folders, or one that says nothing
        return {}
    return values if isinstance(values, dict) else {}
