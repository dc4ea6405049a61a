"""A head of your own in one file: labels that have an order, trained with a loss that knows it.

    python examples/custom_head.py

Five-star ratings are no five unrelated classes: a 4 for a 5 is a smaller mistake than a 1. The head scores each step
of the scale, "more than one star?", "more than two?", ... (Frank & Hall, 2001), with binary cross-entropy.
"""

import random
import sys
from typing import Any

import torch
from torch import nn

import reasoner
from reasoner.losses import binary_cross_entropy


class OrdinalHead(reasoner.TaskHead):
    """Own layers on the mean of the hidden states; one logit a step of the scale."""

    def __init__(self, config: Any, *, num_outputs: int, dropout: float = 0.1) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.steps = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.width, num_outputs - 1))

    def forward(self, hidden: torch.Tensor, batch: Any) -> dict[str, torch.Tensor]:
        mask = batch.inputs["attention_mask"].unsqueeze(-1)  # (batch, length, 1)
        return {"logits": self.steps((hidden * mask).sum(1) / mask.sum(1))}  # (batch, labels - 1)

    def loss(self, outputs: dict[str, torch.Tensor], batch: Any) -> reasoner.LossSum:
        steps = torch.arange(self.num_outputs - 1, device=batch.targets["labels"].device)
        above = (batch.targets["labels"].unsqueeze(-1) > steps).float()  # (batch, labels - 1)
        return binary_cross_entropy(outputs["logits"], above)

    def predict(self, outputs: dict[str, torch.Tensor], batch: Any) -> list[Any]:
        above = outputs["logits"].float().sigmoid().cummin(-1).values  # (batch, labels - 1), falling
        ones, zeros = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
        return list((torch.cat([ones, above], -1) - torch.cat([above, zeros], -1)).cpu().numpy())  # (batch, labels)


reasoner.register_head("ordinal", OrdinalHead)


def reviews(number: int, seed: int) -> list[dict[str, str]]:
    """Return generated reviews with one to five stars."""
    words = {1: "dreadful broken", 2: "poor slow", 3: "fair ordinary", 4: "good solid", 5: "superb delightful"}
    things = ["The lamp", "This kettle", "The chair", "My new bag", "The radio", "That jacket"]
    ends = ["I had it for a week.", "It came on Monday.", "My sister has one too.", "We use it every day."]
    rng = random.Random(seed)
    rows = []
    for _ in range(number):
        stars = rng.randint(1, 5)
        said = rng.choice(words[stars].split())
        rows.append({"text": f"{rng.choice(things)} is {said}. {rng.choice(ends)}", "label": str(stars)})
    return rows


def train(output: str, model: Any = None, **settings: Any) -> reasoner.Result:
    data = {"train": reviews(300, 0), "validation": reviews(80, 1), "test": reviews(80, 2)}
    defaults = {"num_train_epochs": 8, "patience": 2, "learning_rate": 3e-4}
    task = reasoner.Classification(head="ordinal")
    return reasoner.fine_tune(model, data, task=task, output_dir=output, **{**defaults, **settings})


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "output/custom_head"
    print(train(folder).report())
    print(reasoner.load(folder).predict("This kettle is superb. We use it every day."))
