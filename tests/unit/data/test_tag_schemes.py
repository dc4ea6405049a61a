"""Are tag schemes recognised, and do converted tags mark the same entities?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from reasoner.data.tag_schemes import (
    SCHEMES,
    detect_scheme,
    ill_formed,
    malformed,
    read_spans,
    to_iob2,
    write_spans,
)
from reasoner.errors import ConfigError, LabelError

TYPES = ["PER", "creative-work", "O", "B-PER"]


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[tuple[int, int, str]], int]:
    """Entities without overlap, often touching, and the sentence's length."""
    spans, position = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = position + draw(st.integers(0, 1))
        position = start + draw(st.integers(1, 4))
        spans.append((start, position, draw(st.sampled_from(TYPES))))
    return spans, position + draw(st.integers(0, 2))


def written(entities: list[str], scheme: str) -> list[str]:
    """An independent writer, by the table in each scheme's definition; `entities` are types or "" a word."""
    table = {
        "BIOES": ("S", "B", "I", "E"),
        "BILOU": ("U", "B", "I", "L"),
        "BMES": ("S", "B", "M", "E"),
        "IOB2": ("B", "B", "I", "I"),
    }[scheme]
    only, first, inside, last = table
    tags: list[str] = []
    for entity in entities:
        kind, length = entity.rsplit(":", 1)
        if not kind:
            tags += ["O"] * int(length)
        elif length == "1":
            tags.append(f"{only}-{kind}")
        else:
            tags += [f"{first}-{kind}", *[f"{inside}-{kind}"] * (int(length) - 2), f"{last}-{kind}"]
    return tags


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["B-PER", "I-PER", "B-PER", "O", "B-LOC"], "IOB2"),
        (["I-PER", "I-PER", "B-PER", "O", "I-LOC"], "IOB1"),
        (["I-PER", "I-PER", "O", "I-LOC", "I-PER"], "IO"),
        (["B-PER", "E-PER", "S-PER", "O", "B-LOC", "I-LOC", "E-LOC"], "BIOES"),
        (["B-PER", "L-PER", "U-PER", "O", "B-LOC", "I-LOC", "L-LOC"], "BILOU"),
        (["B-PER", "E-PER", "S-PER", "O", "B-LOC", "M-LOC", "E-LOC"], "BMES"),
        # what cannot be decided, and what is ill-formed
        (["O", "O"], "IOB2"),
        ([], "IOB2"),
        (["S-PER"], "BIOES"),
        (["B-PER", "E-PER"], "BIOES"),
        (["B-PER", "O", "I-PER"], "IOB2"),
        (["B-PER", "I-LOC"], "IOB2"),
        (["B-PER", "O", "S-PER"], "BIOES"),
        (["M-PER", "O"], "BMES"),
        (["B-PER", "I-PER", "U-PER"], "BILOU"),
    ],
)
def test_each_scheme_is_recognised(tags: list[str], scheme: str) -> None:
    assert detect_scheme([tags]) == detect_scheme([["O"], [], tags]) == scheme


def test_the_whole_file_decides() -> None:
    assert detect_scheme([["I-PER"], ["I-PER", "B-PER"]]) == "IOB1"
    assert detect_scheme([["I-PER"], ["B-PER"]]) == "IOB2", "B-PER after nothing is not IOB1; I-PER is ill-formed"
    assert detect_scheme(iter([("B-PER", "I-PER")])) == "IOB2"


@pytest.mark.parametrize("tags", [["E-PER", "L-PER"], ["B-PER", "M-PER", "I-PER", "E-PER"], ["U-PER", "S-PER"]])
def test_prefixes_of_no_one_scheme(tags: list[str]) -> None:
    with pytest.raises(LabelError, match=r"^The tags' prefixes .* belong to no one scheme\. Known: IOB2, IO, IOB1"):
        detect_scheme([tags])


