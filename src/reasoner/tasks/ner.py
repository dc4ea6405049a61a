"""Named-entity recognition: which words name something, and of which type?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from reasoner.data import documents, sentences, word_shapes
from reasoner.data.edited import Edited, Mention, mentions_of
from reasoner.data.entities import entities_of_tags
from reasoner.data.examples import RowError, column
from reasoner.data.features import EncodedRow, Feature
from reasoner.data.gold_tags import commonest_tags, read_gold, types_of, unknown_tags, unnamed_numbers
from reasoner.data.labels import (
    check_loss_settings,
    label_config,
    learn_labels,
    loss_arguments,
    ordered_as,
    resolve_weights,
    summed_weights,
    unknown_labels,
)
from reasoner.data.sentences import NERExample, NERInDocument, document_name, edited_sentence
from reasoner.data.tag_schemes import OUTSIDE, is_tag, legal_steps, read_spans, recognised_scheme, to_iob2, write_spans
from reasoner.data.tag_schemes import Span as WordSpan
from reasoner.data.windows import Window, owned_words, texts_in_windows
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any
from reasoner.losses import IGNORED
from reasoner.metrics import entity_surfaces, seen_unseen, tag_scores, well_formed_spans
from reasoner.metrics.calibration import judged_entities
from reasoner.metrics.chunking import Span, spans
from reasoner.metrics.counting import RowCounts, f1_from_sums, set_counts
from reasoner.notices import say
from reasoner.tasks.base import RECIPES, Said, Splits, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Entities = list[dict[str, Any]]
"""A prediction: `{"entity_group", "word", "start", "end", "score", "start_word", "end_word"}` each."""
Rows = Sequence[NERExample]


@dataclass(frozen=True, kw_only=True)
class NER(Task[NERExample, Entities]):
    """A tag for every word, learned at its first sub-word; IOB2 inside, whatever the file has."""

    Example = NERExample
    default_head = "token_classification"
    offered = frozenset({"legal_steps"})
    recipes = RECIPES | {"best": {"head": "crf", "refit": True}}

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
    focal_gamma: float = 0.0
    """At least 0, such as 2: how much less tags count that are learned already; 0: cross-entropy."""
    case_features: bool | None = False
    """Tell the model how each word is written (small letters, a capital, capitals, mixed, digits), which an uncased
    tokenizer hides; None: where it is one, and large letters tell entities in the training words, which is said."""
    casing: float = 0.0
    """By how much large letters are more frequent in words of entities than in others; found in the training words."""
    constrained: bool = False
    """Predict the most probable tags of a sentence of which no `I-` stands without its entity's beginning; else every
    word's most probable tag, and such an `I-` begins an entity."""
    document_context: int = 0
    """Up to how many tokens of the sentences before it, and of those after it, the model reads beside a sentence; they
    have no label. The data must say which sentences belong together; see `documents.with_context`. 0: none."""

    def __post_init__(self) -> None:
        """Refuse a context that is no number of tokens."""
        if type(self.document_context) is not int or self.document_context < 0:
            raise ConfigError(f"document_context={self.document_context!r} is no number of tokens. Give 0, or 64, say.")

    @property
    def primary_metric(self) -> str:
        """Entity-level F1, as CoNLL-2003 and seqeval count it."""
        return "f1"

    @classmethod
    def schema(cls, settings: Mapping[str, Any]) -> type[NERExample]:
        """With `document_context` a row must name its document."""
        return NERInDocument if settings.get("document_context") else NERExample

    @classmethod
    def from_examples(cls, splits: Splits[NERExample], **settings: Any) -> Self:
        """Recognise the scheme and learn the tags; see `Task.from_examples`."""
        task = cls(**settings)
        check_loss_settings(task.label_smoothing, task.focal_gamma)
        raise_if_any(problem for examples in splits.values() for problem in task._unusable(examples))
        if task.scheme is None:
            task = replace(task, scheme=recognised_scheme([task.raw_tags(e) for part in splits.values() for e in part]))
        gold, problems = {}, []
        for split, examples in splits.items():
            gold[split], unreadable = read_gold(examples, task.gold_tags)
            problems += unreadable
        raise_if_any(problems)
        types = learn_labels({split: types_of(rows) for split, rows in gold.items()}, given=task.open_names(), least=1)
        labels = tuple(task.labels) or ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI"))
        task = replace(task, labels=labels)
        raise_if_any(problem for rows in gold.values() for problem in unknown_tags(rows, labels))
        training = (tag for _, tags in gold.get("train", ()) for tag in tags if tag is not None)
        casing = word_shapes.casing_tells(
            (example.tokens, [tag not in ("O", None) for tag in tags])
            for example, (_, tags) in zip(splits.get("train", ()), gold.get("train", ()), strict=True)
        )
        return replace(task, casing=casing, class_weights=resolve_weights(task.class_weights, labels, training))

    @classmethod
    def labels_named(cls, names: Sequence[str]) -> Sequence[str]:
        """Return the IOB2 tags of the types that tags of any scheme, or plain types, name."""
        types = sorted({name[2:] if is_tag(name) else name for name in names if name != OUTSIDE}, key=str.casefold)
        return ("O", *(f"{prefix}-{name}" for name in types for prefix in "BI")) if types else ()

    def problems(self, examples: Rows) -> list[Problem]:
        """Return what is wrong with the tags of further data."""
        if unusable := self._unusable(examples):
            return unusable
        gold, unreadable = read_gold(examples, self.gold_tags)
        return unreadable or unknown_labels(types_of(gold), self.open_names()) or unknown_tags(gold, self.labels)

    def gold_tags(self, example: NERExample) -> list[str | None]:
        """Return the gold in IOB2, one a word; None where the word is not scored."""
        names = self.raw_tags(example)
        converted = iter(to_iob2([name for name in names if name is not None], self._scheme))
        return [None if name is None else next(converted) for name in names]

    def example_from_input(self, value: Any) -> NERExample:
        """Accept a string, or a list of words; or a dict with one of them as `text` or `tokens`, and a `document`."""
        words, document = value, None
        if isinstance(value, Mapping):
            words = column(value, "tokens", NERExample, column(value, "text", NERExample, None))
            document = column(value, "document", NERExample, None)
        if isinstance(words, str):
            example = NERExample.from_text(words)
        elif isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words):
            example = NERExample.from_words(words)
        else:
            raise DataError(f"ner predicts for a string, a list of words, or a dict with these, not for {value!r:.60}.")
        try:
            return example if document is None else NERInDocument(**vars(example), document=document_name(document))
        except RowError as error:
            raise DataError(f"{error.what}. {error.remedy}") from None

    def in_context(self, examples: Iterable[NERExample], *, whole: bool) -> Iterable[NERExample]:
        """Return the examples with their neighbours in the document, if `document_context` asks for them."""
        most = self.document_context
        return documents.in_documents(examples, most, whole=whole) if most else examples

    def encode(self, examples: Rows, tokenizer: Any, *, max_length: int, stride: int) -> list[list[Feature]]:
        """Return a feature for each window of the text; each word has its label in the one window that owns it."""
        texts = [example.text for example in examples]
        windows = texts_in_windows(tokenizer, texts, max_length=max_length, stride=stride)
        features = [self._features(example, group) for example, group in zip(examples, windows, strict=True)]
        if not self.document_context:
            return features
        room = {"most": self.document_context, "max_length": max_length}
        return documents.with_context(features, windows, examples, tokenizer, shapes=bool(self.case_features), **room)

    def decode(self, records: Sequence[Any], features: Sequence[Sequence[Feature]], examples: Rows) -> list[Entities]:
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
            predictions.append(entities_of_tags(tags, probabilities, example.text, example.offsets))
        return predictions

    def score(self, predictions: Sequence[Entities], examples: Rows) -> dict[str, Any]:
        """Return the scores of whole entities (micro, macro, weighted, by type, by rule), their errors, and of tags.

        `by_rule` names four rules. Predictions are entities and so always well-formed; gold that breaks its scheme was
        read as conlleval does, in training and here, and counts under `scheme_strict` as no entity.
        """
        own, predicted = self._scored_tags(predictions, examples)
        well_formed = [well_formed_spans(tags, self._scheme) for tags in own]
        return tag_scores([to_iob2(tags, self._scheme) for tags in own], predicted, well_formed=well_formed)

    def slices(self, predictions: Sequence[Entities], examples: Rows, training: Rows) -> dict[str, Any]:
        """Return as `by_novelty` the scores of entities that training showed, and of those that it did not."""
        known = entity_surfaces([self.gold_spans(row) for row in training], [row.tokens for row in training])
        words = [
            [word for word, name in zip(row.tokens, self.raw_tags(row), strict=True) if name is not None]
            for row in examples
        ]
        return {"by_novelty": seen_unseen(*self._span_sets(predictions, examples), words, known)}

    def loss_count(self, example: NERExample) -> float:
        """Return the weights of its words that are scored."""
        return summed_weights(self.gold_tags(example), self.class_weights)

    def gold_lost(self, example: NERExample, features: Sequence[Feature]) -> int:
        """Return how many gold entities hold a word without a sub-word, or begin or end inside a sub-word."""
        owned = [item for feature in features for item in feature.info]
        if len(owned) == len(example.tokens):
            return 0
        starts, ends = {item.word for item in owned}, {item.end for item in owned}
        shown = {word for item in owned for word in range(item.word, item.end)}
        return sum(
            span.start not in starts or span.end not in ends or not shown.issuperset(range(span.start, span.end))
            for span in self.gold_spans(example)
        )

    def gold_spans(self, example: NERExample) -> set[Span]:
        """Return the gold entities, counted in words."""
        return set(spans([tag or "O" for tag in self.gold_tags(example)]))

    def gold_names(self, example: NERExample) -> tuple[str, ...]:
        """Return the types of the sentence's entities, in order."""
        return tuple(span.type for span in sorted(self.gold_spans(example), key=lambda span: span.start))

    def mentions(self, example: NERExample) -> dict[str, list[Mention]]:
        """Return the gold entities, counted in characters."""
        return {"text": mentions_of(self._entities(example), example.offsets)}

    def with_texts(self, example: NERExample, edited: Mapping[str, Edited]) -> NERExample:
        """Return the example with an edited text, split into words anew; as it is, where words are not scored."""
        if None in self.raw_tags(example):
            return example
        return edited_sentence(example, edited["text"], self._entities(example), self._scheme)

    def counterparts(self, row: EncodedRow, copy: EncodedRow, edited: Mapping[str, Edited]) -> list[list[int]]:
        """Return where words begin that stand for each other."""
        return sentences.token_counterparts(row, copy, edited.get("text"))

    def said(self, prediction: Entities) -> frozenset[Said]:
        """Return the entities by type and place."""
        return frozenset(Said(item["entity_group"], "text", item["start"], item["end"]) for item in prediction)

    def as_gold(self, example: NERExample, prediction: Entities) -> dict[str, NERExample]:
        """Return for each entity the example with it alone: the other words are not scored."""
        return {
            f"{entity['word']} ({entity['entity_group']})": sentences.entity_alone(example, entity, self._scheme)
            for entity in prediction
        }

    def labelled(self, example: NERExample, prediction: Entities) -> NERExample:
        """Return the sentence with its predicted entities as gold."""
        return sentences.with_entities(example, prediction, self._scheme)

    def open_names(self) -> list[str]:
        """Return the types: a sentence may hold some that were not marked in it."""
        return list(dict.fromkeys(label[2:] for label in self.labels if label != "O"))

    def completed(
        self, example: NERExample, prediction: Entities, names: Collection[str], *, scored: bool
    ) -> tuple[NERExample, int]:
        """Return the sentence with the entities of these types that touch none of its own, and their number."""
        more = [entity for entity in prediction if entity["entity_group"] in names]
        return sentences.with_more(example, self.gold_tags(example), more, self._scheme, scored=scored)

    def primary_counts(self, predictions: Sequence[Entities], examples: Rows) -> RowCounts | None:
        """Return F1 as a function of hits, predicted and gold entities."""
        return RowCounts(f1_from_sums, set_counts(*self._span_sets(predictions, examples)))

    def rows_right(self, predictions: Sequence[Entities], examples: Rows) -> list[bool] | None:
        """Return whether a sentence has all its entities and no other."""
        return [gold == found for gold, found in zip(*self._span_sets(predictions, examples), strict=True)]

    def confidence(self, prediction: Entities) -> float | None:
        """Return the lowest score of the sentence's entities; None where there are none."""
        return min((entity["score"] for entity in prediction), default=None)

    def judged(self, predictions: Sequence[Any], examples: Rows) -> list[tuple[float, bool]]:
        """Return the score of each predicted entity, and whether it is gold."""
        return judged_entities(predictions, [self.gold_tags(example) for example in examples])

    def withheld(self, prediction: Entities, min_confidence: float) -> Entities:
        """Return the entities whose score is at least `min_confidence`."""
        return [entity for entity in prediction if entity["score"] >= min_confidence]

    def baselines(self, training: Rows, examples: Rows) -> dict[str, list[Any]]:
        """Return no entity at all, and every word with the tag that it has most often in training, else "O"."""
        memory = commonest_tags((row.tokens, self.gold_tags(row)) for row in training)
        guesses = [[memory.get(word, "O") for word in row.tokens] for row in examples]
        known = [
            entities_of_tags(tags, [1.0] * len(tags), row.text, row.offsets)
            for tags, row in zip(guesses, examples, strict=True)
        ]
        return {"no entity": [[] for _ in examples], "word memory": known}

    def _span_sets(self, predictions: Sequence[Entities], examples: Rows) -> tuple[list[set[Span]], list[set[Span]]]:
        """Return gold and predicted entities of each sentence, counted in words; words that are not scored cut them."""
        own, found = self._scored_tags(predictions, examples)
        return [set(spans(to_iob2(tags, self._scheme))) for tags in own], [set(spans(tags)) for tags in found]

    def _scored_tags(self, predictions: Sequence[Entities], examples: Rows) -> tuple[list[list[str]], list[list[str]]]:
        """Return tags of the words that are scored: the gold as the data has it, and the predicted in IOB2."""
        own, predicted = [], []
        for entities, example in zip(predictions, examples, strict=True):
            tags = write_spans(sentences.spans_of(entities), len(example.tokens))
            pairs = [(name, tag) for name, tag in zip(self.raw_tags(example), tags, strict=True) if name is not None]
            own.append([name for name, _ in pairs])
            predicted.append([tag for _, tag in pairs])
        return own, predicted

    @property
    def num_outputs(self) -> int:
        """A logit for each tag."""
        return len(self.labels)

    def head_arguments(self) -> dict[str, Any]:
        """Return weights, smoothing and constraint where they are set, and which tag may follow which."""
        arguments = loss_arguments(self.labels, self.class_weights, self.label_smoothing, self.focal_gamma)
        arguments |= {"constrained": True} if self.constrained else {}
        return {**arguments, "legal_steps": legal_steps(self.labels)}

    def model_config(self) -> dict[str, Any]:
        """Return the tags by number and the numbers by tag."""
        return label_config(self.labels)

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with `case_features` decided, where it was left to the data."""
        if self.case_features is not None:
            return self
        return replace(self, case_features=word_shapes.worth_telling(self.casing, config, tokenizer))

    @property
    def token_types(self) -> int:
        """As many as there are shapes of words, if they are used."""
        return word_shapes.NUMBER if self.case_features else 0

    def elsewhere(self) -> str:
        """Return what case features and context ask for."""
        shapes = word_shapes.ELSEWHERE if self.case_features else ""
        context = documents.elsewhere(self.document_context) if self.document_context else ""
        return f"{shapes} {context}".strip()

    def matched_to(self, config: PreTrainedConfig) -> Self:
        """Return the task with its tags in the model's order, when the model has the same tags."""
        order = ordered_as(self.labels, list((config.id2label or {}).values()))
        if order is None or order == tuple(self.labels):
            return self
        say("The model has these tags already, in another order; its order is kept.")
        return replace(self, labels=order, tag_names=self.tag_names or self.labels)

    def _features(self, example: NERExample, windows: list[Window]) -> list[Feature]:
        gold = self.gold_tags(example) if example.ner_tags is not None else None
        numbers = {label: index for index, label in enumerate(self.labels)}
        features: list[Feature] = []
        for window, owned in zip(windows, owned_words(windows, example.offsets, example.text), strict=True):
            words = [0] * len(window.offsets)
            for place in owned:
                words[place.token] = 1
            inputs = window.inputs
            if self.case_features:
                shapes = word_shapes.token_shapes(window.offsets, example.offsets, example.text)
                inputs = {**inputs, "token_type_ids": shapes}
            if owned and features:  # what the window before says of the word before is not known here
                words[owned[0].token] = 2
            feature = Feature(inputs, token_targets={"words": words}, info=owned)
            if gold is not None:
                labels = [IGNORED] * len(window.offsets)
                for word, token, _ in owned:
                    tag = gold[word]
                    labels[token] = IGNORED if tag is None else numbers[tag]
                feature.token_targets["labels"] = labels
            features.append(feature)
        return features

    def raw_tags(self, example: NERExample) -> list[str | None]:
        """Return the tags by name, as the data has them; None where a word is not scored."""
        return [
            tag if isinstance(tag, str) else None if tag == IGNORED else (self.tag_names or self.labels)[tag]
            for tag in example.ner_tags or ()
        ]

    @property
    def _scheme(self) -> str:
        return self.scheme or "IOB2"

    def _entities(self, example: NERExample) -> list[WordSpan]:
        return read_spans([tag or OUTSIDE for tag in self.gold_tags(example)])

    def _unusable(self, examples: Rows) -> list[Problem]:
        """Return what is wrong with tags that are numbers, and which rows lack the document that is to be read."""
        numbers = ((row.where, row.ner_tags or ()) for row in examples)
        unplaced = documents.undocumented(examples) if self.document_context else []
        return [*unnamed_numbers(numbers, self.tag_names or self.labels), *unplaced]
