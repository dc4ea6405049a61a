"""Does a file give back what was written, to the type, in any part of it, and is what it cannot hold refused?"""

from __future__ import annotations

import random
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.data.batching import Batches
from reasoner.data.feature_file import (
    CannotHoldError,
    FeatureFile,
    feature_lengths,
    feature_reader,
    group_sizes,
    write_features,
)
from reasoner.data.features import Feature
from reasoner.data.windows import Owned

INTEGERS = st.integers(-(2**31), 2**31 - 1)
BYTES = st.integers(-128, 127)
FLOATS = st.floats(allow_nan=False)
PADDING = {"input_ids": 9, "attention_mask": 0, "more": 3}


def parts_of(item, largest=5):
    return st.lists(item, min_size=1, max_size=largest)


@st.composite
def features(draw):
    """Draw groups of features that have the same fields, of any kind that a file can hold."""
    target = draw(st.sampled_from([None, INTEGERS, FLOATS, st.lists(FLOATS, min_size=2, max_size=2),
                                   st.lists(INTEGERS, min_size=1, max_size=1)]))  # fmt: skip
    info = draw(st.sampled_from(["none", "owned", "tuples", "json"]))
    more, labels = draw(st.booleans()), draw(st.booleans())

    def feature():
        length = draw(st.integers(0, 5))

        def tokens(values):
            return draw(st.lists(values, min_size=length, max_size=length))

        made = Feature({"input_ids": tokens(INTEGERS), "attention_mask": tokens(BYTES)})
        if more:
            made.inputs["more"] = tokens(INTEGERS)
        if target is not None:
            made.targets["labels"] = draw(target)
        if labels:
            made.token_targets["labels"] = tokens(INTEGERS)
        triples = st.tuples(INTEGERS, INTEGERS, INTEGERS)
        made.info = {
            "none": st.none(),
            "owned": st.lists(triples.map(Owned._make), max_size=3),
            "tuples": st.lists(st.tuples(INTEGERS, INTEGERS), max_size=3),
            "json": st.one_of(st.text(), st.lists(INTEGERS), st.dictionaries(st.text(), FLOATS), st.booleans()),
        }[info]
        made.info = draw(made.info)
        return made

    return [[feature() for _ in range(size)] for size in draw(parts_of(st.integers(1, 3), 9))]


def in_file(groups, folder, size=2):
    path = Path(folder) / "features.arrow"
    write_features(path, (groups[start : start + size] for start in range(0, len(groups), size)), key="x")
    return FeatureFile(path)


def typed(value):
    """Return a value with its types, so that 1, 1.0 and True differ."""
    if isinstance(value, Feature):
        return typed([value.inputs, value.targets, value.token_targets, value.info])
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [typed(item) for item in value]
    return type(value).__name__, value


@settings(max_examples=60)
@given(groups=features(), size=st.integers(1, 4), data=st.data())
def test_what_is_read_is_what_was_written(groups, size, data):
    with TemporaryDirectory() as folder:
        try:
            file = in_file(groups, folder, size)
        except CannotHoldError as error:  # the first part had only empty lists, a later one has tuples
            assert "info" in str(error) and any(group[0].info == [] for group in groups)
            return
        assert len(file) == len(groups) and file.key == "x"
        assert [typed(group) for group in file] == [typed(group) for group in groups]
        assert typed(file[-1]) == typed(groups[-1])
        start, stop = (data.draw(st.integers(-len(groups) - 1, len(groups) + 1)) for _ in range(2))
        for view, wanted in ((file, groups), (file[start:stop], groups[start:stop]),
                             (file[start:][:stop], groups[start:][:stop])):  # fmt: skip
            assert [typed(group) for group in view] == [typed(group) for group in wanted]
            assert feature_lengths(view).tolist() == [len(feature) for group in wanted for feature in group]
            assert group_sizes(view).tolist() == list(map(len, wanted))
            read, flat = feature_reader(view), [feature for group in wanted for feature in group]
            for index, feature in enumerate(flat):
                found = read(index)
                assert {n: v.tolist() for n, v in found.inputs.items()} == feature.inputs
                assert typed(found.targets) == typed(feature.targets) and len(found) == len(feature)
        assert file[::2] == groups[::2]
        with pytest.raises(IndexError):
            file[len(groups)]


