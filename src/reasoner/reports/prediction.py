"""What does a prediction look like: entities and answers highlighted in their text, probabilities as bars?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLOURS = ("0, 114, 178", "230, 159, 0", "0, 158, 115", "204, 121, 167", "213, 94, 0", "86, 180, 233")
"""Red, green and blue, told apart by the colour-blind too (Okabe and Ito)."""
_LINE = "1px solid rgba(128, 128, 128, 0.45)"
_CELL = "padding: 2px 14px 2px 0; text-align: left; vertical-align: top"
_NUMBER = "padding: 2px 14px 2px 0; text-align: right; font-variant-numeric: tabular-nums"
_SHOWN = 5
"""Answers that are listed."""


def prediction_html(given: Any, prediction: Any) -> str:
    """Return a prediction as a fragment of HTML that needs nothing beside it; all text is escaped.

    Args:
        given: the input, as `predict` takes it.
        prediction: what `predict` gave for it.
    """
    if isinstance(prediction, list) and all(isinstance(one, Mapping) and "entity_group" in one for one in prediction):
        return _entities(_text(given), prediction)
    if not isinstance(prediction, Mapping):
        return _plain(prediction)
    if isinstance(prediction.get("scores"), Mapping):
        said = prediction.get("labels", [prediction.get("label")])
        return _bars(prediction["scores"], {str(label) for label in said})
    if "value" in prediction:
        return f'<p style="font-size: 1.4em">{escape(_number(prediction["value"]))}</p>'
    if "choice" in prediction and isinstance(given, Mapping):
        choices = [f"{place + 1}. {choice}" for place, choice in enumerate(given.get("choices", ()))]
        chosen = prediction["choice"]
        said = {choices[chosen]} if isinstance(chosen, int) and chosen < len(choices) else set()
        return _bars(dict(zip(choices, prediction.get("scores", ()), strict=False)), said, ordered=False)
    if "answer" in prediction and isinstance(given, Mapping) and "context" in given:
        return _answer(str(given["context"]), prediction)
    if isinstance(prediction.get("text"), str):
        return f'<p style="white-space: pre-wrap">{escape(prediction["text"])}</p>'
    if prediction and all(isinstance(part, (list, Mapping)) for part in prediction.values()):
        return "".join(
            f"<h3>{escape(str(name))}</h3>{prediction_html(given, part)}" for name, part in prediction.items()
        )
    return _plain(prediction)


def _text(given: Any) -> str:
    """Return the text that characters are counted in; words are joined by spaces."""
    if isinstance(given, Mapping):
        given = given.get("tokens") or given.get("text", "")
    return given if isinstance(given, str) else " ".join(map(str, given))


def _entities(text: str, entities: Sequence[Mapping[str, Any]]) -> str:
    if not entities:
        return f"<p>{escape(text)}</p><p>No entity.</p>"
    kinds = sorted({str(entity["entity_group"]) for entity in entities})
    colours = {kind: COLOURS[place % len(COLOURS)] for place, kind in enumerate(kinds)}
    rows = [
        (str(entity["word"]), str(entity["entity_group"]), f"{entity['start']} to {entity['end']}",
         _number(entity["score"]))
        for entity in entities
    ]  # fmt: skip
    marked = _highlighted(text, entities, colours)
    return f'<p style="line-height: 2.1">{marked}</p>{_table(("", "type", "characters", "score"), rows)}'


def _highlighted(text: str, entities: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    """Return the text with its entities marked; inner ones in outer ones, and of those that cross the first."""
    pieces: list[str] = []
    open_ends: list[tuple[int, str]] = []
    done = 0

    def upto(place: int) -> None:
        nonlocal done
        while open_ends and open_ends[-1][0] <= place:
            end, closing = open_ends.pop()
            pieces.extend((escape(text[done:end]), closing))
            done = end
        pieces.append(escape(text[done:place]))
        done = place

    for entity in sorted(entities, key=lambda one: (one["start"], -one["end"])):
        start, end, kind = entity["start"], entity["end"], str(entity["entity_group"])
        upto(start)
        if open_ends and end > open_ends[-1][0]:
            continue
        style = (
            f"background: rgba({colours[kind]}, 0.28); color: inherit; padding: 0.15em 0.35em; border-radius: 0.35em"
        )
        pieces.append(f'<mark style="{style}" title="{escape(_number(entity["score"]))}">')
        open_ends.append((end, f' <small style="opacity: 0.8">{escape(kind)}</small></mark>'))
    upto(len(text))
    return "".join(pieces)


def _answer(context: str, prediction: Mapping[str, Any]) -> str:
    start, end = prediction.get("start") or 0, prediction.get("end") or 0
    marked = escape(context)
    if prediction["answer"]:
        style = f"background: rgba({COLOURS[0]}, 0.28); color: inherit; border-radius: 0.25em"
        inner = f'<mark style="{style}">{escape(context[start:end])}</mark>'
        marked = f"{escape(context[:start])}{inner}{escape(context[end:])}"
    said = escape(str(prediction["answer"])) if prediction["answer"] else "no answer"
    best = [(str(one.get("answer") or "no answer"), _number(one.get("score"))) for one in prediction.get("n_best", ())]
    unsure = prediction.get("no_answer_score")
    note = "" if unsure is None else f"<p>No answer: {escape(_number(unsure))}</p>"
    return f"<p><b>{said}</b></p><p>{marked}</p>{_table(('', 'score'), best[:_SHOWN])}{note}"


def _bars(scores: Mapping[str, Any], said: set[str], *, ordered: bool = True) -> str:
    """Return a bar for each label, the likeliest first; what was said is bold."""
    items = sorted(scores.items(), key=lambda item: -item[1]) if ordered else list(scores.items())
    rows = []
    for name, score in items:
        weight = "700" if str(name) in said else "400"
        bar = (
            f'<div style="width: 12em; background: rgba(128, 128, 128, 0.18)"><div style="width: {100 * score:.1f}%; '
            f'height: 0.9em; background: rgba({COLOURS[0]}, 0.75)"></div></div>'
        )
        rows.append(
            f'<tr style="font-weight: {weight}"><td style="{_CELL}">{escape(str(name))}</td>'
            f'<td style="{_NUMBER}">{score:.3f}</td><td style="{_CELL}; vertical-align: middle">{bar}</td></tr>'
        )
    return f'<table style="border-collapse: collapse">{"".join(rows)}</table>'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th style="{_CELL}; border-bottom: {_LINE}">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f'<table style="border-collapse: collapse"><tr>{head}</tr>{body}</table>'


def _plain(value: Any) -> str:
    shown = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return f'<pre style="white-space: pre-wrap">{escape(shown)}</pre>'


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
