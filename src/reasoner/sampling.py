"""What does a decoder answer when it is asked several times, and what are the answers worth by a verifier?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from reasoner.base_model import model_source
from reasoner.data.completions import GenerationExample, QuestionExample
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import ONE_SOURCE, read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.evaluation import Encoded, in_parts, infer
from reasoner.inference import Predictor
from reasoner.metrics.sampling import majority, sampling_scores
from reasoner.model import length_limit
from reasoner.networks import check_max_length
from reasoner.notices import collect, say
from reasoner.preparation import build_predictor
from reasoner.result import Result
from reasoner.tasks.generation import Generation, gold_of
from reasoner.training.config import TrainingConfig
from reasoner.verifiers.base import Verdict, Verifier, as_verifier, shares

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    AnyVerifier = str | Mapping[str, Any] | Verifier


@dataclass(frozen=True)
class Samples:
    """Several texts for each of some rows, with what they cost. Nothing here runs the model."""

    examples: Sequence[GenerationExample]
    """The rows as they were read."""
    texts: list[list[str]]
    """For each row its texts."""
    tokens: list[list[int]]
    """Likewise, how many tokens each has, its end token included."""
    finished: list[list[bool]]
    """Likewise, whether each came to an end of its own."""
    seconds: float
    """What all of them took together."""
    verifier: Mapping[str, Any] | None = None
    """The task's, for the methods below."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How they were drawn: `n`, `temperature`, `top_p`, `seed`."""

    def verdicts(self, verifier: AnyVerifier | None = None, *, workers: int = 1) -> list[list[Verdict]]:
        """Return what a verifier says of each text; gold is the row's `gold`, or read in its completion.

        Args:
            verifier: a name, a name with settings, or an object; None: the task's.
            workers: how many are verified at a time: of use where each runs a program.

        Raises:
            ConfigError: if there is no verifier.
            DataError: if a row has neither gold nor a completion, or it cannot be read.
        """
        chosen = self._chosen(verifier)
        golds = [gold_of(example, chosen) for example in self.examples]
        flat = [(text, gold) for texts, gold in zip(self.texts, golds, strict=True) for text in texts]
        said = iter(chosen.verify([text for text, _ in flat], [gold for _, gold in flat], workers=workers))
        return [[next(said) for _ in texts] for texts in self.texts]

    def vote(self, verifier: AnyVerifier | None = None) -> list[Any]:
        """Return for each row the answer that most of its texts give; None where none has an answer. Gold is not read.

        Self-consistency (Wang et al., 2022, https://arxiv.org/abs/2203.11171): the verifier reads the answers, and says
        which are the same. Of tied ones the first counts.

        Raises:
            ConfigError: if there is no verifier.
        """
        chosen = self._chosen(verifier)
        answers = []
        for texts in self.texts:
            groups = chosen.groups(texts)
            winner = majority(groups).answer
            answers.append(None if winner is None else chosen.parse(texts[groups.index(winner)]))
        return answers

    def best(self, judge: AnyVerifier | Callable[[str, GenerationExample], float] | None = None) -> list[str]:
        """Return for each row the text that is best by a judge (best-of-n), the first of equally good ones.

        Args:
            judge: a function of a text and its row, such as a reward model; or a verifier, which sees gold: what it
                finds is the limit of what a judge without gold could.

        Raises:
            ConfigError: if there is no judge.
        """
        if callable(judge) and not isinstance(judge, Verifier):
            points = [
                [judge(text, row) for text in texts] for texts, row in zip(self.texts, self.examples, strict=True)
            ]
        else:
            points = [[verdict.reward for verdict in row] for row in self.verdicts(judge)]
        return [texts[scores.index(max(scores))] for texts, scores in zip(self.texts, points, strict=True)]

    def score(
        self, verifier: AnyVerifier | None = None, *, ks: Sequence[int] | None = None, workers: int = 1
    ) -> dict[str, float]:
        """Return how good the texts are, and what a right answer costs.

        Args:
            verifier: as in `verdicts`.
            ks: how many texts are drawn; None: 1 and all.
            workers: as in `verdicts`.

        Returns:
            `accuracy`, `wrong`, `unparsable`, `timed_out`: shares of all texts. `pass@k`: that one of k texts is right
            (what best-of-k with a perfect judge gives); `maj@k`: that the vote of k is; `tied@k`: that the vote is a
            tie. `tokens_per_correct/...` and `seconds_per_correct/...`: what a right answer costs by each of the first
            two. `tokens` and `seconds` of all.

        Raises:
            ConfigError: if there is no verifier.
            DataError: as `verdicts` and `metrics.sampling_scores` do.
        """
        chosen, verdicts = self._chosen(verifier), self.verdicts(verifier, workers=workers)
        number = len(self.texts[0])
        groups, right = [], []
        for texts, said in zip(self.texts, verdicts, strict=True):
            groups.append(chosen.groups(texts))
            right.append(_by_group(groups[-1], said))
        seconds = self.seconds / sum(map(len, self.texts))
        spent: dict[str, list[list[float]]] = {
            "tokens": [[float(count) for count in row] for row in self.tokens],
            "seconds": [[seconds] * len(row) for row in self.texts],
        }
        scores = shares([verdict for row in verdicts for verdict in row])
        for unit, costs in spent.items():
            found = sampling_scores(groups, right, ks=ks or sorted({1, number}), costs=costs)
            scores |= {name.replace("cost_", f"{unit}_"): value for name, value in found.items()}
        return {**scores, "tokens": float(sum(map(sum, self.tokens))), "seconds": self.seconds}

    def correct_rows(
        self, verifier: AnyVerifier | None = None, *, most: int | None = None, workers: int = 1
    ) -> list[dict[str, Any]]:
        """Return rows for `fine_tune` whose completions are the right ones of these texts (rejection sampling).

        Training on them is a round of STaR without hints (Zelikman et al., 2022, https://arxiv.org/abs/2203.14465), or
        rejection-sampling fine-tuning (Yuan et al., 2023, https://arxiv.org/abs/2308.01825). A text that stands twice
        is kept once, one that came to no end of its own not at all; how many there were is said.

        Args:
            verifier: as in `verdicts`.
            most: texts of one row that are kept, the first ones; None: all.
            workers: as in `verdicts`.

        Raises:
            ConfigError: if there is no verifier, or `most` is below 1.
            DataError: as `verdicts` does, or if no text is right.
        """
        if most is not None and most < 1:
            raise ConfigError(f"most is {most}. Give 1 or more, or None for all.")
        rows: list[dict[str, Any]] = []
        met: Counter[str] = Counter()
        for example, texts, ends, said in zip(
            self.examples, self.texts, self.finished, self.verdicts(verifier, workers=workers), strict=True
        ):
            right = [place for place, verdict in enumerate(said) if verdict.correct]
            kept = list(dict.fromkeys(texts[place] for place in right if ends[place] and texts[place].strip()))
            met.update(right=len(right), unfinished=sum(not ends[place] for place in right), solved=bool(kept))
            rows += [_row(example, text) for text in kept[:most]]
        _say_kept(rows, met, self)
        return rows

    def preference_rows(
        self, verifier: AnyVerifier | None = None, *, most: int = 1, workers: int = 1
    ) -> list[dict[str, Any]]:
        """Return rows for `dpo`: a right text as `chosen`, a wrong one as `rejected`, of each row the first ones.

        Args:
            verifier: as in `verdicts`.
            most: pairs of one row.
            workers: as in `verdicts`.

        Raises:
            ConfigError: if there is no verifier, or `most` is below 1.
            DataError: as `verdicts` does, or if no row has texts of both kinds.
        """
        if most < 1:
            raise ConfigError(f"most is {most}. Give 1 or more.")
        rows: list[dict[str, Any]] = []
        for example, texts, ends, said in zip(
            self.examples, self.texts, self.finished, self.verdicts(verifier, workers=workers), strict=True
        ):
            told = [
                (text, verdict.correct)
                for text, verdict, ended in zip(texts, said, ends, strict=True)
                if text.strip() and (ended or not verdict.correct)  # the end of what is chosen is learned too
            ]
            good, bad = (list(dict.fromkeys(text for text, right in told if right is kind)) for kind in (True, False))
            for chosen, rejected in list(zip(good, bad, strict=False))[:most]:
                row = _row(example, chosen)
                row["chosen"] = row.pop("completion")
                rows.append({**row, "rejected": rejected})
        if not rows:
            raise DataError("No row has a right text and a wrong one. Give more samples, or other rows.")
        say(f"{len(rows)} pairs of a right and a wrong text are made of {len(self.texts)} rows.")
        return rows

    def _chosen(self, verifier: AnyVerifier | None) -> Verifier:
        given = self.verifier if verifier is None else verifier
        if given is None:
            raise ConfigError("There is no verifier. Give one, such as 'number', or sample with "
                              "Generation(verifier=...).")  # fmt: skip
        return as_verifier(given)


