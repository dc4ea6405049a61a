"""How near are texts to those that were asked for, of which there may be several: BLEU and ROUGE."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from reasoner.errors import ConfigError
from reasoner.metrics.checks import check_same_length

ROUGE = ("rouge1", "rouge2", "rougeL")
REFERENCE_SCORES = ("bleu", *ROUGE)
_PACKAGES = {"bleu": ("sacrebleu", "sacrebleu"), **dict.fromkeys(ROUGE, ("rouge_score", "rouge-score"))}


def check_packages(names: Sequence[str]) -> None:
    """Say if a package that computes one of these scores is not installed.

    Raises:
        ConfigError: if so.
    """
    for name in names:
        module, package = _PACKAGES[name]
        if find_spec(module) is None:
            raise ConfigError(f"{name} needs {package}. Install it: pip install 'reasoner-ft[texts]'.")


def reference_scores(
    references: Sequence[Sequence[str]], predicted: Sequence[str], names: Sequence[str] = REFERENCE_SCORES
) -> dict[str, float]:
    """Score texts against their references, one or more each; fractions 0-1, where papers print hundredths.

    Args:
        references: for each text those that would be right.
        predicted: the texts.
        names: which of `REFERENCE_SCORES`.

    Returns:
        `bleu`: of the whole corpus (Papineni et al., 2002), by sacrebleu in its standard settings (Post, 2018,
        https://aclanthology.org/W18-6319): `case:mixed|eff:no|tok:13a|smooth:exp`. `rouge1`, `rouge2`, `rougeL`: F1 by
        rouge-score without stemming (Lin, 2004), of each text that against the best of its references, in the mean.

    Raises:
        ConfigError: if a package that is needed is not installed.
        DataError: if the lengths differ or are 0.
    """
    check_packages(names)
    check_same_length(references, predicted, unit="texts")
    scores = {"bleu": _bleu(references, predicted)} if "bleu" in names else {}
    return {**scores, **_rouge(references, predicted, [name for name in names if name != "bleu"])}


def _bleu(references: Sequence[Sequence[str]], predicted: Sequence[str]) -> float:
    from sacrebleu.metrics import BLEU

    most = max(len(those) for those in references)
    streams = [[those[place] if place < len(those) else None for those in references] for place in range(most)]
    return float(BLEU().corpus_score(list(predicted), streams).score) / 100


def _rouge(references: Sequence[Sequence[str]], predicted: Sequence[str], names: list[str]) -> dict[str, float]:
    if not names:
        return {}
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(names)
    found = [scorer.score_multi(list(those), text) for those, text in zip(references, predicted, strict=True)]
    return {name: sum(float(scores[name].fmeasure) for scores in found) / len(found) for name in names}