@given(st.lists(sentences(), min_size=1), st.sampled_from([name for name in SCHEMES if name != "IO"]))
def test_entities_survive_writing_detection_and_conversion(
    drawn: list[tuple[list[tuple[int, int, str]], int]], scheme: str
) -> None:
    sequences = [write_spans(spans, length, scheme) for spans, length in drawn]
    found = detect_scheme(sequences)
    for (spans, _), tags in zip(drawn, sequences, strict=True):
        converted = to_iob2(tags, found)
        assert read_spans(tags) == spans
        assert read_spans(converted) == spans
        assert ill_formed(tags, found) == []
        assert [(kind, start, end - 1) for start, end, kind in spans] == get_entities(converted)
    letters = {tag[0] for tags in sequences for tag in tags}
    undecided = {
        "IOB2": {"IOB2"},
        "IOB1": {"IOB1"} if "B" in letters else {"IO", "IOB2"},
        "BIOES": {"BIOES"} if letters & set("ES") else {"IOB2"},
        "BILOU": {"BILOU"} if letters & set("LU") else {"IOB2"},
        "BMES": {"BMES"} if "M" in letters else {"BIOES", "IOB2"},
    }
    assert found in undecided[scheme]


@given(sentences())
def test_io_joins_what_touches(drawn: tuple[list[tuple[int, int, str]], int]) -> None:
    spans, length = drawn
    words = [""] * length
    for start, end, kind in spans:
        words[start:end] = [kind] * (end - start)
    read = read_spans(write_spans(spans, length, "IO"))
    again = [""] * length
    for start, end, kind in read:
        again[start:end] = [kind] * (end - start)
    assert again == words
    assert all(left.end < right.start or left.type != right.type for left, right in pairwise(read))


@given(
    st.lists(st.tuples(st.sampled_from(["", *TYPES]), st.integers(1, 4)).map(lambda pair: f"{pair[0]}:{pair[1]}")),
    st.sampled_from(["IOB2", "BIOES", "BILOU", "BMES"]),
)
def test_writing_equals_an_independent_writer(entities: list[str], scheme: str) -> None:
    spans, position = [], 0
    for entity in entities:
        kind, length = entity.rsplit(":", 1)
        spans += [(position, position + int(length), kind)] if kind else []
        position += int(length)
    assert write_spans(spans, position, scheme) == written(entities, scheme)


@given(st.lists(st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("a", "b"))])))
def test_ill_formed_tags_are_read_as_the_reference_reads_them(tags: list[str]) -> None:
    assert [(kind, start, end - 1) for start, end, kind in read_spans(tags)] == get_entities(tags)


@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])))
def test_repair_keeps_entities_and_touches_ill_formed_tags_alone(tags: list[str]) -> None:
    repaired = to_iob2(tags, "IOB2")
    assert get_entities(repaired) == get_entities(tags)
    changed = [index for index, (old, new) in enumerate(zip(tags, repaired, strict=True)) if old != new]
    assert changed == ill_formed(tags, "IOB2")
    expected = [
        index
        for index, tag in enumerate(tags)
        if tag[0] == "I" and (index == 0 or tags[index - 1] == "O" or tags[index - 1][2:] != tag[2:])
    ]
    assert changed == expected


@pytest.mark.parametrize(
    "tag", ["PER", "B_PER", "B-", "B- ", "b-PER", "X-PER", "PER-B", "", "B", 3, None, " O", "o", "B- PER"]
)
def test_malformed_tags(tag: object) -> None:
    said = f"tag 2 is {tag!r}, which is neither O nor a prefix and a type such as B-PER"
    assert malformed(["O", tag, "also wrong"]) == said
    with pytest.raises(LabelError, match=f"^tag 1 is {tag!r}, which is neither"):
        detect_scheme([[tag]])  # type: ignore[list-item]


def test_well_formed_tags_and_hyphens_in_types() -> None:
    assert malformed(["O", "B-PER", "I-creative-work", "S-a b", "U-Ä"]) is None
    assert to_iob2(["B-creative-work", "E-creative-work"], "BIOES") == ["B-creative-work", "I-creative-work"]


def test_a_tag_of_another_scheme() -> None:
    with pytest.raises(LabelError, match=r"^The tag 'S-PER' does not belong to the scheme IOB2\.$"):
        to_iob2(["O", "S-PER"], "IOB2")


def test_an_unknown_scheme() -> None:
    for call in (to_iob2, ill_formed):
        with pytest.raises(ConfigError, match=r"^The tag scheme 'BIOS' is unknown\. Did you mean 'BIOES'\?$"):
            call(["O"], "BIOS")
