"""Extractive question answering: which words of the context answer the question, if any do?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple, Self

from reasoner.data.answers import Answer, answers_of_column
from reasoner.data.edited import Edited, Mention
from reasoner.data.examples import Example, column, text_column
from reasoner.data.features import Feature
from reasoner.data.windows import Window, tokenize_in_windows, whole_characters
from reasoner.errors import ConfigError, DataError
from reasoner.metrics import answer_scores, best_no_answer_threshold, paired_bootstrap
from reasoner.metrics.answers import answer_exact_match
from reasoner.metrics.calibration import threshold_at
from reasoner.metrics.counting import Floats, RowCounts, answer_counts, answer_f1_from_sums
from reasoner.notices import count, say
from reasoner.tasks.base import PartialInput, Said, Splits, Task

FOLDS = 10
"""Parts of the validation split, each of which judges a threshold that was chosen on the others."""


class Candidate(NamedTuple):
    """A span of the context with its score (start logit + end logit)."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringExample(Example):
    """A question, the context that may hold its answer, and the answers that people gave."""

    inputs = {"question": "text", "context": "text"}
    context: str
    question: str
    answers: tuple[Answer, ...] | None = None
    """In files `{"text": [...], "answer_start": [...]}`, both empty when there is no answer. None at prediction."""
    id: str = ""
    title: str = ""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        context = text_column(columns, "context", cls)
        return cls(
            context=context,
            question=text_column(columns, "question", cls),
            answers=answers_of_column(column(columns, "answers", cls), context),
            id=str(column(columns, "id", cls, default="")),
            title=str(column(columns, "title", cls, default="")),
            where=where,
        )

    @property
    def texts(self) -> dict[str, str]:
        """Question and context."""
        return {"question": self.question, "context": self.context}

    @property
    def group(self) -> str:
        """Questions about one context must not stand on both sides of a split."""
        return self.context.casefold()

    @property
    def stratum(self) -> bool:
        """Splits keep the share of unanswerable questions."""
        return bool(self.answers)


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Task[QuestionAnsweringExample, dict[str, Any]]):
    """The start and the end of the answer in the context; "no answer" is the span of the first special token."""

    Example = QuestionAnsweringExample
    default_head = "question_answering"
    offered = frozenset({"max_answer_tokens", "n_best"})
    answer_keys = ("answer", "start", "end")

    no_answer_threshold: float | None = None
    """A question is left unanswered when its `no_answer_score` is above this; None: it is always answered. Learned:
    0.5 when training has unanswerable questions, then the best one on the validation split if it is surely better."""
    max_answer_tokens: int = 30
    """No longer answer is given."""
    n_best: int = 5
    """How many candidates a prediction lists."""

    @property
    def primary_metric(self) -> str:
        """F1 over the words of the answers, as SQuAD reports it."""
        return "f1"

    @classmethod
    def from_examples(cls, splits: Splits[QuestionAnsweringExample], **settings: Any) -> Self:
        """See from the training split whether questions may be unanswerable."""
        task = cls(**settings)
        training = splits.get("train", ())
        unanswerable = sum(not example.answers for example in training)
        if task.no_answer_threshold is not None or not unanswerable:
            return task
        say(f"{unanswerable} of {len(training)} training questions have no answer: 'no answer' is learned as well.")
        return replace(task, no_answer_threshold=0.5)

    @property
    def num_outputs(self) -> int:
        """A start and an end logit for each token."""
        return 2

    def head_arguments(self) -> dict[str, Any]:
        """Return the longest answer that is looked for, and how many spans of a window are kept (20 at least)."""
        return {"max_answer_tokens": self.max_answer_tokens, "n_best": max(20, self.n_best)}

    def model_config(self) -> dict[str, Any]:
        """Return the number of outputs that every architecture's span head expects."""
        return {"num_labels": 2}

    def example_from_input(self, value: Any) -> QuestionAnsweringExample:
        """Accept `{"question", "context"}`."""
        if isinstance(value, Mapping) and all(isinstance(value.get(key), str) for key in ("question", "context")):
            return QuestionAnsweringExample(question=value["question"], context=value["context"])
        raise DataError(f"qa predicts for {{'question': ..., 'context': ...}}, not for {value!r:.60}.")

    def encode(
        self, examples: Sequence[QuestionAnsweringExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return one feature a window of the context, each with the whole question before it.

        Of several gold answers the one that most people gave is learned; all of them count in `score`.
        """
        if not examples:
            return []
        questions = _shortened([e.question.strip() for e in examples], tokenizer, max_length, stride)
        contexts = [example.context for example in examples]
        windows = tokenize_in_windows(tokenizer, questions, contexts, max_length=max_length, stride=stride)
        features = [_features(group, example) for group, example in zip(windows, examples, strict=True)]
        if lost := sum(map(self.gold_lost, examples, features)):
            count("{n} answers stand whole in no window, and are learned as 'no answer'. Raise stride.", lost)
        return features

    def decode(
        self,
        records: Sequence[Any],
        features: Sequence[Sequence[Feature]],
        examples: Sequence[QuestionAnsweringExample],
    ) -> list[dict[str, Any]]:
        """Return `{"answer", "start", "end", "score", "no_answer_score", "n_best"}`; "" at 0 to 0 for no answer."""
        remaining = iter(records)
        return [
            self._prediction(example.context, [(next(remaining), feature.info) for feature in group])
            for example, group in zip(examples, features, strict=True)
        ]

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[QuestionAnsweringExample]
    ) -> dict[str, Any]:
        """Return exact match and F1 after SQuAD 2.0, those with and without an answer apart."""
        gold = _gold_texts(examples)
        scores = answer_scores(gold, [prediction["answer"] for prediction in predictions])
        if self.no_answer_threshold is not None:
            scores["no_answer_threshold"] = self.no_answer_threshold
        return scores

    def gold_names(self, example: QuestionAnsweringExample) -> tuple[str, ...]:
        """Return whether there is an answer."""
        return () if example.answers is None else ("answer" if example.answers else "no answer",)

    def gold_lost(self, example: QuestionAnsweringExample, features: Sequence[Feature]) -> int:
        """Return 1 for an answer that stands whole in no window, or in no token."""
        return int(bool(example.answers) and not any(feature.targets["end_positions"] for feature in features))

    def primary_counts(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[QuestionAnsweringExample]
    ) -> RowCounts | None:
        """Return F1 as a mean over questions."""
        gold = _gold_texts(examples)
        return RowCounts(answer_f1_from_sums, answer_counts(gold, [p["answer"] for p in predictions]))

    def rows_right(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[QuestionAnsweringExample]
    ) -> list[bool] | None:
        """Return whether the answer matches exactly, after SQuAD's normalisation."""
        return [
            answer_exact_match(prediction["answer"], answers) == 1
            for prediction, answers in zip(predictions, _gold_texts(examples), strict=True)
        ]

    def mentions(self, example: QuestionAnsweringExample) -> dict[str, list[Mention]]:
        """Return where the answers stand."""
        return {"context": [Mention(start, start + len(text)) for text, start in example.answers or ()]}

    def with_texts(self, example: QuestionAnsweringExample, edited: Mapping[str, Edited]) -> QuestionAnsweringExample:
        """Return the example with edited texts, and its answers as they are written there."""
        example = super().with_texts(example, edited)
        if example.answers is None or "context" not in edited:
            return example
        places = [edited["context"].moved(start, start + len(text)) for text, start in example.answers]
        return replace(example, answers=tuple(Answer(example.context[start:end], start) for start, end in places))

    def said(self, prediction: dict[str, Any]) -> frozenset[Said]:
        """Return the answer by where it stands, or that there is none."""
        if not prediction["answer"]:
            return frozenset()
        return frozenset([Said("answer", "context", prediction["start"], prediction["end"])])

    def as_gold(self, example: Any, prediction: dict[str, Any]) -> dict[str, Any]:
        """Return the example with the predicted answer, or with none."""
        if not prediction["answer"]:
            return {"no answer": replace(example, answers=())}
        return {prediction["answer"]: replace(example, answers=(Answer(prediction["answer"], prediction["start"]),))}

    def confidence(self, prediction: dict[str, Any]) -> float | None:
        """Return the probability of the answer, among the best spans and "no answer"."""
        return float(prediction["score"])

    def partial_inputs(self) -> dict[str, PartialInput]:
        """Return no question, and its first word alone (Sugawara et al., 2018, https://aclanthology.org/D18-1453).

        The question alone is not among them: without a context there is no span, all that can be said is "no answer".
        """
        return {
            "no question": PartialInput("question", lambda example: replace(example, question="")),
            "first word of question": PartialInput(
                "more of the question than its first word",
                lambda example: replace(example, question=" ".join(example.question.split()[:1])),
            ),
        }

    def baselines(
        self, training: Sequence[QuestionAnsweringExample], examples: Sequence[QuestionAnsweringExample]
    ) -> dict[str, Sequence[dict[str, Any]]]:
        """Return the answer that is commonest in training, "no answer" being one of them."""
        texts = Counter(answer.text for example in training for answer in (example.answers or (Answer("", 0),))[:1])
        return {"majority": [{"answer": texts.most_common(1)[0][0]}] * len(examples)}

    def with_temperature(self, temperature: float) -> Self:
        """Return the task with its no-answer threshold moved along."""
        threshold = self.no_answer_threshold
        return self if threshold is None else replace(self, no_answer_threshold=threshold_at(threshold, temperature))

    def tuned(self, predictions: Sequence[dict[str, Any]], examples: Sequence[QuestionAnsweringExample]) -> Self:
        """Return the task with the no-answer threshold that gives the best F1 on these predictions.

        It is moved only where that helps questions that it was not chosen on: each tenth of the texts gets the
        threshold that is best on the others, and the 95% interval of the gain (paired bootstrap) must lie above 0. The
        best of all thresholds on a few hundred questions is otherwise one that happens to suit them.
        """
        if self.no_answer_threshold is None or len({example.group for example in examples}) < 2:
            return self
        gold = _gold_texts(examples)
        spans = [p["n_best"][0]["answer"] if p["n_best"] else "" for p in predictions]
        scores = [prediction["no_answer_score"] for prediction in predictions]

        def best_on(rows: Iterable[int]) -> float:
            chosen = list(rows)
            parts = ([values[row] for row in chosen] for values in (gold, spans, scores))
            return best_no_answer_threshold(*parts)["threshold"]  # type: ignore[arg-type]

        def counts(thresholds: Sequence[float]) -> Floats:
            rows = zip(spans, scores, thresholds, strict=True)
            return answer_counts(gold, ["" if score > threshold else span for span, score, threshold in rows])

        folds = _folds([example.group for example in examples])
        elsewhere = {fold: best_on(row for row, other in enumerate(folds) if other != fold) for fold in set(folds)}
        before = counts([self.no_answer_threshold] * len(gold))
        gain = paired_bootstrap(answer_f1_from_sums, before, counts([elsewhere[fold] for fold in folds]))
        best = best_on(range(len(gold)))
        found = f"{best:.4f} is the best on the validation split: F1 {gain.difference:+.4f} on texts that it was not "
        found += f"chosen on, 95% interval {gain.lower:+.4f} to {gain.upper:+.4f}"
        if gain.lower <= 0:
            say(f"The no-answer threshold stays at {self.no_answer_threshold:g}: {found}, which may be chance.")
            return self
        say(f"The no-answer threshold moves from {self.no_answer_threshold:g}: {found}.")
        return replace(self, no_answer_threshold=best)

    def _prediction(self, context: str, windows: list[tuple[Any, list[tuple[int, int]]]]) -> dict[str, Any]:
        null_score = min(record.null_score for record, _ in windows)
        candidates = _candidates(context, windows)[: self.n_best]
        highest = max([null_score, *(candidate.score for candidate in candidates)])
        weights = [math.exp(candidate.score - highest) for candidate in candidates]
        total = sum(weights) + math.exp(null_score - highest)
        n_best = [
            {"answer": context[c.start : c.end], "start": c.start, "end": c.end, "score": weight / total}
            for c, weight in zip(candidates, weights, strict=True)
        ]
        no_answer_score = 1 / (1 + math.exp(min(candidates[0].score - null_score, 700))) if candidates else 1.0
        unanswered = self.no_answer_threshold is not None and no_answer_score > self.no_answer_threshold
        if unanswered or not n_best:
            best = {"answer": "", "start": 0, "end": 0, "score": math.exp(null_score - highest) / total}
        else:
            best = n_best[0]
        return {**best, "no_answer_score": no_answer_score, "n_best": n_best}


def _gold_texts(examples: Sequence[QuestionAnsweringExample]) -> list[list[str]]:
    """Return the answers that count as right for each question; none where it has no answer."""
    return [[answer.text for answer in example.answers or ()] for example in examples]


def _folds(groups: Sequence[str]) -> list[int]:
    """Return for each row one of `FOLDS` parts, rows of one group in the same."""
    names = list(dict.fromkeys(groups))
    Random(0).shuffle(names)
    fold_of = {name: position % FOLDS for position, name in enumerate(names)}
    return [fold_of[group] for group in groups]


def _candidates(context: str, windows: list[tuple[Any, list[tuple[int, int]]]]) -> list[Candidate]:
    """Return the spans of all windows in characters, best first, each once.

    Tokenizers that count the space before a word to its token are trimmed of it.
    """
    best: dict[tuple[int, int], float] = {}
    for record, offsets in windows:
        for first, last, score in zip(record.starts, record.ends, record.scores, strict=True):
            start, end = offsets[first][0], offsets[last][1]
            answer = context[start:end].strip()
            start = context.index(answer, start)
            span = start, start + len(answer)
            if not answer:
                continue
            best[span] = max(float(score), best.get(span, -math.inf))
    return sorted((Candidate(*span, score) for span, score in best.items()), key=lambda c: (-c.score, c.start, c.end))


def _features(windows: list[Window], example: QuestionAnsweringExample) -> list[Feature]:
    """Return a feature for each window of an example's context."""
    contexts = [_context_tokens(window, example.context) for window in windows]
    answer = Counter(example.answers).most_common(1)[0][0] if example.answers else Answer("", 0)  # ties: the first
    touched = [_touched(window, inside, answer) for window, inside in zip(windows, contexts, strict=True)]
    pieces = [{window.offsets[token] for token in tokens} for window, tokens in zip(windows, touched, strict=True)]
    whole = set().union(*pieces)  # so that a window that has all of these holds all of the answer
    features = []
    for window, inside, tokens, held in zip(windows, contexts, touched, pieces, strict=True):
        targets = {}
        if example.answers is not None:
            first, last = (tokens[0], tokens[-1]) if tokens and held == whole else (0, 0)
            targets = {"start_positions": first, "end_positions": last}
        mask = [int(is_context) for is_context in inside]
        features.append(Feature(window.inputs, targets, {"context_mask": mask}, window.offsets))
    return features


def _context_tokens(window: Window, context: str) -> list[bool]:
    """Say of each token whether an answer may begin or end at it: it is of the context, and not white space alone."""
    return [
        sequence == 1 and bool(context[start:end].strip())
        for sequence, (start, end) in zip(window.sequence, window.offsets, strict=True)
    ]


def _touched(window: Window, in_context: list[bool], answer: Answer) -> list[int]:
    """Return the positions of the context's tokens that hold characters of the answer."""
    start, end = answer.start, answer.start + len(answer.text)
    return [
        position
        for position, (inside, offset) in enumerate(zip(in_context, window.offsets, strict=True))
        if inside and offset[0] < end and offset[1] > start
    ]


def _shortened(questions: list[str], tokenizer: Any, max_length: int, stride: int) -> list[str]:
    """Cut questions that would leave the context no room beside them, and count those that were cut.

    Raises:
        ConfigError: if there is no room for a question and more of the context than windows share.
    """
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - stride
    longest = room - max(room // 3, 1)
    if longest < 1 or stride < 0:
        raise ConfigError(
            f"max_length={max_length} with stride={stride} leaves no room for question and context. "
            "Raise max_length or lower stride."
        )
    questions = whole_characters(questions)
    encoded = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    cut = [len(offsets) > longest for offsets in encoded["offset_mapping"]]
    if any(cut):
        count(f"{{n}} questions are longer than {longest} tokens and were cut to leave the context room.", sum(cut))
    return [
        _beginning(question, [end for _, end in offsets[:longest]], tokenizer) if is_cut else question
        for question, offsets, is_cut in zip(questions, encoded["offset_mapping"], cut, strict=True)
    ]


def _beginning(question: str, ends: list[int], tokenizer: Any) -> str:
    """Return as much of a question as has no more tokens than `ends`, which says where the first of them end.

    Cut off there, the text may have more of them: where one character is several tokens, and where a word is halved.
    """
    for end in reversed(ends):
        if len(tokenizer(question[:end], add_special_tokens=False, verbose=False)["input_ids"]) <= len(ends):
            return question[:end]
    return ""
