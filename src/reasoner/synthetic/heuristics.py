"""What do pairs look like in which all words of the hypothesis stand in the premise, and half do not follow?"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from reasoner.errors import ConfigError
from reasoner.synthetic import words
from reasoner.synthetic.packs import PATIENCE, Pack, Row

ENTAILED, NOT_ENTAILED = "entailment", "non-entailment"


class _Case(NamedTuple):
    heuristic: str
    name: str
    label: str
    premise: str
    hypothesis: str


def _cases(heuristic: str, label: str, text: str) -> list[_Case]:
    """Read cases, one a line: name, premise, hypothesis."""
    return [
        _Case(heuristic, *(part.strip() for part in (line.split("|")[0], label, *line.split("|")[1:])))
        for line in text.strip().splitlines()
    ]


CASES = (
    *_cases("lexical_overlap", NOT_ENTAILED, """
        subject and object swapped | The {a} {past} the {b}. | The {b} {past} the {a}.
        passive read as active | The {a} was {past} by the {b}. | The {a} {past} the {b}.
        noun of a phrase as subject | The {a} near the {b} {past} the {c}. | The {b} {past} the {c}.
        conjunction read as verb | The {a} {past} the {b} and the {c}. | The {b} {past} the {c}."""),
    *_cases("lexical_overlap", ENTAILED, """
        passive | The {a} was {past} by the {b}. | The {b} {past} the {a}.
        one of two subjects | The {a} and the {b} {past} the {c}. | The {a} {past} the {c}.
        one of two objects | The {a} {past} the {b} and the {c}. | The {a} {past} the {c}.
        relative clause | The {a} that {past} the {b} {did}. | The {a} {past} the {b}."""),
    *_cases("subsequence", NOT_ENTAILED, """
        phrase beside the subject | The {a} near the {b} {did}. | The {b} {did}.
        relative clause beside the subject | The {a} that {past} the {b} {did}. | The {b} {did}.
        object before a verb | The {a} who was {past} by the {b} {did}. | The {b} {did}."""),
    *_cases("subsequence", ENTAILED, """
        second of two subjects | The {a} and the {b} {did}. | The {b} {did}.
        phrase after the object | The {a} {past} the {b} {spot}. | The {a} {past} the {b}.
        quality of the subject | Famous {a}s {past} the {b}. | {a}s {past} the {b}."""),
    *_cases("constituent", NOT_ENTAILED, """
        under if | If the {a} {did}, the {b} {past} the {c}. | The {a} {did}.
        one of two that may be | The {a} {did}, or the {b} {past} the {c}. | The {a} {did}.
        what was claimed | The {a} claimed that the {b} {did}. | The {b} {did}."""),
    *_cases("constituent", ENTAILED, """
        under because | Because the {a} {did}, the {b} {past} the {c}. | The {a} {did}.
        one of two that both are | The {a} {did}, and the {b} {past} the {c}. | The {a} {did}.
        what was known | The {a} knew that the {b} {did}. | The {b} {did}."""),
)  # fmt: skip
"""Each has slots: three people, what one did to another (past and participle are alike), what one did."""


def heuristics_pack(*, per_case: int = 30, seed: int = 0) -> Pack:
    """Make pairs in the manner of HANS (McCoy et al., 2019, https://aclanthology.org/P19-1334), of our own words.

    All words of each hypothesis stand in its premise; under "subsequence" and "constituent" side by side. Of each
    heuristic there are as many rows where it is right as where it misleads, to a case. They are made to test, not
    to train on: there are no more than twenty sentences with other words in them.

    Args:
        per_case: rows of each of the cases.
        seed: the same seed gives the same rows.

    Returns:
        One split, "test": `premise`, `hypothesis`, `label` ("entailment" or "non-entailment"), `heuristic` and `case`.

    Raises:
        ConfigError: if it is no number from 1 up, or there are not so many different rows.
    """
    if not isinstance(per_case, int) or isinstance(per_case, bool) or per_case < 1:
        raise ConfigError(f"per_case is {per_case!r}. Give a whole number of at least 1.")
    return {"test": [row for case in CASES for row in _rows(case, per_case, Random(f"{seed} {case.name}"))]}


def _rows(case: _Case, number: int, random: Random) -> list[Row]:
    people = words.JOBS.train + words.JOBS.held_out
    verbs = [past for _, past, participle in words.TRANSITIVE_VERBS.train + words.TRANSITIVE_VERBS.held_out
             if past == participle]  # fmt: skip
    done = [past for _, past in words.VERBS.train + words.VERBS.held_out]
    rows: dict[str, Row] = {}
    tries = 0
    while len(rows) < number:
        a, b, c = random.sample(people, 3)
        past, did, spot = random.choice(verbs), random.choice(done), random.choice(words.SPOTS.train)
        slots = {"a": a, "b": b, "c": c, "past": past, "did": did, "spot": spot}
        texts = [template.format(**slots) for template in (case.premise, case.hypothesis)]
        premise, hypothesis = (text[0].upper() + text[1:] for text in texts)
        rows[f"{premise} {hypothesis}"] = {"premise": premise, "hypothesis": hypothesis, "label": case.label,
                                           "heuristic": case.heuristic, "case": case.name}  # fmt: skip
        tries += 1
        if tries > number + PATIENCE:
            raise ConfigError(f"per_case={number} cannot be reached: '{case.name}' has no more than {len(rows)} rows.")
    return list(rows.values())
