"""How does a JSON file in SQuAD's layout, v1.1 or v2.0, become one row a question?

Rajpurkar et al., 2016, https://arxiv.org/abs/1606.05250, and 2018, https://arxiv.org/abs/1806.03822.
"""

from __future__ import annotations

from typing import Any

from reasoner import notices
from reasoner.data.rows import Row
from reasoner.errors import DataError, Problem, raise_if_any

_LAYOUT = "SQuAD's layout is data[].paragraphs[].{context, qas[].{id, question, answers[].{text, answer_start}}}."
_KINDS = {str: "a string", int: "a whole number", list: "a list", dict: "an object"}


def is_squad(value: Any) -> bool:
    """Say whether a JSON value has SQuAD's shape: an object whose `data` lists articles with paragraphs."""
    articles = value.get("data") if isinstance(value, dict) else None
    return isinstance(articles, list) and any(isinstance(item, dict) and "paragraphs" in item for item in articles)


def read_questions(value: Any, source: str) -> list[Row]:
    """Return a row a question: `id`, `title`, `context`, `question`, `answers` {`text`, `answer_start`}.

    The answers of a question with `is_impossible` are empty; `plausible_answers` are not read.

    Raises:
        DataError: naming each place that has another shape, such as `data[3].paragraphs[0].qas[2]`.
    """
    reader = _Reader(source)
    reader.read(value)
    raise_if_any(reader.problems)
    return reader.rows


class _ShapeError(DataError):
    """One place of the file has another shape: what lies under it is not read."""


class _Reader:
    """Walks a file from its articles to its questions, and keeps rows and problems."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.rows: list[Row] = []
        self.problems: list[Problem] = []
        self.questions = 0

    def read(self, value: Any) -> None:
        self.each(value, "data", "", self.article)

    def each(self, parent: Any, name: str, path: str, visit: Any, *context: Any) -> None:
        """Visit each item of the list `parent[name]`; a wrong shape is kept as a problem and its item left out."""
        try:
            items = self.field(parent, name, list, path)
        except _ShapeError as error:
            self.problems += error.problems
            return
        for index, item in enumerate(items):
            try:
                visit(item, f"{path}.{name}[{index}]".lstrip("."), *context)
            except _ShapeError as error:
                self.problems += error.problems

    def article(self, article: Any, path: str) -> None:
        title = self.field(article, "title", str, path) if "title" in self.object(article, path) else ""
        self.each(article, "paragraphs", path, self.paragraph, title)

    def paragraph(self, paragraph: Any, path: str, title: str) -> None:
        self.each(paragraph, "qas", path, self.question, title, self.field(paragraph, "context", str, path))

    def question(self, question: Any, path: str, title: str, context: str) -> None:
        self.questions += 1
        columns = {
            "id": str(self.field(question, "id", (str, int), path)),
            "title": title,
            "context": context,
            "question": self.field(question, "question", str, path),
            "answers": self.answers(question, path),
        }
        self.rows.append(Row(columns, self.source, self.questions, "question"))

    def answers(self, question: Any, path: str) -> dict[str, list[Any]]:
        if question.get("is_impossible"):
            if question.get("answers"):
                notices.count("{n} questions marked impossible have answers, which were left out.")
            return {"text": [], "answer_start": []}
        answers = self.field(question, "answers", list, path)
        return {
            name: [self.field(answer, name, kind, f"{path}.answers[{index}]") for index, answer in enumerate(answers)]
            for name, kind in (("text", str), ("answer_start", int))
        }

    def field(self, parent: Any, name: str, kind: Any, path: str) -> Any:
        """Return `parent[name]`, of the type `kind` (the first, if several may be)."""
        value = self.object(parent, path).get(name)
        if isinstance(value, kind) and not isinstance(value, bool):
            return value
        expected = _KINDS[kind[0] if isinstance(kind, tuple) else kind]
        what = f"has no '{name}'" if name not in parent else f"its '{name}' is not {expected}"
        raise self.wrong(path, what)

    def object(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(path, "is not an object")
        return value

    def wrong(self, path: str, what: str) -> _ShapeError:
        return _ShapeError([Problem(f"{self.source}, {path}" if path else self.source, what, _LAYOUT)])