@settings(max_examples=40)
@given(seed=st.integers(0, 99), keep=st.booleans(), shuffle=st.booleans(), side=st.sampled_from(["left", "right"]))
def test_batches_from_a_file_are_those_from_memory(seed, keep, shuffle, side):
    draw = random.Random(seed)
    made = [[Feature({"input_ids": [draw.randint(0, 99) for _ in range(length)], "attention_mask": [1] * length},
                     {"labels": draw.random()}, {"tags": [draw.randint(0, 5)] * length})
             for length in [draw.randint(1, 30) for _ in range(draw.randint(1, 3))]]
            for _ in range(draw.randint(1, 40))]  # fmt: skip
    with TemporaryDirectory() as folder:
        kept = {"padding": PADDING, "keep_together": keep, "shuffle": shuffle, "padding_side": side, "seed": seed}
        both = zip(Batches(made, 4, **kept), Batches(in_file(made, folder, 3), 4, **kept), strict=True)
        for one, other in both:
            assert one.feature_index == other.feature_index and one.tokens == other.tokens
            for name in one.inputs:
                assert torch.equal(one.inputs[name], other.inputs[name]) and other.inputs[name].dtype == torch.int64
            for name, target in one.targets.items():
                assert torch.equal(target, other.targets[name]) and target.dtype == other.targets[name].dtype
            assert torch.equal(one.group, other.group)


class Colour(IntEnum):
    RED = 1


def feature(**changed):
    return Feature(**{"inputs": {"input_ids": [1, 2], "attention_mask": [1, 1]}, **changed})


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ([[feature()], []], "no features"),
        ([[feature(targets={"labels": True})]], "bool"),
        ([[feature(targets={"labels": torch.tensor(1)})]], "Tensor"),
        ([[feature(targets={"labels": Colour.RED})]], "Colour"),
        ([[feature(targets={"labels": 1}), feature(targets={"labels": 1.5})]], "float, int"),
        ([[feature(targets={"labels": 1})], [feature(targets={"labels": 1.5})]], "differ"),
        ([[feature(targets={"labels": 2**70})]], "large"),
        ([[feature(targets={"labels": [[1.0]]})]], "list"),
        ([[feature(targets={"labels": 1}), feature()]], "differ in the names"),
        ([[feature()], [feature(token_targets={"tags": [1, 2]})]], "differ"),
        ([[feature(token_targets={"tags": [1.0, 2.0]})]], "fractions"),
        ([[feature(inputs={"input_ids": [2**31]})]], "int32"),
        ([[feature(inputs={"input_ids": [1], "attention_mask": [300]})]], "int8"),
        ([[feature(info={1: "a"})]], "info"),
        ([[feature(info=object())]], "info"),
        ([[feature(info=(1, 2))]], "info"),
        ([[feature(info=[(1, 2), (1, 2, 3)])]], "info"),
        ([[feature(info=[(1, 2.5)])]], "int32|fractions"),
        ([[feature(info=[Owned(1, 2, 3)]), feature(info=[(1, 2, 3)])]], "info"),
        ([[feature()], [feature(info=[(1, 2)])]], "info"),
    ],
)
def test_what_cannot_be_held_is_refused(groups, why, tmp_path):
    with pytest.raises(CannotHoldError, match=why):
        in_file(groups, tmp_path, 1)


def test_numbers_take_no_more_room_than_they_need(tmp_path):
    number, length = 2000, 50
    inputs = {name: [1] * length for name in ("input_ids", "attention_mask", "token_type_ids")}
    in_file([[Feature(inputs, {"labels": 1})] for _ in range(number)], tmp_path, 1000)
    assert (tmp_path / "features.arrow").stat().st_size < number * (length * (4 + 1 + 1) + 8 + 5 * 4) * 1.1


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"{}" * 100])
def test_another_file_is_refused(content, tmp_path):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        FeatureFile(tmp_path / "other")
