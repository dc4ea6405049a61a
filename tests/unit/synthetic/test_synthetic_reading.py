"""Are the QA answers true? The facts are read back from the text, and the question is answered from them."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from reasoner.synthetic import qa_pack
from reasoner.synthetic.reading import RELATIONS

PACK = qa_pack(train=600, validation=100, test=400)
ROWS = [row for rows in PACK.values() for row in rows]


@cache
def patterns(fields):
    """(relation, compiled template) for the templates in these fields of all relations."""
    compiled = []
    for number, relation in enumerate(RELATIONS):
        values = "|".join(map(re.escape, relation.values.train + relation.values.held_out))
        for field in fields:
            for template in getattr(relation, field).train + getattr(relation, field).held_out:
                pattern = re.escape(template).replace(r"\{person\}", r"(?P<person>\w+ \w+)")
                pattern = pattern.replace(r"\{value\}", f"(?P<value>{values})")
                pattern = pattern.replace(r"\{a_value\}", f"an? (?P<value>{values})")
                compiled.append((number, re.compile(pattern, re.IGNORECASE)))
    return compiled


def readings(fields, text, people):
    """The set of (relation, person or None, value or None) that a sentence or a question can be read as."""
    found = ((number, pattern.fullmatch(text)) for number, pattern in patterns(fields))
    groups = [(number, match.groupdict()) for number, match in found if match]
    return {(n, g.get("person"), g.get("value")) for n, g in groups if g.get("person") in (None, *people)}


def told(context, people):
    facts = []
    for sentence in context.removesuffix(".").split(". "):
        (fact,) = readings(("told",), sentence, people)
        facts.append((fact, sentence))
    return facts


def asked(question, people):
    (way,) = readings(("asked", "asked_back"), question, people)
    return way


@pytest.mark.parametrize("split", PACK)
def test_the_answer_follows_from_the_text_and_from_nothing_else(split):
    for row in PACK[split]:
        people = row["title"].split(" and ")
        facts = told(row["context"], people)
        relation, person, value = asked(row["question"], people)
        found = [
            (fact[1] if person is None else fact[2], sentence)
            for fact, sentence in facts
            if fact[0] == relation and (fact[1] == person if value is None else fact[2].lower() == value.lower())
        ]
        assert [text.lower() for text, _ in found] == [text.lower() for text in row["answers"]["text"]], row
        for (_, sentence), start in zip(found, row["answers"]["answer_start"], strict=True):
            assert 0 <= start - row["context"].index(sentence) < len(sentence)  # in the sentence that tells it


def test_answers_stand_where_they_say_as_whole_words():
    for row in ROWS:
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        assert len(texts) == len(starts) <= 1
        for text, start in zip(texts, starts, strict=True):
            end = start + len(text)
            assert text and row["context"][start:end] == text
            assert not row["context"][start - 1 : start].isalnum() and not row["context"][end].isalnum()


def test_every_text_has_a_distractor_and_every_question_looks_answerable():
    for row in ROWS:
        people = row["title"].split(" and ")
        facts = [fact for fact, _ in told(row["context"], people)]
        relation, person, value = asked(row["question"], people)
        assert (person or value).lower() in row["context"].lower()
        assert Counter(fact[0] for fact in facts)[relation] == 2
        assert Counter(fact[0] for fact in facts)[relation ^ 1] == 1
        assert 4 <= len(facts) <= 8
        assert {fact[1] for fact in facts} == set(people)


def test_three_of_ten_questions_have_no_answer():
    for rows in PACK.values():
        assert sum(not row["answers"]["text"] for row in rows) == round(0.3 * len(rows))


def test_questions_ask_for_values_and_for_people():
    for rows in PACK.values():
        backwards = sum(bool(re.match(r"Who (?!employs)|Whose", row["question"])) for row in rows)
        assert 0.15 < backwards / len(rows) < 0.45


def test_ids_are_unique():
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_names_values_and_templates_of_the_test_split_are_unseen():
    def seen(rows):
        return {row["title"] for row in rows}, {text for row in rows for text in row["answers"]["text"]}

    for train, held_out in zip(seen(PACK["train"]), seen(PACK["validation"] + PACK["test"]), strict=True):
        assert not train & held_out
    for relation in RELATIONS:
        for divided in (relation.values, relation.told, relation.asked, relation.asked_back):
            assert not set(divided.train) & set(divided.held_out)
