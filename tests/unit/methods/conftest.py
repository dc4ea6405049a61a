"""What do the tests of methods share? Two steps of training, and what they changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def train_steps():
    """`train_steps(predictor, data)` makes two steps at a rate that moves every weight that learns."""
    from reasoner.training.config import TrainingConfig
    from reasoner.training.trainer import Trainer

    def train(predictor: Any, data: Any, *, steps: int = 2) -> None:
        config = TrainingConfig(use_cpu=True, learning_rate=1e-2, warmup_steps=0, max_steps=steps)
        Trainer(predictor.model, predictor.batches(data, batch_size=16, shuffle=True), config=config).train()

    return train


@pytest.fixture(scope="session")
def sharp_models(prepare, tmp_path_factory):
    """`sharp_models("bert")` is the folder of a tiny model with larger weights: see `prepare`."""
    folders: dict[str, Any] = {}

    def folder(architecture: str) -> Any:
        if architecture not in folders:
            predictor = prepare("ner", architecture=architecture, sharp=True).predictor
            folders[architecture] = tmp_path_factory.mktemp(f"sharp-{architecture}")
            predictor.model.backbone.save_pretrained(folders[architecture])
            predictor.tokenizer.save_pretrained(folders[architecture])
        return folders[architecture]

    return folder


@pytest.fixture(scope="session")
def learned(prepare, train_steps, sharp_models):
    """`learned(method, task, architecture)`: the predictor, the names of its weights, and of those that moved."""

    def tuned(method: Any, task: Any, architecture: str, **settings: Any) -> tuple[Any, set[str], set[str]]:
        predictor, data = prepare(task, source=sharp_models(architecture), **settings)
        method.apply(predictor.model)
        before = {name: weight.detach().clone() for name, weight in predictor.model.named_parameters()}
        train_steps(predictor, data)
        after = dict(predictor.model.named_parameters())
        return predictor, set(after), {name for name in after if not torch.equal(before[name], after[name])}

    return tuned


@pytest.fixture(scope="session")
def outputs_of():
    """`outputs_of(predictor, data)`: what the model gives for the first rows, run with their padding."""

    def outputs(predictor: Any, data: Any, *, packed: bool = False) -> dict[str, torch.Tensor]:
        model, packs = predictor.model.eval(), predictor.model.packs
        model.packs = packed and packs
        batches = predictor.batches(data, batch_size=4)
        with torch.no_grad():
            found = model(batches.collate([0, 1, 2, 3]).to(predictor.device))
        model.packs = packs
        return found

    return outputs
