"""What did a training cost: time, speed, padding, memory?"""

from __future__ import annotations

from typing import Any

import torch

from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.training.engine import training_operations
from reasoner.training.forecast import peak_memory_mib
from reasoner.training.history import History
from reasoner.training.ranks import current


def training_metrics(history: History, predictor: Predictor, validation: Encoded, peak: float | None) -> dict[str, Any]:
    """Return how training went: how long it took, how fast it was, and how much of it was padding."""
    tokens_per_second = history.tokens / max(history.seconds, 1e-9)
    operations = tokens_per_second / current().number * training_operations(predictor.model)
    share = (
        {}
        if peak is None
        else {
            "peak_share": operations / peak,
            "peak_operations_per_second": peak,
        }
    )
    return {
        "loss": [row["loss"] for row in history.rows if row["split"] == "train"][-1],
        "seconds": history.seconds,
        "tokens_per_second": tokens_per_second,
        **share,
        "steps": history.steps,
        "epochs": history.epochs,
        "evaluation_seconds": sum(history.evaluation_seconds),
        "evaluations": len(history.evaluation_seconds),
        **_machine(predictor.device),
        "positions": history.positions,
        "padding_share": 1 - history.tokens / history.positions,
        "evaluation_padding_share": predictor.padding_share(validation),
    }


def _machine(device: torch.device) -> dict[str, Any]:
    """Return how much of the machine training used."""
    memory = peak_memory_mib(device)
    return ({} if memory is None else {"peak_memory_mib": memory}) | (
        {"threads": torch.get_num_threads()} if device.type == "cpu" else {}
    )
