"""How is a row put before a language model: the text that asks, what may follow it, and solved examples before it?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from string import Formatter
from typing import Any, NamedTuple, Self

from reasoner.data.features import Feature
from reasoner.data.windows import Window, whole_texts
from reasoner.errors import ConfigError, DataError, suggestion
from reasoner.losses import IGNORED
from reasoner.notices import count

BETWEEN_SHOTS = "\n\n"
"""Stands between solved examples, and before what is asked."""
NEAREST = "nearest"
LIKELIHOOD, ENTAILMENT, SIMILARITY, CLOZE = WAYS = ("likelihood", "entailment", "similarity", "cloze")
"""The heads that choose among labels or choices by what these say."""
MASK = "mask"
"""The field of a template where the answer stands, for cloze."""


class Asked(NamedTuple):
    """A row as it is asked: the texts that a template may name, what may be answered, and which of that is right."""

    texts: Mapping[str, str]
    choices: Sequence[str]
    right: int | None
    where: str


class Shot(NamedTuple):
    """A solved example."""

    text: str
    """As it stands in the prompt, its answer at the end."""
    key: str
    """What it is found by where the nearest are taken: its text without the template."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    r"""A template, the words for the labels, and solved examples.

    A template is text with fields in braces, such as `"Question: {question}\nAnswer:"`. A line whose field a row lacks
    is left out. What a line puts before its first field is left out where the row's text begins with it already.

    By likelihood the answer follows the template. By cloze it stands at `{mask}`: `"{text} This is about {mask}."`. By
    entailment and similarity the template is what is said of the row, with the answer as its field: `"This text is
    about {label}."`.
    """

    template: str
    words: Mapping[str, str] = field(default_factory=dict)
    """What stands for each label; empty: the choices are texts of the row."""
    domain: str = ""
    """What stands before an answer where nothing is asked, for the prior."""
    shots: Sequence[Shot] = ()
    """Solved examples; all of them stand before what is asked, or with `order="nearest"` the nearest `number`."""
    order: str = ""
    number: int = 0
    domain_tokens: Sequence[int] = ()
    """The tokens of `domain`. Learned from the tokenizer."""
    entailing: int = 0
    """Which output of an NLI model says that a text entails another. Learned from the model."""

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        *,
        way: str,
        template: str,
        words: Mapping[str, str],
        names: Sequence[str],
        answer: str,
    ) -> Self:
        """Make it of a task's setting and what holds where that says nothing.

        Args:
            given: the setting; its keys are the fields of this class.
            way: one of `WAYS`.
            template: of the task.
            words: of the task.
            names: the fields of a row that a template may have.
            answer: the field that the answer is.

        Raises:
            ConfigError: if a key or a field of the template is unknown, or a label has no word or that of another.
        """
        known = [item.name for item in fields(cls)]
        if unknown := [key for key in given if key not in known]:
            raise ConfigError(f"prompt has the key '{unknown[0]}'. {suggestion(unknown[0], known)}")
        values = {key: value for key, value in given.items() if value is not None}
        template = values.pop("template", template)
        words = {**words, **values.pop("words", {})}
        _check_template(template, way, names, answer)
        _check_words(words)
        if way != LIKELIHOOD and (extra := [key for key in ("domain", "shots") if values.get(key)]):
            raise ConfigError(f"prompt: {extra[0]} is for '{LIKELIHOOD}', and here the way is '{way}'. Leave it out.")
        last = template.rsplit("\n", 1)[-1]
        values.setdefault("domain", "" if _fields_of(last) else last)
        shots = tuple(Shot(*shot) for shot in values.pop("shots", ()))
        return cls(template=template, words=words, shots=shots, **values)

    def render(self, texts: Mapping[str, str]) -> str:
        """Return the text that asks, without solved examples."""
        return "\n".join(line for line in _lines(self.template, texts) if line is not None)

    def around(self, texts: Mapping[str, str]) -> tuple[str, str]:
        """Return what stands before the answer and after it, for cloze."""
        before, after = self.template.split(f"{{{MASK}}}")
        *earlier, left = _lines(before, texts)
        right, *later = _lines(after, texts)
        found = [*(line for line in earlier if line is not None), left or ""]
        return "\n".join(found), "\n".join([right or "", *(line for line in later if line is not None)])

    def said(self, choice: str) -> str:
        """Return what is said of a row with this answer, for entailment and similarity."""
        return self.template.format_map(dict.fromkeys(_fields_of(self.template), choice.strip()))

    def solved(self, asked: Asked) -> Shot:
        """Return a row with gold as a solved example."""
        assert asked.right is not None
        text = self.render(asked.texts)
        return Shot(text + gap(text) + asked.choices[asked.right].strip(), plain_text(asked.texts))


def plain_text(texts: Mapping[str, str]) -> str:
    """Return the texts of a row without a template, one a line."""
    return "\n".join(text for text in texts.values() if text)


def _lines(template: str, texts: Mapping[str, str]) -> list[str | None]:
    """Return the lines of a template with the texts in them; None for one with a field that the row lacks."""
    lines: list[str | None] = []
    for line in template.split("\n"):
        named = _fields_of(line)
        if not all(texts.get(name) for name in named):
            lines.append(None)
            continue
        if named:
            before = line[: line.index("{")]
            begun = before.strip() and texts[named[0]].startswith(before.strip())
            line = line[len(before) :] if begun else line
        lines.append(line.format_map({name: text.strip() for name, text in texts.items()}))
    return lines


def gap(prompt: str) -> str:
    """Return what stands between a prompt and its answer: a space, if the prompt does not end with white space."""
    return " " if prompt and not prompt[-1].isspace() else ""


def _fields_of(text: str) -> list[str]:
    try:
        return [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ConfigError(f"template {text!r:.60}: {error}. Write a brace of the text itself twice.") from None


def _check_template(template: str, way: str, names: Sequence[str], answer: str) -> None:
    needed = {ENTAILMENT: [answer], SIMILARITY: [answer]}.get(way, list(names))
    allowed, used = [*needed, MASK] if way == CLOZE else needed, _fields_of(template)
    if unknown := [name for name in used if name not in allowed]:
        raise ConfigError(f"The template has the field {{{unknown[0]}}}. {suggestion(unknown[0], allowed)}")
    if not set(used) & set(needed):
        what = "say the same with every answer" if needed == [answer] else "ask the same of every row"
        raise ConfigError(f"The template has no field, and would {what}. Fields: {', '.join(allowed)}.")
    if way == CLOZE and (used.count(MASK) != 1 or template.count(f"{{{MASK}}}") != 1):
        raise ConfigError(f"The template needs {{{MASK}}} once, where the answer is to stand. It is {template!r:.60}.")


def _check_words(words: Mapping[str, str]) -> None:
    by_word: dict[str, str] = {}
    for label, word in words.items():
        if not isinstance(word, str) or not word.strip():
            raise ConfigError(f"words: label '{label}' has the word {word!r}. Give it a text.")
        if word.strip() in by_word:
            raise ConfigError(f"words: '{label}' and '{by_word[word.strip()]}' are both {word!r}, and no likelihood "
                              "tells them apart. Give each a word of its own.")  # fmt: skip
        by_word[word.strip()] = label


def plain_word(label: str) -> str:
    """Return a label's name as words: underscores and hyphens become spaces."""
    return re.sub(r"[_-]+", " ", label).strip() or label


