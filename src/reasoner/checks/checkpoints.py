"""What does the checkpoint bring: half-precision weights, a head, and labels in which order?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reasoner.checks.findings import NOTE, Finding, listed
from reasoner.checks.subject import Subject
from reasoner.data.labels import same_names
from reasoner.model import read_config

HALF = {"F16": "float16", "BF16": "bfloat16", torch.float16: "float16", torch.bfloat16: "bfloat16"}
"""As the header of a safetensors file, and torch, call them."""


def check_precision(subject: Subject) -> Iterator[Finding]:
    """Find a checkpoint whose weights are stored in half precision."""
    found = _half_precision(subject.source)
    if found:
        yield Finding(
            code="half_precision",
            what=f"the checkpoint's weights are {found}",
            remedy="They are trained, and saved, in float32: the folder is twice as large as the checkpoint.",
            severity=NOTE,
        )


def check_head(subject: Subject) -> Iterator[Finding]:
    """Find a head of the checkpoint whose labels stand in another order, or are as many and have other names."""
    head = head_of_checkpoint(subject)
    if head is None or subject.task is None or subject.learned is None:
        return
    ours, learned = list(getattr(subject.task, "labels", ())), list(getattr(subject.learned, "labels", ()))
    if head.kept and ours != learned:
        yield Finding(
            code="labels_reordered",
            what=f"the checkpoint has these labels in another order, which is kept: {listed(ours)}",
            remedy="Nothing to do, if its names are right.",
            severity=NOTE,
            count=len(ours),
        )
    elif not head.kept and len(head.names) == len(ours):
        yield Finding(
            code="labels_mismatch",
            what=f"the checkpoint's head has as many labels by other names ({listed(head.names)}, not {listed(ours)}); "
            "a new head is made",
            remedy="If they mean the same, write your names into id2label of its config.json, in its order.",
            count=len(ours),
        )


class Head:
    """The checkpoint's own head for this kind of task."""

    def __init__(self, names: list[str], kept: bool) -> None:
        self.names, self.kept = names, kept

    @property
    def nameless(self) -> bool:
        """Whether its labels are called LABEL_0, LABEL_1, ..., as they are when nobody named them."""
        return self.names == [f"LABEL_{number}" for number in range(len(self.names))]


def head_of_checkpoint(subject: Subject) -> Head | None:
    """Return the checkpoint's head, and whether it is kept; None: it has none of this kind, or no model was made."""
    if subject.predictor is None:
        return None
    model, config = subject.predictor.model, read_config(subject.source)
    kinds = [type(subject.source).__name__] if isinstance(subject.source, nn.Module) else config.architectures or []
    if model.head.auto_class is None or type(model.network).__name__ not in kinds:
        return None
    names = [str(name) for name in (config.id2label or {}).values()]
    ours = subject.predictor.task.model_config().get("id2label")
    return Head(names, same_names(names, list(ours.values()))) if ours else None


def _half_precision(source: Any) -> str | None:
    if isinstance(source, nn.Module):
        return HALF.get(next(source.parameters()).dtype)
    stated = HALF.get(getattr(read_config(source), "dtype", None))
    return stated or next((HALF[name] for path in _weight_files(source) for name in _types(path) if name in HALF), None)


def _weight_files(source: Any) -> list[Path]:
    """Return the safetensors files of a checkpoint in a folder, or the one that was loaded from the Hub."""
    if Path(source).is_dir():
        return sorted(Path(source).glob("*.safetensors"))
    from transformers.utils import cached_file

    found = cached_file(source, "model.safetensors", local_files_only=True, _raise_exceptions_for_missing_entries=False)
    return [Path(found)] if found else []


def _types(path: Path) -> set[str]:
    """Return the types of the tensors in a safetensors file: its header is JSON, after its length in eight bytes."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
