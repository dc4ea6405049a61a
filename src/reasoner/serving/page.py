"""The page to try a model in a browser: a form, and the prediction for what was filled in. It has no scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from reasoner.reports.card import INPUTS
from reasoner.reports.prediction import prediction_html
from reasoner.reports.run import Run
from reasoner.reports.tables import title
from reasoner.serving.requests import RefusedError

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
JSON_FIELD = "json"
"""The only field of the form where the task does not say what an input holds."""
_HINTS = {"texts": "one a line", "choices": "one a line", "span": "words of the text, as they first stand in it"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 46em; margin: 0 auto; padding: 1.5em 1.2em 3em; }
h1 { font-size: 1.4em; margin: 0 0 0.2em; }
h2 { font-size: 1.1em; margin: 1.6em 0 0.4em; }
h3 { font-size: 1em; margin: 1em 0 0.2em; }
.about, .hint, footer { opacity: 0.75; font-size: 0.92em; margin: 0.6em 0 1em; }
.about { margin-top: 0; }
footer { margin-top: 2.5em; }
mark { box-decoration-break: clone; -webkit-box-decoration-break: clone; }
label .hint { font-weight: 400; }
label { display: block; font-weight: 600; margin: 0.8em 0 0.25em; }
textarea, input { width: 100%; box-sizing: border-box; font: inherit; padding: 0.5em; border-radius: 0.4em;
  border: 1px solid rgba(128, 128, 128, 0.6); background: transparent; color: inherit; resize: vertical; }
button { font: inherit; font-weight: 600; margin-top: 1em; padding: 0.45em 1.6em; border: 0; border-radius: 0.4em;
  background: rgb(0, 98, 155); color: white; cursor: pointer; }
.problem { border-left: 4px solid rgb(213, 94, 0); padding: 0.3em 0.8em; }
section { overflow-wrap: anywhere; }
th, td:not(:first-child) { overflow-wrap: break-word; }
"""


def page(
    run: Run,
    kinds: Mapping[str, str],
    *,
    filled: Mapping[str, str] | None = None,
    row: Any = None,
    prediction: Any = None,
    notices: Sequence[str] = (),
    problem: str = "",
) -> str:
    """Return the page as HTML that loads nothing and runs nothing.

    Args:
        run: the record of the model.
        kinds: what an input holds; see `schema.inputs_of`.
        filled: what the form holds; None: an example.
        row: the input that was predicted for.
        prediction: of it; None: there is none yet.
        notices: what was said of it.
        problem: why there is no prediction.
    """
    fields = _fields(kinds, _example(run, kinds) if filled is None else filled)
    shown = ""
    if problem:
        shown = f'<h2>Refused</h2><p class="problem">{escape(problem)}</p>'
    elif prediction is not None:
        said = "".join(f'<p class="hint">{escape(notice)}</p>' for notice in notices)
        shown = f"<h2>Prediction</h2>{prediction_html(row, prediction)}{said}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title(run))}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        "<body><main>"
        f'<h1>{escape(title(run))}</h1><p class="about">{escape(_about(run))}</p>'
        f'<form method="post" action="/">{fields}<button type="submit">Predict</button></form>'
        f"<section>{shown}</section>"
        '<footer><p>Programs send <code>{"inputs": ...}</code> to <code>POST /predict</code>; what an input looks like '
        'is in <a href="/openapi.json">openapi.json</a>.</p></footer></main></body></html>'
    )


def row_of_form(filled: Mapping[str, str], kinds: Mapping[str, str]) -> Any:
    """Return the input that a form was filled in with, as `predict` takes it.

    Raises:
        RefusedError: if the JSON cannot be read, or the words of a span do not stand in the text.
    """
    if not kinds:
        try:
            return json.loads(filled.get(JSON_FIELD, ""))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"This is no JSON that can be read: {error}.") from None
    row: dict[str, Any] = {}
    for name, kind in _asked(kinds).items():
        value = filled.get(name, "").replace("\r\n", "\n")
        if kind.endswith("?") and not value.strip():
            continue
        row[name] = value
        if kind.removesuffix("?") in ("texts", "choices"):
            row[name] = [line.strip() for line in value.split("\n") if line.strip()]
        elif kind.removesuffix("?") == "span":
            start = filled.get("text", "").replace("\r\n", "\n").find(value.strip())
            if start < 0 or not value.strip():
                raise RefusedError(422, f"{name}: '{value.strip():.60}' does not stand in the text.")
            row[name] = [start, start + len(value.strip())]
    return row


def _asked(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return what the form asks for: a text, and no words in its place."""
    return {name: kind for name, kind in kinds.items() if kind != "words"}


def _fields(kinds: Mapping[str, str], filled: Mapping[str, str]) -> str:
    asked = _asked(kinds) or {JSON_FIELD: "text"}
    parts = []
    for name, kind in asked.items():
        plain, optional = kind.removesuffix("?"), kind.endswith("?")
        hints = [hint for hint in (_HINTS.get(plain), "may be empty" if optional else "") if hint]
        hint = f' <span class="hint">({escape(", ".join(hints))})</span>' if hints else ""
        value = escape(filled.get(name, ""))
        rows = 2 if optional else 4
        box = (
            f'<input id="{name}" name="{name}" value="{value}">'
            if plain == "span"
            else f'<textarea id="{name}" name="{name}" rows="{rows}">{value}</textarea>'
        )
        parts.append(f'<label for="{name}">{escape(name.replace("_", " "))}{hint}</label>{box}')
    return "".join(parts)


def _example(run: Run, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return an example in the form's fields."""
    given: Any = INPUTS.get(run.task)
    if isinstance(given, str):
        return {next(iter(kinds), JSON_FIELD): given}
    filled: dict[str, str] = {}
    for name, value in (given or {}).items():
        if kinds.get(name) == "span":
            filled[name] = str(given["text"])[value[0] : value[1]]
        else:
            filled[name] = value if isinstance(value, str) else "\n".join(value)
    return filled


def _about(run: Run) -> str:
    scores = run.metrics.get(run.compared_split, {})
    score = scores.get(run.primary_metric)
    shown = f" {run.primary_metric} {score:.3f} on {run.compared_split}." if isinstance(score, float) else ""
    tags = [label for label in run.labels if label != "O"]
    named = tags if all(tag[:2] in ("B-", "I-") for tag in tags) else ()
    types = dict.fromkeys(tag[2:] for tag in named) or run.labels
    labels = f" Labels: {', '.join(types)}." if types else ""
    return f"{shown}{labels}".strip()
