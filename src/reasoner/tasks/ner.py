"""Named-entity recognition: which words name something, and of which type?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from reasoner.data.alignment import (
    Interval,
    ends_of_words,
    join_words,
    split_words,
    words_of_tokens,
)
from reasoner.data.entities import tags_of_entities
from reasoner.data.examples import Example, RowDroppedError, RowError, column, text_column
from reasoner.data.features import Feature
from reasoner.data.labels import (
    check_label_smoothing,
    label_config,
    learn_labels,
    loss_arguments,
    ordered_as,
    resolve_weights,
    unknown_labels,
)
from reasoner.data.tag_schemes import malformed, recognised_scheme, to_iob2, write_spans
from reasoner.data.windows import Window, owners, tokenize_in_windows
from reasoner.errors import DataError, LabelError, Problem, raise_if_any
from reasoner.losses import IGNORED
from reasoner.metrics import entity_scores, token_scores
from reasoner.metrics.chunking import Span, spans
from reasoner.metrics.counting import RowCounts, f1_from_sums, set_counts
from reasoner.notices import count, say
from reasoner.tasks.base import Splits, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Owned(NamedTuple):
    """A word that a window owns, and the token in that window where its label stands."""

    word: int
    token: int
    end: int
    """The next word with a label of its own: the words up to there begin inside this one's sub-words, go on its entity
    and have no label (`.`, `S` and `.` where the tokenizer makes one sub-word of the raw text `U.S.`)."""


@dataclass(frozen=True, kw_only=True)
class NERExample(Example):
    """The words of a sentence, their tags, and where they stand in its text."""

    aliases = {
        "tokens": ("words",),
        "ner_tags": ("tags", "labels", "ner"),
        "text": ("sentence",),
        "entities": ("spans",),
    }

    tokens: tuple[str, ...]
    ner_tags: tuple[str | int, ...] | None = None
    """One a word: names in any scheme, or numbers; `-100` is not scored. None at prediction."""
    text: str
    """The text that offsets count in: the raw one, or the words joined by spaces."""
    offsets: tuple[Interval, ...]
    """Where each word stands in `text`."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of words and tags, or of `text` and `entities: [{start, end, label}]`."""
        entities = column(columns, "entities", cls, default=None)
        if "entities" in columns and entities is None and "tokens" not in columns:
            raise RowError("entities is missing", "Give a list; an empty one where there are none.")
        if entities is not None and column(columns, "tokens", cls, default=None) is None:
            example = cls.from_text(text_column(columns, "text", cls), where=where)
            return replace(example, ner_tags=tuple(tags_of_entities(entities, example.text, example.offsets)))
        words, tags = (column(columns, name, cls) for name in ("tokens", "ner_tags"))
        for name, value in (("tokens", words), ("ner_tags", tags)):
            if not isinstance(value, (list, tuple)):
                raise RowError(f"{name} is {type(value).__name__}, not a list", "Give one item per word.")
        if len(words) != len(tags):
            what = f"ner_tags has {len(tags)} items, tokens has {len(words)}"
            raise RowError(what, "Give one tag per token.")
        if not words:
            raise RowDroppedError("{n} rows hold no words and were left out.")
        _check_words(words)
        problem = malformed(["O" if isinstance(tag, int) else tag for tag in tags])
        if problem:
            raise RowError(problem, "Correct it, or give another tag column with columns.", about_labels=True)
        return cls.from_words(words, tags, where=where)

    @classmethod
    def from_words(cls, words: Sequence[str], tags: Sequence[str | int] | None = None, *, where: str = "") -> Self:
        """Make an example of words; its text is the words joined by spaces."""
        text, offsets = join_words(words)
        gold = None if tags is None else tuple(tags)
        return cls(tokens=tuple(words), ner_tags=gold, text=text, offsets=tuple(offsets), where=where)

    @classmethod
    def from_text(cls, text: str, tags: Sequence[str] | None = None, *, where: str = "") -> Self:
        """Make an example of raw text, split into words by `alignment.split_words`."""
        offsets = tuple(split_words(text))
        words = tuple(text[start:end] for start, end in offsets)
        return cls(
            tokens=words, ner_tags=None if tags is None else tuple(tags), text=text, offsets=offsets, where=where
        )

    @property
    def texts(self) -> dict[str, str]:
        """The sentence."""
        return {"text": self.text}

    @property
    def group(self) -> str:
        """Equal sentences must not stand on both sides of a split."""
        return self.text.casefold()

    @property
    def stratum(self) -> bool:
        """Splits keep the share of sentences with an entity."""
        return any(tag not in ("O", 0, IGNORED) for tag in self.ner_tags or ())


