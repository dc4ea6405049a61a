"""Response ranking: which of a list of answers is right after the turns of a dialogue?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from random import Random
from typing import Any, Self

import numpy as np

from reasoner.data.candidates import (
    LookAlikes,
    best_first,
    check_length,
    read_candidates,
    tokens_of_candidates,
    with_answers,
)
from reasoner.data.examples import Example, RowError, column, text_column
from reasoner.data.features import Feature
from reasoner.data.windows import tokenize
from reasoner.errors import ConfigError, DataError, Problem
from reasoner.metrics import filtered_rank, ranking_scores
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.notices import count
from reasoner.tasks.base import Splits, Task

SPEAKERS = ("user", "system")
"""Names before the turns: the last turn is the user's."""
NAMED = 10
"""How many candidates a prediction names."""


@dataclass(frozen=True, kw_only=True)
class ResponseRankingExample(Example):
    """The turns of a dialogue so far, the last one the user's, and the right response to them."""

    aliases = {
        "turns": ("history", "context"),
        "response": ("answer", "system"),
        "dialogue": ("dialogue_id", "dialog", "dialog_id"),
    }
    inputs = {"turns": "texts"}
    kept_together = "the turns of a dialogue"

    turns: tuple[str, ...]
    response: str | None = None
    """None at prediction."""
    dialogue: str | int | None = None
    """Which dialogue it is, by a name or number; None: rows are dialogues of their own."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        dialogue = column(columns, "dialogue", cls, default=None)
        if not isinstance(dialogue, (str, int, type(None))):
            raise RowError(f"dialogue is {dialogue!r:.40}", "Name the row's dialogue by a text or a whole number.")
        response = " ".join(text_column(columns, "response", cls).split())
        turns = turns_of(column(columns, "turns", cls))
        return cls(turns=turns, response=response, dialogue=dialogue, where=where)

    @property
    def text(self) -> str:
        """The turns as the model reads them, each with its speaker before it."""
        last = len(self.turns) - 1
        return " ".join(f"{SPEAKERS[(last - place) % 2]}: {turn}" for place, turn in enumerate(self.turns))

    @property
    def texts(self) -> dict[str, str]:
        """The turns, as one text."""
        return {"turns": self.text}

    @property
    def group(self) -> Hashable:
        """A dialogue must not stand on both sides of a split; nor equal turns, where dialogues have no names."""
        return self.turns if self.dialogue is None else ("dialogue", self.dialogue)


@dataclass(frozen=True, kw_only=True)
class ResponseRanking(Task[ResponseRankingExample, dict[str, Any]]):
    """The turns and each candidate are read alone by one network; the candidate that is nearest is the response.

    The wrong responses in training are the others of the batch (bi-encoder: Humeau et al., 2020,
    https://arxiv.org/abs/1905.01969).
    """

    Example = ResponseRankingExample
    default_head = "bi_encoder"
    keep_together = True
    compares_rows = True
    needs_all_rows = "its candidates are the responses of all rows"
    primary_metric = "accuracy"
    answer_keys = ("response",)

    candidates: Sequence[str] | str = ()
    """The responses to choose from, beside those of the data: texts, or a file with one a line."""
    candidate_tokens: Sequence[Sequence[int]] = ()
    """Each candidate as the model reads it. Learned from the tokenizer."""
    candidate_length: int = 64
    """Tokens of a candidate that are read, special tokens included."""
    similarity_temperature: float = 0.05
    """What the similarity of vectors is divided by at first, above 0; it is learned from there."""
    wrong_candidates: int = 2
    """As many candidates are drawn for each row, the same in each epoch, which its batch learns to be wrong beside the
    responses of the other rows: every second one among those that share the most tokens with the right response, the
    others from all."""

    @classmethod
    def from_examples(cls, splits: Splits[ResponseRankingExample], **settings: Any) -> Self:
        """Learn the candidates; see `Task.from_examples`."""
        task = cls(**settings)
        if not task.similarity_temperature > 0:
            raise ConfigError(f"similarity_temperature is {task.similarity_temperature}. Give a number above 0.")
        if type(task.wrong_candidates) is not int or task.wrong_candidates < 0:
            raise ConfigError(f"wrong_candidates is {task.wrong_candidates!r}. Give a whole number from 0 up.")
        given = read_candidates(task.candidates) if task.candidates else []
        responses = {str(example.response) for examples in splits.values() for example in examples}
        return replace(task, candidates=tuple(sorted({*given, *responses})), candidate_tokens=())

    def fitted_to(self, config: Any, tokenizer: Any) -> Self:
        """Return the task with the candidates' tokens."""
        limits: dict[str, Any] = {"limit": self.candidate_length, "setting": "candidate_length"}
        return replace(
            self, candidate_tokens=tokens_of_candidates(self.candidates, tokenizer, what="candidates", **limits)
        )

    def example_from_input(self, value: Any) -> ResponseRankingExample:
        """Accept a string (the first turn), a tuple of turns, or a dict with `turns`; the last turn is the user's."""
        turns = value.get("turns") if isinstance(value, Mapping) else [value] if isinstance(value, str) else value
        try:
            return ResponseRankingExample(turns=turns_of(turns))
        except RowError:
            raise DataError(
                "response_ranking predicts for a string, a tuple of turns, or {'turns': [...]}, none of them empty, "
                f"not for {value!r:.60}."
            ) from None

    def problems(self, examples: Sequence[ResponseRankingExample]) -> list[Problem]:
        """Return the responses of further data that are no candidates."""
        remedy = "Name it in ResponseRanking(candidates=[...]) and train again."
        return [
            Problem(example.where, f"{example.response!r:.60} is none of the {len(self.candidates)} candidates", remedy)
            for example in examples
            if example.response not in self._numbers
        ]

    def encode(
        self, examples: Sequence[ResponseRankingExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return a feature of the turns and, with gold, one of the response; the oldest turns are cut first."""
        check_length(self.candidate_tokens, max_length, what="a candidate", setting="ResponseRanking(candidate_length")
        windows, cut = tokenize(tokenizer, [example.text for example in examples], max_length=max_length, side="left")
        if cut:
            count(f"{{n}} dialogues are longer than max_length={max_length} tokens; their beginning was cut.", cut)
        return [self._features(example, window) for example, window in zip(examples, windows, strict=True)]

    def decode(
        self,
        records: Sequence[Any],
        features: Sequence[Sequence[Feature]],
        examples: Sequence[ResponseRankingExample],
    ) -> list[dict[str, Any]]:
        """Return `{"response", "score", "candidates"}`, the best ten `{"response", "score"}`; with gold its `rank`.

        The score is a share of the softmax over all candidates.
        """
        predictions, first = [], 0
        for example, group in zip(examples, features, strict=True):
            vector, candidates = records[first]
            predictions.append(self._prediction(example, candidates @ vector))
            first += len(group)
        return predictions

    def score(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[ResponseRankingExample]
    ) -> dict[str, Any]:
        """Return the share of responses that come first among all candidates, and MRR, Hits@k and mean rank.

        Candidates of equal score share the mean of their places. `dialogue_accuracy`, where rows name their dialogues,
        is the share of dialogues of which every response comes first.
        """
        scores = ranking_scores([prediction["rank"] for prediction in predictions])
        right: dict[Hashable, bool] = {}
        for example, hit in zip(examples, self.rows_right(predictions, examples), strict=True):
            if example.dialogue is not None:
                right[example.dialogue] = right.get(example.dialogue, True) and hit
        whole = {"dialogue_accuracy": sum(right.values()) / len(right)} if right else {}
        return {"accuracy": scores.pop("hits_at_1"), **whole, **scores}

    def rows_right(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[ResponseRankingExample]
    ) -> list[bool]:
        """Return whether the right response comes first."""
        return [prediction["rank"] == 1 for prediction in predictions]

    def primary_counts(self, predictions: Sequence[dict[str, Any]], examples: Sequence[Any]) -> RowCounts | None:
        """Return accuracy as a mean over rows."""
        return RowCounts(mean_from_sums, mean_counts([float(p["rank"] == 1) for p in predictions]))

    def confidence(self, prediction: dict[str, Any]) -> float | None:
        """Return the share of the softmax."""
        return float(prediction["score"])

    def gold_names(self, example: ResponseRankingExample) -> tuple[str, ...]:
        """Return the response."""
        return () if example.response is None else (example.response,)

    def baselines(
        self, training: Sequence[ResponseRankingExample], examples: Sequence[ResponseRankingExample]
    ) -> dict[str, Sequence[dict[str, Any]]]:
        """Return the ranks by how often each candidate is the response in training."""
        counts = Counter(example.response for example in training)
        logits = np.log([counts[candidate] + 1e-9 for candidate in self.candidates])
        return {"frequency": [self._prediction(example, logits) for example in examples]}

    def head_arguments(self) -> dict[str, Any]:
        """Return the candidates' tokens."""
        return {
            "candidate_tokens": self.candidate_tokens,
            "similarity_temperature": self.similarity_temperature,
            "wrong_answers": self.wrong_candidates,
        }

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {text: number for number, text in enumerate(self.candidates)}

    @cached_property
    def _look_alikes(self) -> LookAlikes:
        return LookAlikes(self.candidate_tokens)

    def _features(self, example: ResponseRankingExample, window: Any) -> list[Feature]:
        if example.response is None:
            return [Feature(window.inputs)]
        answer = self._numbers[example.response]
        query = int.from_bytes(sha256(example.text.encode("utf-8", "replace")).digest()[:6])  # the same turns, the same
        wrong = self._look_alikes.drawn(answer, self.wrong_candidates, Random(query))
        answers = [answer, *wrong, *[answer] * (self.wrong_candidates - len(wrong))]  # as many in each row
        return with_answers(window, query, answers, self.candidate_tokens)

    def _prediction(self, example: ResponseRankingExample, logits: Any) -> dict[str, Any]:
        """Return what is predicted; logits are (candidates,)."""
        named = [{"response": self.candidates[n], "score": score} for n, score in best_first(logits, NAMED)]
        if example.response is None:
            return {**named[0], "candidates": named}
        return {**named[0], "rank": filtered_rank(logits, self._numbers[example.response])}


def turns_of(value: Any) -> tuple[str, ...]:
    """Return the turns of a row.

    Raises:
        RowError: if it is no list of texts, or one of them is empty.
    """
    if not isinstance(value, (list, tuple)) or not value:
        raise RowError(f"turns is {value!r:.40}, no list of texts", "Give each turn as a string, the last the user's.")
    for place, turn in enumerate(value, start=1):
        if not isinstance(turn, str) or not turn.strip():
            raise RowError(f"turn {place} is {turn!r:.40}", "Give each turn as a string that is not empty.")
    return tuple(" ".join(turn.split()) for turn in value)
