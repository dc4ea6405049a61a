"""Rows of reasoning-gym: problems that its generators make, by name and difficulty, with what scores an answer."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from reasoner.errors import ConfigError, suggestion
from reasoner.synthetic.packs import Pack

TRIES = 20
"""How often a problem that was there before may be drawn again, for each row that is asked for."""
SEED_STEP = 10_000_019
"""Between seeds: reasoning-gym adds a problem's place to the seed, so that 0 and 1 would give nearly the same rows."""


def reasoning_gym_pack(
    name: str,
    *,
    train: int = 400,
    validation: int = 100,
    test: int = 100,
    difficulty: int | None = None,
    seed: int = 0,
    tag: str | None = None,
    **settings: Any,
) -> Pack:
    """Make a pack of one of reasoning-gym's data sets, such as "chain_sum" (Stojanovski et al., 2025).

    No question stands in two splits, or twice in one. Rows are for `Generation(verifier="reasoning_gym")`.

    Args:
        name: the data set.
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        difficulty: level of its curriculum, from 0, in all that it can be made harder by; None: its default settings.
        seed: the same seed gives the same rows.
        tag: put completions between `<tag>` and `</tag>`; for `ReasoningGym(tag=...)`.
        settings: of the data set, such as `min_terms=2`; they hold against the difficulty.

    Returns:
        The rows of each split: `prompt`, `completion` (none where an answer is not one text; such rows can be sampled
        for and rewarded, not learned) and `gold`, the problem with its metadata.

    Raises:
        ConfigError: if reasoning-gym is not installed, has no such data set, level or setting, or has not so many
            different problems.
    """
    sizes = {"train": train, "validation": validation, "test": test}
    wanted = sum(sizes.values())
    problems = _problems(name, difficulty, {**settings, "seed": seed * SEED_STEP, "size": wanted * TRIES})
    rows: dict[str, dict[str, Any]] = {}
    for place in range(wanted * TRIES):
        if len(rows) == wanted:
            break
        problem = problems[place]
        rows.setdefault(problem["question"], _row(problem, tag))
    if len(rows) < wanted:
        raise ConfigError(f"reasoning-gym's '{name}' gave {len(rows)} different problems, and {wanted} are asked for. "
                          "Ask for fewer, or for a greater difficulty.")  # fmt: skip
    drawn = iter(rows.values())
    return {split: [next(drawn) for _ in range(size)] for split, size in sizes.items()}


def _problems(name: str, difficulty: int | None, settings: dict[str, Any]) -> Any:
    """Return the data set, whose items are made when they are asked for."""
    if not find_spec("reasoning_gym"):
        raise ConfigError("This needs reasoning-gym. Install it: pip install 'reasoner-ft[reasoning-gym]'.")
    from reasoning_gym.factory import CURRICULA, DATASETS, create_dataset

    if name not in DATASETS:
        raise ConfigError(f"reasoning-gym has no data set '{name}'. {suggestion(name, DATASETS)}")
    if difficulty is not None:
        settings = {**_level(name, difficulty, CURRICULA), **settings}
    try:
        return create_dataset(name, **settings)
    except (TypeError, AssertionError, ValueError) as error:
        raise ConfigError(f"reasoning-gym's '{name}' does not take these settings: {error}.") from None


def _level(name: str, difficulty: int, curricula: Any) -> dict[str, Any]:
    """Return the settings of a level of a data set's curriculum."""
    if name not in curricula:
        raise ConfigError(f"reasoning-gym's '{name}' has no levels. Leave difficulty out, and give its own settings.")
    curriculum = curricula[name]()
    highest = max(len(attribute.levels) for attribute in curriculum.attributes.values()) - 1
    if not isinstance(difficulty, int) or not 0 <= difficulty <= highest:
        raise ConfigError(f"difficulty is {difficulty!r}. Give a level of '{name}', from 0 to {highest}.")
    curriculum.set_global_level(difficulty)
    return dict(vars(curriculum.generate_configuration()))


def _row(problem: dict[str, Any], tag: str | None) -> dict[str, Any]:
    answer = problem["answer"]
    gold = {key: problem[key] for key in ("question", "answer", "metadata")}
    if not isinstance(answer, str) or not answer.strip():
        return {"prompt": problem["question"], "gold": gold}
    return {"prompt": problem["question"], "completion": f"<{tag}>{answer}</{tag}>" if tag else answer, "gold": gold}
