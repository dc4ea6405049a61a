"""Are the rows of a stream read as rows of a file are, part by part, and never more of them than is asked for?"""

from __future__ import annotations

import json
from collections import Counter

import datasets
import pytest
import torch

from reasoner.data.formats.memory import class_names, is_stream
from reasoner.data.sources import read_rows
from reasoner.data.streams import FIRST, Stream, StreamedRows, stream_taken_out
from reasoner.errors import ConfigError, DataError
from reasoner.notices import adding_to
from reasoner.tasks.classification import ClassificationExample
from reasoner.tasks.ner import NER, NERExample
from reasoner.tasks.nli import NLIExample

ROWS = [{"text": f"Row {number}.", "label": "ab"[number % 2]} for number in range(1, 26)]


class Lines(torch.utils.data.IterableDataset):
    """A stream of PyTorch's; it counts what it gave."""

    def __init__(self, items, broken_at=None):
        self.items, self.broken_at, self.given, self.epochs = items, broken_at, 0, []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def __iter__(self):
        for number, item in enumerate(self.items, start=1):
            if number == self.broken_at:
                raise OSError("the line went dead.\nAnd more.")
            self.given += 1
            yield item


def stream_of(source, example=ClassificationExample, **settings):
    return Stream(source, example, **settings)


def made(stream, size, **settings):
    return [stream.examples(rows) for rows in stream.rows(size, **settings)]


@pytest.mark.parametrize(
    "source",
    [
        Lines(ROWS),
        datasets.Dataset.from_list(ROWS).to_iterable_dataset(num_shards=3),
        datasets.Dataset.from_list(ROWS).to_iterable_dataset().with_format("torch"),
        datasets.IterableDataset.from_generator(lambda: iter(ROWS)),
    ],
)
def test_all_rows_come_in_order_in_parts_and_with_their_places(source):
    assert is_stream(source)
    for _ in range(2):  # it is read anew each time
        parts = made(stream_of(source), 10)
        assert [len(part) for part in parts] == [10, 10, 5]
        examples = [example for part in parts for example in part]
        assert [(example.text, example.label) for example in examples] == [(r["text"], r["label"]) for r in ROWS]
        assert [example.where for example in examples] == [f"train, row {number}" for number in range(1, 26)]
    later = made(stream_of(source), 10, skip=12)
    assert [example.where for part in later for example in part] == [f"train, row {number}" for number in range(13, 26)]
    assert [row.columns["text"] for row in read_rows(source, name="test")] == [row["text"] for row in ROWS]


def test_no_more_is_read_than_is_asked_for():
    source = Lines({"text": f"Row {number}.", "label": 1} for number in range(10**9))
    parts = stream_of(source).rows(7)
    next(parts)
    assert source.given == 7
    next(parts)
    assert source.given == 14
    assert len(stream_of(Lines({"text": "x", "label": 1} for _ in range(10**9))).first()) == FIRST


def test_each_pass_is_told_its_number_and_the_data_set_stays_as_it_is():
    source = Lines(ROWS)
    for epoch in (0, 3):
        list(stream_of(source).rows(10, epoch=epoch))
    assert source.epochs == [0, 3]
    shuffled = datasets.Dataset.from_list(ROWS).to_iterable_dataset(num_shards=5).shuffle(seed=0, buffer_size=5)
    orders = [[e.text for part in made(stream_of(shuffled), 10, epoch=epoch) for e in part] for epoch in (0, 1, 1)]
    assert orders[0] != orders[1] == orders[2]
    assert Counter(orders[0]) == Counter(orders[1]) == Counter(row["text"] for row in ROWS)
    assert shuffled.epoch == 0


def test_columns_have_our_names_and_class_labels_theirs():
    features = datasets.Features(
        {"sentence1": datasets.Value("string"), "s2": datasets.Value("string"),
         "kind": datasets.ClassLabel(names=["yes", "no"]), "part": datasets.ClassLabel(names=["dev", "train"])}
    )  # fmt: skip
    rows = [
        {"sentence1": "A dog.", "s2": "A cat.", "kind": 1, "part": 0},
        {"sentence1": "B", "s2": "C", "kind": 0, "part": 0},
    ]
    source = datasets.Dataset.from_list(rows, features=features).to_iterable_dataset()
    stream = stream_of(source, NLIExample, columns={"hypothesis": "s2", "label": "kind"})
    ((first, second),) = made(stream, 10)
    assert (first.premise, first.hypothesis, first.label, second.label) == ("A dog.", "A cat.", "no", "yes")
    assert stream.label_names == ["yes", "no"]
    assert stream_of(source, NLIExample).label_names == []  # another column is not asked
    assert stream.made_of() == {"features": {name: repr(kind) for name, kind in features.items()}, "shards": 1}
    (row, _) = read_rows(source, name="validation", columns={"label": "kind"})
    assert row.columns["label"] == "no"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")),
        (["O", "S-PER", "B-PER", "I-PER", "E-PER"], ("O", "B-PER", "I-PER")),
        (["PER", "LOC"], ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")),
        ([], ()),
    ],
)
def test_tags_of_any_scheme_name_the_labels_of_ner(names, labels):
    assert NER.labels_named(names) == labels