@dataclass(frozen=True, kw_only=True)
class NER(Task[NERExample, list[dict[str, Any]]]):
    """A tag for every word, learned at its first sub-word; IOB2 inside, whatever the file has."""

    Example = NERExample
    default_head = "token_classification"

    labels: Sequence[str] = ()
    """IOB2 tags, in the order of the model's outputs; empty: found in the data."""
    tag_names: Sequence[str] = ()
    """What the numbers mean, when `ner_tags` are numbers without names."""
    scheme: str | None = None
    """The data's tag scheme: IOB1, IOB2, BIOES, BILOU, BMES or IO; None: recognised, and said."""
    class_weights: str | Mapping[str, float] | None = None
    """"balanced", or weights by tag."""
    label_smoothing: float = 0.0
    """In [0, 1): how much of the target is spread over all tags."""

    @property
    def primary_metric(self) -> str:
        """Entity-level F1, as CoNLL-2003 and seqeval count it."""
        return "f1"

    @classmethod
    def from_examples(cls, splits: Splits[NERExample], **settings: Any) -> Self:
        """Recognise the scheme and learn the tags; see `Task.from_examples`."""
        task = cls(**settings)
        check_label_smoothing(task.label_smoothing)
        raise_if_any(problem for examples in splits.values() for problem in task._number_problems(examples))
        if task.scheme is None:
            task = replace(task, scheme=recognised_scheme([task._names(e) for part in splits.values() for e in part]))
        raise_if_any(problem for examples in splits.values() for problem in task._scheme_problems(examples))
        located = {split: task._types(examples) for split, examples in splits.items()}
        types_given = list(dict.fromkeys(label[2:] for label in task.labels if label != "O"))
        types = learn_labels(located, given=types_given, least=1)
        labels = tuple(task.labels) or ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI"))
        task = replace(task, labels=labels)
        raise_if_any(problem for examples in splits.values() for problem in task._tag_problems(examples))
        training = (tag for example in splits.get("train", ()) for tag in task.gold_tags(example) if tag is not None)
        return replace(task, class_weights=resolve_weights(task.class_weights, labels, training))

    def problems(self, examples: Sequence[NERExample]) -> list[Problem]:
        """Return what is wrong with the tags of further data."""
        unreadable = self._number_problems(examples) or self._scheme_problems(examples)
        types = list(dict.fromkeys(label[2:] for label in self.labels if label != "O"))
        return unreadable or unknown_labels(self._types(examples), types) or self._tag_problems(examples)

    def gold_tags(self, example: NERExample) -> list[str | None]:
        """Return the gold in IOB2, one a word; None where the word is not scored."""
        names = self._names(example)
        scored = [index for index, name in enumerate(names) if name is not None]
        converted = to_iob2([str(names[index]) for index in scored], self.scheme or "IOB2")
        gold: list[str | None] = [None] * len(names)
        for index, tag in zip(scored, converted, strict=True):
            gold[index] = tag
        return gold

    def example_from_input(self, value: Any) -> NERExample:
        """Accept a string, or a list of words."""
        if isinstance(value, str):
            return NERExample.from_text(value)
        if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
            return NERExample.from_words(value)
        raise DataError(f"ner predicts for a string or a list of words, not for {value!r:.60}.")

    def encode(
        self, examples: Sequence[NERExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return a feature for each window of the text; each word has its label in the one window that owns it."""
        texts = [example.text for example in examples]
        windows = tokenize_in_windows(tokenizer, texts, max_length=max_length, stride=stride)
        several = sum(len(group) > 1 for group in windows)
        if several:
            count(f"{{n}} texts are longer than max_length={max_length} tokens and were read in windows.", several)
        return [self._features(example, group) for example, group in zip(examples, windows, strict=True)]

    def decode(
        self, records: Sequence[Any], features: Sequence[Sequence[Feature]], examples: Sequence[NERExample]
    ) -> list[list[dict[str, Any]]]:
        """Return for each text its entities: `{"entity_group", "word", "start", "end", "score", ...}`.

        `start` and `end` count characters, `start_word` and `end_word` words; the score is the mean probability of the
        words' tags. A word without a sub-word is no part of an entity.
        """
        remaining = iter(records)
        predictions = []
        for example, group in zip(examples, features, strict=True):
            tags, probabilities = ["O"] * len(example.tokens), [1.0] * len(example.tokens)
            for feature in group:
                record = next(remaining)
                for word, token, end in feature.info:
                    tag, more = self.labels[record.labels[token]], end - word - 1
                    tags[word:end] = [tag, *["O" if tag == "O" else f"I-{tag[2:]}"] * more]
                    probabilities[word:end] = [float(record.probabilities[token])] * (more + 1)
            predictions.append(_entities(example, tags, probabilities))
        return predictions

    def score(self, predictions: Sequence[list[dict[str, Any]]], examples: Sequence[NERExample]) -> dict[str, Any]:
        """Return entity-level precision, recall and F1 (micro, macro, weighted, by type) and the table by tag."""
        gold, predicted = self._scored_tags(predictions, examples)
        return {**entity_scores(gold, predicted), "tokens": token_scores(gold, predicted)}

    def _scored_tags(
        self, predictions: Sequence[list[dict[str, Any]]], examples: Sequence[NERExample]
    ) -> tuple[list[list[str]], list[list[str]]]:
        """Return gold and predicted tags of the words that are scored."""
        gold, predicted = [], []
        for entities, example in zip(predictions, examples, strict=True):
            found = [(entity["start_word"], entity["end_word"], entity["entity_group"]) for entity in entities]
            tags = write_spans(found, len(example.tokens))
            pairs = [(g, p) for g, p in zip(self.gold_tags(example), tags, strict=True) if g is not None]
            gold.append([pair[0] for pair in pairs])
            predicted.append([pair[1] for pair in pairs])
        return gold, predicted

    def gold_spans(self, example: NERExample) -> set[Span]:
        """Return the gold entities, counted in words."""
        return set(spans([tag or "O" for tag in self.gold_tags(example)]))

    def gold_names(self, example: NERExample) -> tuple[str, ...]:
        """Return the types of the sentence's entities, in order."""
        return tuple(span.type for span in sorted(self.gold_spans(example), key=lambda span: span.start))

    def primary_counts(
        self, predictions: Sequence[list[dict[str, Any]]], examples: Sequence[NERExample]
    ) -> RowCounts | None:
        """Return F1 as a function of hits, predicted and gold entities."""
        return RowCounts(f1_from_sums, set_counts(*self._span_sets(predictions, examples)))

    def rows_right(
        self, predictions: Sequence[list[dict[str, Any]]], examples: Sequence[NERExample]
    ) -> list[bool] | None:
        """Return whether a sentence has all its entities and no other."""
        return [gold == found for gold, found in zip(*self._span_sets(predictions, examples), strict=True)]

    def confidence(self, prediction: list[dict[str, Any]]) -> float | None:
        """Return the lowest score of the sentence's entities; None where there are none."""
        return min((entity["score"] for entity in prediction), default=None)

    def _span_sets(
        self, predictions: Sequence[list[dict[str, Any]]], examples: Sequence[NERExample]
    ) -> tuple[list[set[Span]], list[set[Span]]]:
        """Return gold and predicted entities of each sentence, counted in words; words that are not scored cut them."""
        gold, predicted = self._scored_tags(predictions, examples)
        return [set(spans(tags)) for tags in gold], [set(spans(tags)) for tags in predicted]

    @property
    def num_outputs(self) -> int:
        """A logit for each tag."""
        return len(self.labels)

    def head_arguments(self) -> dict[str, Any]:
        """Return weights and smoothing where they are set."""
        return loss_arguments(self.labels, self.class_weights, self.label_smoothing)

    def model_config(self) -> dict[str, Any]:
        """Return the tags by number and the numbers by tag."""
        return label_config(self.labels)

    def matched_to(self, config: PreTrainedConfig) -> Self:
        """Return the task with its tags in the model's order, when the model has the same tags."""
        order = ordered_as(self.labels, list((config.id2label or {}).values()))
        if order is None or order == tuple(self.labels):
            return self
        say("The model has these tags already, in another order; its order is kept.")
        return replace(self, labels=order, tag_names=self.tag_names or self.labels)

    def _features(self, example: NERExample, windows: list[Window]) -> list[Feature]:
        word_of_token = [words_of_tokens(window.offsets, example.offsets, example.text) for window in windows]
        owner = owners(word_of_token, len(example.tokens))
        ends = ends_of_words([window.offsets for window in windows], word_of_token, example.offsets)
        gold = self.gold_tags(example) if example.ner_tags is not None else None
        numbers = {label: index for index, label in enumerate(self.labels)}
        features = []
        for index, (window, word_of) in enumerate(zip(windows, word_of_token, strict=True)):
            first_token = {word: token for token, word in reversed(list(enumerate(word_of))) if word >= 0}
            owned = [
                Owned(word, token, ends[word]) for word, token in sorted(first_token.items()) if owner[word] == index
            ]
            feature = Feature(window.inputs, info=owned)
            if gold is not None:
                labels = [IGNORED] * len(word_of)
                for word, token, _ in owned:
                    tag = gold[word]
                    labels[token] = IGNORED if tag is None else numbers[tag]
                feature.token_targets["labels"] = labels
            features.append(feature)
        return features

    def _names(self, example: NERExample) -> list[str | None]:
        """Return the tags by name, as the data has them; None where a word is not scored."""
        return [
            tag if isinstance(tag, str) else None if tag == IGNORED else (self.tag_names or self.labels)[tag]
            for tag in example.ner_tags or ()
        ]

    def _types(self, examples: Iterable[NERExample]) -> list[tuple[str, str]]:
        """Return every entity's type with its place; each begins with a B- tag, since gold is in IOB2."""
        return [
            (tag[2:], example.where)
            for example in examples
            for tag in self.gold_tags(example)
            if tag is not None and tag.startswith("B-")
        ]

    def _tag_problems(self, examples: Iterable[NERExample]) -> list[Problem]:
        """Return the gold tags that are not among the labels, though their types are."""
        remedy = "Name all tags in the task: labels=['O', 'B-...', 'I-...', ...]."
        return [
            Problem(example.where, f"the tag '{tag}' is not one of the task's labels", remedy, about_labels=True)
            for example in examples
            for tag in dict.fromkeys(self.gold_tags(example))
            if tag is not None and tag not in self.labels
        ]

    def _scheme_problems(self, examples: Iterable[NERExample]) -> list[Problem]:
        """Return the rows whose tags are not of the scheme."""
        problems = []
        for example in examples:
            try:
                self.gold_tags(example)
            except LabelError as error:
                remedy = "Write all tags in one scheme, or name it in the task with scheme=..."
                problems.append(Problem(example.where, str(error).rstrip("."), remedy, about_labels=True))
        return problems

    def _number_problems(self, examples: Iterable[NERExample]) -> list[Problem]:
        names = self.tag_names or self.labels
        problems = []
        for example in examples:
            for tag in example.ner_tags or ():
                if isinstance(tag, str) or tag == IGNORED or 0 <= tag < len(names):
                    continue
                if not names:
                    raise LabelError(
                        f"{example.where}: ner_tags are numbers, and nothing says what they mean. "
                        "Give their names in order: task=NER(tag_names=['O', 'B-PER', ...])."
                    )
                what = f"ner_tags holds {tag}, which is out of range: there are {len(names)} tags, numbered from 0"
                problems.append(Problem(example.where, what, "Correct it, or give all tag_names.", about_labels=True))
        return problems


def _entities(example: NERExample, tags: Sequence[str], probabilities: Sequence[float]) -> list[dict[str, Any]]:
    entities = []
    for span in spans(tags):
        start, end = example.offsets[span.start].start, example.offsets[span.end - 1].end
        entities.append(
            {
                "entity_group": span.type,
                "word": example.text[start:end],
                "start": start,
                "end": end,
                "score": sum(probabilities[span.start : span.end]) / (span.end - span.start),
                "start_word": span.start,
                "end_word": span.end,
            }
        )
    return entities


def _check_words(words: Sequence[Any]) -> None:
    for word in words:
        if not isinstance(word, str):
            raise RowError(f"tokens holds {word!r:.40}, which is not text", "Give each word as a string.")
