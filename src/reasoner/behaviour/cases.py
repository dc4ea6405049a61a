"""Is an inference model right where word overlap misleads: by heuristic, by half, and by case?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reasoner.data.examples import examples_from_rows, text_column
from reasoner.data.labels import entailing_output, meaning
from reasoner.data.sources import ONE_SOURCE, read_splits
from reasoner.errors import ConfigError, Problem, raise_if_any
from reasoner.notices import collect
from reasoner.reports.heuristics import HeuristicOutcome, HeuristicsReport
from reasoner.reports.shares import Share
from reasoner.result import Result, load_result
from reasoner.scored_rows import chosen_split
from reasoner.synthetic import heuristics_pack
from reasoner.tasks.nli import NLI, NLIExample

KNOWN = ("entailment", "neutral", "contradiction", "not_entailment")
"""What a label of these rows may mean."""


@dataclass(frozen=True, kw_only=True)
class HeuristicExample(NLIExample):
    """A pair whose label a heuristic gets right or wrong."""

    aliases = {**NLIExample.aliases, "case": ("subcase",)}

    heuristic: str = ""
    """Such as "lexical_overlap"."""
    case: str = ""
    """Such as "ln_passive"; empty: the data names none."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row; see `Example.from_columns`."""
        pair = NLIExample.from_columns(columns, where=where)
        return cls(
            premise=pair.premise,
            hypothesis=pair.hypothesis,
            label=pair.label,
            heuristic=text_column(columns, "heuristic", cls),
            case=text_column(columns, "case", cls, default=""),
            where=where,
        )

    @property
    def entailed(self) -> bool:
        """Whether the hypothesis follows."""
        return meaning(str(self.label)) == "entailment"


def heuristics(
    model: Result | str | Path,
    data: Any = None,
    *,
    split: str | None = None,
    columns: Mapping[str, Any] | None = None,
) -> HeuristicsReport:
    """Break an inference model's accuracy down by heuristic, by whether the heuristic is right, and by case.

    The heuristics are those of HANS (McCoy, Pavlick & Linzen, 2019, https://aclanthology.org/P19-1334): that a premise
    entails every hypothesis made of its words (lexical overlap), of its words side by side (subsequence), or of a whole
    part of its sentence (constituent). The gold has two labels: as in the paper, of a model with three both
    others count as not entailed.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        data: rows with `premise`, `hypothesis`, `label`, `heuristic` and perhaps `subcase` or `case`, such as the files
            of HANS; None: the rows of `synthetic.heuristics_pack`.
        split: which of several splits; None: test, else validation, else train.
        columns: as in `fine_tune`.

    Raises:
        ConfigError: if the model is for another task, or none of its labels means entailment; or the split is unknown.
        DataError: if a row cannot be used.

    Example:
        >>> report = reasoner.heuristics("output/nli", "hans.jsonl")  # doctest: +SKIP
        >>> report["lexical_overlap"].not_entailed.rate  # doctest: +SKIP
    """
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        task = result.predictor.task
        labels = tuple(getattr(task, "labels", ()))
        entailing = entailing_output(dict(enumerate(labels)))
        if not isinstance(task, NLI) or entailing is None:
            raise ConfigError(f"heuristics asks an nli model, one of whose labels means entailment, and this one is "
                              f"for {result.run.task} with the labels {', '.join(labels) or 'none'}.")  # fmt: skip
        given = heuristics_pack() if data is None else data
        splits = examples_from_rows(read_splits(given, columns=columns, alone=ONE_SOURCE), HeuristicExample)
        name, examples = chosen_split(splits, split)
        raise_if_any(_problems(examples))
        found = result.predictor.predict([(example.premise, example.hypothesis) for example in examples])
    said = [prediction["label"] == labels[entailing] for prediction in found]
    return HeuristicsReport(
        split=name,
        rows=len(examples),
        labels=labels,
        entailing=labels[entailing],
        entailed=_share(examples, said, True),
        not_entailed=_share(examples, said, False),
        said_entailed=Share.of(said),
        outcomes=tuple(
            _outcome(heuristic, examples, said)
            for heuristic in dict.fromkeys(example.heuristic for example in examples)
        ),
    )


def _problems(examples: Sequence[HeuristicExample]) -> list[Problem]:
    remedy = "Give entailment or non-entailment (neutral and contradiction are not entailed)."
    return [
        Problem(example.where, f"label '{example.label}' does not say whether the hypothesis follows", remedy,
                about_labels=True)
        for example in examples
        if meaning(str(example.label)) not in KNOWN
    ]  # fmt: skip


def _outcome(heuristic: str, examples: Sequence[HeuristicExample], said: Sequence[bool]) -> HeuristicOutcome:
    own = [(example, one) for example, one in zip(examples, said, strict=True) if example.heuristic == heuristic]
    rows, answers = [example for example, _ in own], [one for _, one in own]

    def cases(entailed: bool) -> dict[str, Share]:
        names = dict.fromkeys(row.case for row in rows if row.case and row.entailed == entailed)
        shares = ((name, _share(rows, answers, entailed, name)) for name in names)
        return {name: share for name, share in shares if share is not None}

    return HeuristicOutcome(
        name=heuristic,
        entailed=_share(rows, answers, True),
        not_entailed=_share(rows, answers, False),
        entailed_cases=cases(True),
        not_entailed_cases=cases(False),
    )


def _share(
    examples: Sequence[HeuristicExample], said: Sequence[bool], entailed: bool, case: str | None = None
) -> Share | None:
    """Return how often what was said is right in a half of the rows, or of a case; None: there are none."""
    right = [
        one == entailed
        for example, one in zip(examples, said, strict=True)
        if example.entailed == entailed and case in (None, example.case)
    ]
    return Share.of(right) if right else None