def test_class_labels_inside_lists_are_found():
    tags = datasets.ClassLabel(names=["O", "B-X", "I-X"])
    features = datasets.Features({"tokens": datasets.List(datasets.Value("string")), "tags": datasets.List(tags)})
    source = datasets.Dataset.from_list(
        [{"tokens": ["a", "b"], "tags": [0, 1]}], features=features
    ).to_iterable_dataset()
    stream = stream_of(source, NERExample)
    assert stream.label_names == ["O", "B-X", "I-X"]
    assert made(stream, 5)[0][0].ner_tags == ("O", "B-X")
    entities = datasets.List({"start": datasets.Value("int32"), "label": datasets.ClassLabel(names=["PER"])})
    assert class_names(entities) == ["PER"]
    assert class_names(datasets.Value("string")) == []


def test_shards_of_json_lines_are_one_stream(tmp_path):
    for shard in range(3):
        lines = [json.dumps(row) for row in ROWS[shard * 10 : (shard + 1) * 10]]
        (tmp_path / f"part-{shard}.jsonl").write_text("\n".join(lines))
    files = sorted(map(str, tmp_path.glob("part-*.jsonl")))
    source = datasets.load_dataset("json", data_files=files, streaming=True, cache_dir=tmp_path)["train"]
    examples = [example for part in made(stream_of(source), 7) for example in part]
    assert [example.text for example in examples] == [row["text"] for row in ROWS]
    assert stream_of(source).made_of()["shards"] == 3


def test_bad_rows_are_named_and_those_without_gold_counted():
    rows = [*ROWS[:3], {"text": "No gold.", "label": -1}, {"text": "", "label": 1}, {"text": "x", "label": None}]
    with adding_to(Counter()) as _, pytest.raises(DataError, match=r"^train, row 5: text is empty\. Give it text"):
        made(stream_of(Lines(rows)), 10)
    counted: Counter[str] = Counter()
    with adding_to(counted):
        assert len(made(stream_of(Lines([row for row in rows if row["text"]])), 10)[0]) == 3
    assert list(counted.values()) == [2]
    with pytest.raises(DataError, match=r"row 2: is a str, not a dict"):
        made(stream_of(Lines([ROWS[0], "text"])), 10)
    with pytest.raises(DataError, match=r"train, row 1: column 'text' is missing \(nor in 1 further rows\)"):
        made(stream_of(Lines([{"body": "x", "label": 1}, {"body": "y", "label": 1}])), 10)
    with pytest.raises(DataError, match=r"train: has no column 'body' to read as 'text'"):
        made(stream_of(Lines(ROWS), columns={"text": "body"}), 10)


def test_a_source_that_breaks_off_is_an_error_that_says_where():
    stream = stream_of(Lines(ROWS, broken_at=18))
    parts = stream.rows(10)
    assert len(next(parts)) == 10
    with pytest.raises(
        DataError, match=r"^train, after row 17: the stream cannot be read on \(OSError: the line went dead\)\. "
    ):
        next(parts)


def test_the_stream_is_taken_out_of_the_data():
    source, others = Lines(ROWS), [1]
    assert stream_taken_out(source) == (source, {})
    assert stream_taken_out({"train": source, "dev": others}) == (source, {"validation": others})
    rows = {"train": others, "test": source}
    assert stream_taken_out(rows) == (None, rows)
    assert stream_taken_out("a/path") == (None, "a/path")
    with pytest.raises(ConfigError, match="'trian' is no split"):
        stream_taken_out({"trian": source})
    streams = datasets.IterableDatasetDict({"train": datasets.Dataset.from_list(ROWS).to_iterable_dataset()})
    assert stream_taken_out(streams)[0] is streams["train"]


def test_streamed_rows_are_a_sequence_of_the_first_ones():
    rows = StreamedRows([1, 2, 3], stream_of(Lines(ROWS)))
    assert (len(rows), rows[1], rows[1:], list(rows)) == (3, 2, [2, 3], [1, 2, 3])
