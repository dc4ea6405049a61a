"""What does an explanation show: words by their weight, as text, highlighted HTML and a plot?"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from reasoner.metrics import bootstrap_interval

WIDTH = 80
SHOWN = 8
"""Words that the text form lists."""
PLOTTED = 20
"""Words that the plot shows."""
WARNING = "Weights say what moved the probability, not what a person would call a reason."


@dataclass(frozen=True)
class Word:
    """A word of a text, and how much it counts."""

    text: int
    """Number of the text."""
    start: int
    """First character."""
    end: int
    surface: str
    weight: float = 0.0
    """Above 0: it made what was said more likely. In nats of its log-probability."""


class Faithfulness(NamedTuple):
    """Whether what was said depends on the words that count most: means over 5, 10, 20 and 50% of the words."""

    comprehensiveness: float
    """How far the probability falls without them: more is better."""
    sufficiency: float
    """How far it falls with them alone: less is better."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """Why a model said something. Printing it lists the words that count; a notebook shows them highlighted."""

    said: str
    """A label, an entity with its type, an answer."""
    probability: float
    """Of that, by the model."""
    by: str
    texts: tuple[str, ...]
    """That the model read, each once."""
    words: tuple[Word, ...]
    faithfulness: Faithfulness
    by_chance: Faithfulness
    """The same for words in a random order, the mean of five."""
    error: float | None
    """Of "integrated gradients": how far the sum of the weights is from the whole rise of the log-probability."""

    @property
    def ranked(self) -> list[Word]:
        """The words, those first that made it most likely."""
        return sorted(self.words, key=lambda word: -word.weight)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {**asdict(self), "faithfulness": self.faithfulness._asdict(), "by_chance": self.by_chance._asdict()}

    def plot(self, path: str | Path | None = None) -> Any:
        """Return the words' weights as a matplotlib figure; with a path, write it as PNG as well.

        Raises:
            ConfigError: if matplotlib is not installed (the extra `plots`), or the path does not end with `.png`.
        """
        from reasoner.reports.plots import BLUE, ORANGE, empty_figure, finish, png, written

        most = sorted(self.words, key=lambda word: -abs(word.weight))[:PLOTTED]
        shown = sorted(most, key=lambda word: word.weight)
        figure = empty_figure()
        figure.set_size_inches(7, 0.6 + 0.28 * len(shown))
        axes = figure.subplots()
        colours = [BLUE if word.weight > 0 else ORANGE for word in shown]
        axes.barh(range(len(shown)), [word.weight for word in shown], color=colours)
        axes.set_yticks(range(len(shown)), [word.surface for word in shown])
        axes.set_xlabel("made it more likely (nats)")
        axes.set_title(f"{self.said}, p = {self.probability:.3f} ({self.by})")
        finish(axes)
        if path is not None:
            written(path, lambda: png(figure))
        return figure

    def __repr__(self) -> str:
        heading = f"{self.said}: probability {self.probability:.3f}, by {self.by}"
        several = len(self.texts) > 1
        lines = [
            f"  {word.weight:+9.3f}  {word.surface}{f' (text {word.text + 1})' if several else ''}"
            for word in self._shown()
        ]
        return "\n".join([*textwrap.wrap(heading, WIDTH), *lines, *textwrap.wrap(self._remark(), WIDTH)])

    def _repr_html_(self) -> str:
        most = max((abs(word.weight) for word in self.words), default=0.0) or 1.0
        parts = []
        for number, text in enumerate(self.texts):
            pieces, done = [], 0
            for word in (word for word in self.words if word.text == number):
                colour = "0, 114, 178" if word.weight > 0 else "213, 94, 0"
                style = f"background: rgba({colour}, {abs(word.weight) / most:.2f})"
                pieces.append(escape(text[done : word.start]))
                title = f"{word.weight:+.3f}"
                pieces.append(f'<span style="{style}" title="{title}">{escape(text[word.start : word.end])}</span>')
                done = word.end
            parts.append(f"<p>{''.join(pieces)}{escape(text[done:])}</p>")
        heading = f"<b>{escape(self.said)}</b>, probability {self.probability:.3f}, by {escape(self.by)}"
        return f"<div>{heading}{''.join(parts)}<small>{escape(self._remark())}</small></div>"

    def _shown(self) -> list[Word]:
        """The words that count most, for or against, in the order of their weight."""
        most = sorted(self.words, key=lambda word: -abs(word.weight))[:SHOWN]
        return sorted(most, key=lambda word: -word.weight)

    def _remark(self) -> str:
        mine, chance = self.faithfulness, self.by_chance
        return (
            f"Without the words that count most the probability falls by {mine.comprehensiveness:.3f} (by chance "
            f"{chance.comprehensiveness:.3f}), with them alone by {mine.sufficiency:.3f} ({chance.sufficiency:.3f}). "
            f"{WARNING}"
        )


class Explanations(list[Explanation]):
    """A list of explanations, with what they have in common."""

    def summary(self) -> dict[str, Any]:
        """Return the mean faithfulness, and how much better it is than chance, with 95% intervals over explanations.

        Raises:
            DataError: if there are fewer than two.
        """
        gains = {
            "comprehensiveness": [one.faithfulness.comprehensiveness - one.by_chance.comprehensiveness for one in self],
            "sufficiency": [one.by_chance.sufficiency - one.faithfulness.sufficiency for one in self],
        }
        found: dict[str, Any] = {}
        for name, of_each in gains.items():
            interval = bootstrap_interval(_mean, of_each, on="rows")
            found[name] = {
                "mean": sum(getattr(one.faithfulness, name) for one in self) / len(self),
                "better_than_chance": interval.value,
                "lower": interval.lower,
                "upper": interval.upper,
            }
        return found

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self)) or "Nothing was said that could be explained."

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
