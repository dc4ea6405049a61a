"""Need a frozen part of the network run again? What it gives for a row is computed once, where that changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from shutil import disk_usage
from tempfile import gettempdir
from typing import NamedTuple

import torch
from torch import Tensor

from reasoner.data.feature_file import feature_lengths
from reasoner.data.features import Batch, Feature
from reasoner.data.states import States
from reasoner.data.streams import StreamedRows
from reasoner.evaluation import Encoded
from reasoner.frozen_parts import FrozenPart, frozen_part
from reasoner.heads.base import Outputs
from reasoner.inference import Predictor
from reasoner.losses import LossSum
from reasoner.notices import say
from reasoner.training.config import TrainingConfig

MEGABYTE = 1_000_000
REUSED = ("train", "validation")
"""Splits that are run several times. "test" is not: its `rows_per_second` is that of the whole model."""
CLOSE = 1e-5
"""How near outputs on kept states are to those of the whole network: the same arithmetic on the same numbers."""
ROUNDING = 1e-2
"""By how much states may differ between paddings: hidden states are of the order of 1, and no rounding is so large."""


def keep_states(predictor: Predictor, encoded: Mapping[str, Encoded], config: TrainingConfig) -> dict[str, Encoded]:
    """Return the splits, those that are run more than once with a place for what a frozen backbone or layer gives.

    The first pass over a split fills it (no pass is added), later ones run the rest alone. Nothing is kept where
    the lowest layer learns, where there is no room (`frozen_cache_mb`, `frozen_cache_disk_mb`), or where a trial on two
    rows shows that the rest of the network needs more than these hidden states: the last two are said.
    """
    splits = dict(encoded)
    allowed = max(config.frozen_cache_mb, config.frozen_cache_disk_mb)
    part = frozen_part(predictor.model.backbone) if allowed else None
    if part is None:
        return splits
    if predictor.model.virtual_tokens:
        say("The backbone is frozen, but runs anew in each epoch: the virtual tokens before it learn.")
        return splits
    if config.fsdp:
        say(f"{part.name} frozen, but runs anew in each epoch: with fsdp all ranks run the same.")
        return splits
    if config.adversarial_epsilon:
        say(f"{part.name} frozen, but runs anew in each pass: adversarial training changes what it sees.")
        return splits
    once = config.num_train_epochs == 1 and config.max_steps is None
    once |= isinstance(splits["train"].examples, StreamedRows)  # nobody knows whether a row comes again
    names = [name for name in REUSED if name in splits and not (once and name == "train")]
    lengths = {name: feature_lengths(splits[name].features).tolist() for name in names}
    weight = next(predictor.model.backbone.parameters())
    megabytes = sum(map(sum, lengths.values())) * predictor.model.head.width * weight.element_size() / MEGABYTE
    in_file = goes_to_file(megabytes, config)
    if in_file is None:
        say(f"{part.name} frozen, but runs anew in each epoch: what it gives takes {megabytes:,.0f} MB, more than "
            "frozen_cache_mb and frozen_cache_disk_mb (or half of the free disk) allow.")  # fmt: skip
        return splits
    reason = _reason_to_recompute(predictor, part, encoded["train"])
    if reason:
        say(f"{part.name} frozen, but runs anew in each epoch: {reason}.")
        return splits
    for name, counts in lengths.items():
        states = States(counts, predictor.model.head.width, dtype=weight.dtype, in_file=in_file)
        splits[name] = splits[name]._replace(states=states)
    where = "a temporary file" if in_file else "memory"
    say(f"{part.name} frozen: what it gives for a row is computed once and kept ({megabytes:,.1f} MB in {where}).")
    return splits


def goes_to_file(megabytes: float, config: TrainingConfig) -> bool | None:
    """Return whether what is kept of so many MB goes to a temporary file; None: there is no room for it."""
    if megabytes <= config.frozen_cache_mb:
        return False
    free = disk_usage(gettempdir()).free / MEGABYTE
    return True if megabytes <= min(config.frozen_cache_disk_mb, free / 2) else None


class _Trial(NamedTuple):
    """A batch run twice: by the whole network, and on the states that were kept of that."""

    states: States
    outputs: tuple[Outputs, Outputs]
    losses: tuple[LossSum, LossSum]


def _reason_to_recompute(predictor: Predictor, part: FrozenPart, data: Encoded) -> str:
    """Return why kept states would not give what the whole network gives; empty if they do."""
    head = type(predictor.model.head)
    for name in ("model_inputs", "infer"):
        if not getattr(head, name).__module__.startswith("reasoner.heads."):
            return f"{head.__name__} has its own {name}, which may change what the backbone sees"
    batches = predictor.batches(data, batch_size=1)
    plan = batches.plan()  # the longest first
    if not plan:
        return "there are no rows"
    long, short = ([batches.read(index) for index in plan[place]] for place in (0, -1))
    first = min(range(len(short)), key=lambda index: len(short[index]))
    try:
        padded = _trial(predictor, [short, long])
        alone = _trial(predictor, [[short[first]]])
        if not _is_constant(predictor, part, long):
            return "what it gives changes from pass to pass, or with weights that learn"
    except Exception as error:  # whatever an unknown network does with states that it did not compute
        return f"the network does not run on kept states ({type(error).__name__}: {error})"
    if not _near(alone.states.of(0), padded.states.of(first), ROUNDING):
        return "what it gives for a row depends on the padding of its batch"
    whole, kept = padded.losses
    if not _same_outputs(*alone.outputs) or not _near(whole.total, kept.total, CLOSE):
        return "the layers above it read more than the hidden states that it gives"
    return ""


@torch.inference_mode()
def _trial(predictor: Predictor, units: list[list[Feature]]) -> _Trial:
    model = predictor.model.eval()
    states = States([len(feature) for unit in units for feature in unit], model.head.width)
    batch = _batch(predictor, units, states)
    outputs = model(batch), model(batch)
    return _Trial(states, outputs, (model.loss(outputs[0], batch), model.loss(outputs[1], batch)))


def _is_constant(predictor: Predictor, part: FrozenPart, unit: list[Feature]) -> bool:
    """Return whether the part gives the same twice in training, by nothing that learns."""
    model, batch = predictor.model.train(), _batch(predictor, [unit])
    model.head.eval()  # it may gather statistics
    with torch.random.fork_rng(), part.seen() as seen:
        model(batch), model(batch)
    return not seen[0].requires_grad and torch.equal(*seen)


def _batch(predictor: Predictor, units: list[list[Feature]], states: States | None = None) -> Batch:
    (batch,) = predictor.batches(Encoded([], units, states), batch_size=len(units))
    return batch.to(predictor.device)


def _same_outputs(one: Outputs, other: Outputs) -> bool:
    return one.keys() == other.keys() and all(_near(one[name], other[name], CLOSE) for name in one)


def _near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=tolerance, atol=tolerance)