def sample(
    model: str | Path | PreTrainedModel | Result,
    data: Any,
    *,
    task: Generation | None = None,
    n: int = 4,
    temperature: float = 0.8,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
    max_length: int | None = None,
    use_cpu: bool = False,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
) -> Samples:
    """Draw several texts for each row from a decoder, tuned or not: in batches, with cached keys and values.

    Args:
        model: as in `fine_tune`, or a `Result`.
        data: prompts (texts), or rows of one split as `fine_tune` takes them, whose completions may be missing: they
            are not shown to the model. A column `gold` is for the verifier.
        task: its `max_new_tokens`, `chat`, `system` and `verifier` count; None: the result's, or `Generation()`.
        n: texts for each row.
        temperature: 0 (with `n=1`): the most probable token each time; above: tokens are drawn from the softmax of the
            logits over it.
        top_p: of the tokens only the most probable ones are drawn that have this share of the probability.
        seed: the same seed gives the same texts, on the same machine with the same batch size.
        batch_size: texts that are generated at a time.
        max_length: tokens of a prompt and its text together; None: the result's, or as in `fine_tune`.
        use_cpu: stay on the CPU even if a CUDA device is there; a result stays where it is.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`; a result has its own.

    Raises:
        ConfigError: if a setting makes no sense, or the model is no decoder.
        DataError: if a row cannot be used; all are listed.

    Examples:
        >>> samples = reasoner.sample("HuggingFaceTB/SmolLM2-135M-Instruct", ["1 + 1 ="], n=5)  # doctest: +SKIP
        >>> samples.vote("number")  # doctest: +SKIP
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}. Give 1 or more.")
    with collect():
        examples = read_questions(data, columns)
        drawn = {"temperature": temperature, "top_p": top_p, "num_samples": n, "metric": None}
        predictor = _predictor(model, task, drawn, max_length=max_length, use_cpu=use_cpu, tokenizer=tokenizer)
        with _head_of(predictor), torch.random.fork_rng():
            torch.manual_seed(seed)
            started = time.perf_counter()
            drawings = list(_drawn(predictor, examples, max(1, batch_size // n)))
            seconds = time.perf_counter() - started
    return Samples(
        examples=examples,
        texts=[[one["text"] for one in row] for row in drawings],
        tokens=[[one["tokens"] for one in row] for row in drawings],
        finished=[[one["finished"] for one in row] for row in drawings],
        seconds=seconds,
        verifier=getattr(predictor.task, "verifier", None),
        settings={"n": n, "temperature": temperature, "top_p": top_p, "seed": seed},
    )


def read_questions(data: Any, columns: Mapping[str, Any] | None) -> list[QuestionExample]:
    """Return the rows of one split, whose completions may be missing; a text is a prompt.

    Raises:
        ConfigError: if there are several splits.
        DataError: if a row cannot be used, or there is none.
    """
    if isinstance(data, (list, tuple)):
        data = [{"prompt": row} if isinstance(row, str) else row for row in data]
    splits = examples_from_rows(read_splits(data, columns=columns, alone=ONE_SOURCE), QuestionExample)
    if len(splits) != 1:
        raise ConfigError(f"The data has the splits {', '.join(splits)}. Give one of them.")
    (examples,) = splits.values()
    if not examples:
        raise DataError("There is no row to sample for. Give at least one.")
    return examples


def _predictor(
    model: Any,
    task: Generation | None,
    drawn: Mapping[str, Any],
    *,
    max_length: int | None,
    use_cpu: bool,
    tokenizer: Any,
) -> Predictor:
    """Return a predictor whose task draws texts; that of a result shares its weights."""
    if not isinstance(model, Result):
        config = TrainingConfig(use_cpu=use_cpu, max_length=max_length)
        made = replace(task or Generation(), **drawn)
        return build_predictor(model_source(model), made, config=config, tokenizer=tokenizer)
    known = model.predictor.task
    if not isinstance(known, Generation):
        raise ConfigError(f"sample draws texts, and this result is for {type(known).__name__}. Give one of generation.")
    if tokenizer is not None:
        raise ConfigError("A result has its own tokenizer. Leave tokenizer out.")
    limit = length_limit(model.predictor.model.network, model.predictor.tokenizer)
    check_max_length(max_length, limit)
    made = replace(task or known, **drawn, head=known.head, end_tokens=known.end_tokens)
    return replace(model.predictor, task=made, max_length=max_length or model.predictor.max_length)


@contextmanager
def _head_of(predictor: Predictor) -> Iterator[None]:
    """Let the model generate as the predictor's task says inside the block, and then as before."""
    model = predictor.model
    own, model.head = model.head, predictor.task.build_head(model.network.config)
    try:
        yield
    finally:
        model.head = own


