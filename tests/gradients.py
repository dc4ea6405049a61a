"""The gradient of one batch as the trainer computes it, and the one that it is compared with."""

from __future__ import annotations

import torch

from reasoner.training.trainer import Trainer


def first_gradient(predictor, batches, *, config, extras, seed=5, callbacks=()):
    """Return the gradient of the first batch's objective as the trainer sums it up, the loss, and the batch."""
    trainer = Trainer(predictor.model, batches, config=config, extras=extras, callbacks=callbacks)
    trainer.model.train()
    trainer.optimizer.zero_grad()
    torch.manual_seed(seed)
    batch = next(iter(batches))
    (loss,) = trainer._micro_batches.run([batch], trainer.backward, trainer.optimizer.zero_grad)
    return {n: w.grad.clone() for n, w in predictor.model.named_parameters() if w.grad is not None}, loss, batch


def same(ours, theirs, tolerance=1e-9):
    """Assert that two gradients are equal, and not nothing."""
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        scale = max(1.0, theirs[name].abs().max().item())
        torch.testing.assert_close(gradient, theirs[name], rtol=tolerance, atol=tolerance * scale, msg=name)
    assert max(gradient.abs().max().item() for gradient in ours.values()) > 1e-4


def collected(model, total):
    """Return the gradient of a scalar, by the name of each weight that it depends on."""
    weights = dict(model.named_parameters())
    found = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(weights, found, strict=True) if gradient is not None}