# --- tokens ----------------------------------------------------------------------------------------------------------


def begin_tokens(tokenizer: Any) -> list[int]:
    """Return what stands before a text: the begin token if the tokenizer puts it there, else nothing."""
    empty = tokenizer("")["input_ids"]
    return [tokenizer.bos_token_id] if tokenizer.bos_token_id in empty[:1] else []


def tokens_before(domain: str, tokenizer: Any) -> list[int]:
    """Return the tokens that stand before an answer where nothing is asked, at least one."""
    (window,) = whole_texts(tokenizer, [domain])
    ids = [*begin_tokens(tokenizer), *window.inputs["input_ids"]]
    return ids or [_stand_in(tokenizer)]


def choice_features(prompt: Prompt, rows: Sequence[Asked], tokenizer: Any, *, max_length: int) -> list[list[Feature]]:
    """Return for each row a feature a choice: the prompt, and the choice after it.

    Prompt and choice are tokenised as one text. A token that holds the prompt's end and the choice's beginning is
    scored with the choice. Where a row is too long, whole solved examples are left out, the first ones first; then the
    prompt's beginning is cut. Both are counted.

    Token target: `sizes`, how many bytes of the choice a token adds, -100 in the prompt. Target: `labels`, 1 for the
    right choice, else 0.

    Raises:
        DataError: if a choice is empty.
    """
    prompts = _with_shots(prompt, rows, tokenizer, max_length)
    texts, boundaries = [], []
    for row, asking in zip(rows, prompts, strict=True):
        for number, choice in enumerate(row.choices, start=1):
            if not choice.strip():
                raise DataError(f"{row.where or 'An input'}: choice {number} is empty and has no likelihood. "
                                "Give it a text.")  # fmt: skip
            texts.append(asking + gap(asking) + choice.strip())
            boundaries.append((len(asking), len(asking + gap(asking))))
    remaining = iter(zip(whole_texts(tokenizer, texts), texts, boundaries, strict=True))
    begin = begin_tokens(tokenizer)
    features = []
    for row in rows:
        group = [_sized(*next(remaining), begin or [_stand_in(tokenizer)], bool(begin)) for _ in row.choices]
        features.append(_fitted(row, group, max_length, len(begin)))
    return features