def _drawn(predictor: Predictor, examples: Sequence[Any], batch_size: int) -> Iterator[list[dict[str, Any]]]:
    """Give for each row its texts, as `Generation.read_records` does."""
    asked = [replace(example, completion=None) for example in examples]
    for part in in_parts(asked):
        encoded = Encoded(part, predictor.encode(part).features)
        batches = predictor.batches(encoded, batch_size=batch_size)
        records, _ = infer(predictor.model, batches, device=predictor.device, bf16=predictor.bf16)
        yield from predictor.task.read_records(records, predictor.tokenizer)


def _by_group(groups: Sequence[Hashable], verdicts: Sequence[Verdict]) -> list[bool]:
    """Return whether each text is right, texts with one answer being what the first of them is.

    They could differ: nearness with a tolerance is not transitive, and a clock may run out on one of two programs.
    """
    first: dict[Hashable, bool] = {}
    for group, verdict in zip(groups, verdicts, strict=True):
        if group is not None:
            first.setdefault(group, verdict.correct)
    return [first.get(group, verdict.correct) for group, verdict in zip(groups, verdicts, strict=True)]


def _row(example: GenerationExample, text: str) -> dict[str, Any]:
    """Return a row whose completion is a text that was drawn for an example."""
    gold = {} if example.gold is None else {"gold": example.gold}
    if example.messages:
        return {"prompt": [message._asdict() for message in example.messages], "completion": text, **gold}
    return {"prompt": example.prompt, "completion": text, **gold}


def _say_kept(rows: Sequence[Any], met: Mapping[str, int], samples: Samples) -> None:
    """Say how many texts became rows.

    Raises:
        DataError: if none did.
    """
    drawn = sum(map(len, samples.texts))
    if not rows:
        raise DataError(f"Of {drawn} texts {met['right']} are right and {met['unfinished']} of these unfinished: there "
                        "is no row to keep. Give more samples, easier rows, or more max_new_tokens.")  # fmt: skip
    repeats = met["right"] - met["unfinished"] - len(rows)
    say(f"{len(rows)} of {drawn} texts are kept. {met['right']} are right, {met['unfinished']} of them unfinished and "
        f"{repeats} repeats or too many; {met['solved']} of {len(samples.texts)} rows have one.")  # fmt: skip
