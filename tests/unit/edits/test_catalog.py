"""Does each edit do what it says, and leave what is gold where it was, or take it along?"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reasoner
from reasoner.data.edited import Edited, Mention
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.edits.catalog import EDITS, Edit, Editable, chosen
from reasoner.edits.rows import edited_rows
from reasoner.registry import resolve

BY_NAME = {edit.name: edit for edit in EDITS}
PACKS = {
    "ner": reasoner.synthetic.ner_pack(train=60, validation=1, test=1),
    "nested_ner": reasoner.synthetic.nested_ner_pack(train=60, validation=1, test=1),
    "nli": reasoner.synthetic.nli_pack(train=60, validation=1, test=1),
    "qa": reasoner.synthetic.qa_pack(train=60, validation=1, test=1),
    "relation": reasoner.synthetic.relation_pack(train=60, validation=1, test=1),
    "multiple_choice": reasoner.synthetic.multiple_choice_pack(train=60, validation=1, test=1),
}
SWAPS = {"names", "places", "entities"}
CASES = {"small letters", "capitals"}


def edited(name: str, text: str, mentions: list[tuple[int, int, str]] = (), others=(), seed: int = 0) -> str:
    row = Editable({"text": text}, {"text": [Mention(*mention) for mention in mentions]}, dict(others))
    made = BY_NAME[name].make(row, Random(seed))
    return Edited.of(text, made.get("text", ())).text


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("small letters", "Ada's ÉCOLE, İ", "ada's école, i\u0307"),
        ("capitals", "Ada ate straße", "ADA ATE STRASSE"),
        ("end mark", "It rains.", "It rains"),
        ("end mark", "Does it rain ? ", "Does it rain "),
        ("end mark", "It rains", "It rains."),
        ("contractions", "They do not know; It is late", "They don't know; It's late"),
        ("contractions", "She didn't. He doesn’t.", "She did not. He does not."),
        ("contractions", "it's been Paul's, we are", "it's been Paul's, we're"),
        ("contractions", "It is not true, they are not here.", "It isn't true, they aren't here."),
        ("contractions", "There is n't one, it is late.", "There is n't one, it's late."),
        ("number format", "five of 12 and 25000 or 1,000", "5 of twelve and 25,000 or 1000"),
        ("number format", "in 1984, 3.5% of $7, 10:30, no-one, 3-4", "in 1984, 3.5% of $7, 10:30, no-one, 3-4"),
        ("names", "nothing here", "nothing here"),
    ],
)
def test_what_an_edit_makes_of_a_text(name, before, after):
    assert edited(name, before) == after


def test_a_name_is_the_same_other_name_in_all_texts_of_a_row():
    row = Editable({"premise": "Anna met Paul.", "hypothesis": "Paul met Anna's cat, not Annabel."}, {}, {})
    made = BY_NAME["names"].make(row, Random(3))
    first, second = (Edited.of(text, made[name]).text for name, text in row.texts.items())
    anna, paul = first.removesuffix(".").split(" met ")
    assert {anna, paul} & {"Anna", "Paul"} == set()
    assert second == f"{paul} met {anna}'s cat, not Annabel."


def test_a_name_that_is_an_entity_stays_and_its_entity_is_swapped_for_one_of_its_type():
    entity = [(0, 5, "PER"), (15, 20, "LOC")]
    assert edited("places", "Paris lives in Paris", entity) == "Paris lives in Paris"
    others = {"PER": ["Paris", "Ada Lovelace"], "LOC": ["Paris", "Rome"]}
    assert edited("entities", "Paris lives in Paris", entity, others.items()) == "Ada Lovelace lives in Rome"
    assert edited("entities", "Paris lives in Paris", entity, {"PER": ["Paris"]}.items()) == "Paris lives in Paris"


@pytest.mark.parametrize("text", ["He works for Acme Inc.", "He works for John R. Arthur , Jr . "])
def test_an_aside_stands_behind_an_entity_that_ends_in_the_last_mark(text):
    made = edited("aside", text, [(len("He works for "), len(text.rstrip()), "X")])
    assert made.startswith(text.rstrip() + " ") and len(made) > len(text) + 5


def test_who_is_called_otherwise_is_so_in_the_choices_too():
    row = {"context": "Maria met Peter.", "question": "Who met Peter?", "choices": ["Maria", "Nobody"], "label": 0}
    example = reasoner.MultipleChoice.Example.from_columns(row, where="row 1")
    (changed,) = edited_rows(reasoner.MultipleChoice(), [example], BY_NAME["names"], seed=0)
    after = changed.example
    name = after.choices[0]
    assert name != "Maria" and after.context.startswith(f"{name} met ") and after.choices[1] == "Nobody"
    assert after.question == f"Who met {after.context.split()[2]}?".replace(".", "")
    for edit in set(BY_NAME) - SWAPS:
        for other in edited_rows(reasoner.MultipleChoice(), [example], BY_NAME[edit], seed=0):
            assert other.example.choices == example.choices


def test_typing_errors_are_few_and_inside_longer_words():
    text = "the quick brown foxes jumped over sleepy dogs while reading seventeen novels about gardens and rivers"
    for seed in range(30):
        changed = [pair for pair in zip(text.split(), edited("typing errors", text, seed=seed).split(), strict=True)
                   if pair[0] != pair[1]]  # fmt: skip
        assert len(changed) == 1
        assert all(len(was) >= 4 and was[0] == now[0] and was[-1] == now[-1] for was, now in changed)


@pytest.mark.parametrize("task", PACKS)
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_gold_is_moved_along(edit, task):
    cls = resolve("task", task)
    examples = examples_from_rows(read_splits(PACKS[task]), cls.Example)
    made = cls.from_examples(examples)
    rows = edited_rows(made, examples["train"], edit, seed=1)
    assert rows == edited_rows(made, examples["train"], edit, seed=1)
    assert not made.problems([row.example for row in rows])
    for row in rows:
        before, after = examples["train"][row.number], row.example
        assert made.gold_names(before) == made.gold_names(after)
        surfaces = [
            {
                name: [example.texts[name][start:end] for start, end, _ in of]
                for name, of in made.mentions(example).items()
            }
            for example in (before, after)
        ]
        if edit.name in CASES:
            surfaces = [{name: [text.casefold() for text in of] for name, of in each.items()} for each in surfaces]
        if edit.name in SWAPS:
            surfaces = [{name: len(of) for name, of in each.items()} for each in surfaces]
        if edit.name == "spacing":  # an entity's words may be further apart
            surfaces = [{name: [text.split() for text in of] for name, of in each.items()} for each in surfaces]
        assert surfaces[0] == surfaces[1]


def test_every_edit_applies_to_some_row_of_some_task():
    applied = set()
    for task, pack in PACKS.items():
        cls = resolve("task", task)
        examples = examples_from_rows(read_splits(pack), cls.Example)
        made = cls.from_examples(examples)
        applied |= {edit.name for edit in EDITS if edited_rows(made, examples["train"], edit, seed=0)}
    assert applied == set(BY_NAME)


@given(st.text(max_size=60), st.integers(0, 5))
def test_any_text_can_be_edited(text, seed):
    for name in BY_NAME:
        edited(name, text, seed=seed)


def test_edits_are_chosen_by_name_or_given():
    own = Edit("shout", "an exclamation mark", lambda row, random: {})
    assert [edit.name for edit in chosen(["names", own])] == ["names", "shout"]
    assert chosen(None) == EDITS
    with pytest.raises(reasoner.ConfigError, match=r"there is no 'nmes'\. Did you mean 'names'"):
        chosen(["nmes"])
    with pytest.raises(reasoner.ConfigError, match="each name once"):
        chosen(["names", "names"])