def _stand_in(tokenizer: Any) -> int:
    """Return the token that stands before a text that would have none before its first one."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
    return int(next(number for number in known if number is not None))


def _sized(
    window: Window, text: str, boundary: tuple[int, int], begin: list[int], always: bool
) -> tuple[list[int], list[int]]:
    """Return the tokens of a text and their sizes.

    Args:
        window: the tokens.
        text: prompt and choice.
        boundary: where the prompt ends, and where the choice begins.
        begin: goes before the text if `always`, else if the first token is scored already.
        always: see there.
    """
    ids, sizes, done = list(window.inputs["input_ids"]), [], boundary[1]
    for _, end in window.offsets:
        sizes.append(IGNORED if end <= boundary[0] else len(text[done : max(done, end)].encode()))
        done = max(done, end)
    if sizes and sizes[-1] != IGNORED:
        sizes[-1] += len(text[done:].encode())
    if always or (sizes and sizes[0] != IGNORED):
        ids, sizes = [*begin, *ids], [IGNORED] * len(begin) + sizes
    return ids, sizes


def _fitted(row: Asked, group: list[tuple[list[int], list[int]]], max_length: int, kept: int) -> list[Feature]:
    """Return the features of a row's choices, each with as much of the prompt's end as fits beside the longest one."""
    scored = [sum(size != IGNORED for size in sizes) for _, sizes in group]
    if 0 in scored:
        raise DataError(f"{row.where or 'An input'}: the tokenizer has no token for choice {scored.index(0) + 1}, "
                        f"{row.choices[scored.index(0)]!r:.40}. Give it another text.")  # fmt: skip
    if any(number > max_length - 1 for number in scored):
        count(f"{{n}} rows have a choice of more than {max_length - 1} tokens; its end was cut.")
    room = max(1, max_length - max(scored))
    features, cut = [], False
    for number, (ids, sizes) in enumerate(group):
        first = len(ids) - scored[number]
        head = ids[:first]
        if len(head) > room:
            head, cut = [*head[:kept], *head[len(head) - room + kept :]] if room > kept else head[-room:], True
        tail = ids[first : first + max_length - len(head)]
        targets = {} if row.right is None else {"labels": float(number == row.right)}
        inputs = {"input_ids": head + tail, "attention_mask": [1] * (len(head) + len(tail))}
        marks = [IGNORED] * len(head) + sizes[first : first + len(tail)]
        features.append(Feature(inputs, targets, {"sizes": marks}))
    if cut:
        count(f"{{n}} prompts are too long for max_length={max_length} tokens; their beginning was cut.")
    return features


# --- solved examples -------------------------------------------------------------------------------------------------


def _with_shots(prompt: Prompt, rows: Sequence[Asked], tokenizer: Any, max_length: int) -> list[str]:
    """Return for each row its prompt after as many solved examples as fit."""
    asking = [prompt.render(row.texts) for row in rows]
    if not prompt.shots:
        return asking
    lengths = _lengths(tokenizer, [shot.text + BETWEEN_SHOTS for shot in prompt.shots])
    longest = [max(row.choices, key=len) for row in rows]
    own = _lengths(tokenizer, [text + " " + choice for text, choice in zip(asking, longest, strict=True)])
    found = []
    for text, length, chosen in zip(asking, own, _chosen(prompt, rows), strict=True):
        room, kept = max_length - length - len(begin_tokens(tokenizer)), []
        for place in reversed(chosen):
            if lengths[place] > room:
                break
            room -= lengths[place]
            kept.append(prompt.shots[place].text)
        if len(kept) < len(chosen):
            count(f"{{n}} solved examples were left out where the prompt would not fit into max_length={max_length} "
                  "tokens.", len(chosen) - len(kept))  # fmt: skip
        found.append(BETWEEN_SHOTS.join([*reversed(kept), text]))
    return found


def _chosen(prompt: Prompt, rows: Sequence[Asked]) -> list[list[int]]:
    """Return the places of each row's solved examples, the nearest last (Liu et al., 2022: "KATE")."""
    if prompt.order != NEAREST:
        return [list(range(len(prompt.shots)))] * len(rows)
    from sklearn.feature_extraction.text import TfidfVectorizer

    keys = [shot.key for shot in prompt.shots]
    weigh = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
    try:
        known = weigh.fit_transform(keys)
    except ValueError:  # no word in any of them
        return [list(range(len(keys)))[-prompt.number :]] * len(rows)
    near = (weigh.transform([plain_text(row.texts) for row in rows]) @ known.T).toarray()  # (rows, shots)
    found = []
    for scores, row in zip(near, rows, strict=True):
        order = [place for place in scores.argsort(kind="stable").tolist() if keys[place] != plain_text(row.texts)]
        found.append(order[-prompt.number :])
    return found


def _lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    return [len(window.inputs["input_ids"]) for window in whole_texts(tokenizer, texts)]


def tokens_of_shots(given: Mapping[str, Any], tokenizer: Any) -> int:
    """Return how many tokens the solved examples of a task's `prompt` setting have."""
    return sum(_lengths(tokenizer, [text + BETWEEN_SHOTS for text, _ in given.get("shots", ())]))


def with_shots(given: Mapping[str, Any], shots: Sequence[Shot], *, order: str, number: int) -> dict[str, Any]:
    """Return a task's `prompt` setting with solved examples in it, as JSON values."""
    return {**given, "shots": [list(shot) for shot in shots], "order": order, "number": number}
