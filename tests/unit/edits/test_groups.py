"""Does a text tell of somebody else after the swap, and of nobody else where it told of nobody?"""

from __future__ import annotations

import pytest

from reasoner.data.edited import Edited
from reasoner.edits.groups import GROUPS, WordGroup
from reasoner.errors import ConfigError

GENDER, NATIONALITY = GROUPS


def told(group: WordGroup, text: str, value: str) -> str:
    return Edited.of(text, group.replacements(text, value)).text


@pytest.mark.parametrize(
    ("text", "value", "now"),
    [
        ("She gave her book to her.", "male", "He gave his book to him."),
        ("I saw her in the street with her dog.", "male", "I saw him in the street with his dog."),
        ("He washed himself; MRS Smith saw HIM.", "female", "She washed herself; MRS Smith saw HER."),
        ("Anna and her daughters", "male", "Ben and his sons"),
        ("Ben and his sons", "male", "Ben and his sons"),
        ("The history of mankind", "female", "The history of mankind"),
        ("Mr King", "female", "Mrs Queen"),
    ],
)
def test_gender(text, value, now):
    assert told(GENDER, text, value) == now


def test_nationality():
    assert told(NATIONALITY, "German cars are made in Germany by GERMANS.", "Polish") == (
        "Polish cars are made in Poland by POLES."
    )
    assert NATIONALITY.tells("the french king")
    assert not NATIONALITY.tells("frenchwoman")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_all_values_of_a_text_are_the_same_whatever_value_it_had(group):
    """So that no version is nearer to what the model was trained on than the others are."""
    for value, words in group.words.items():
        for word in words:
            for other in group.words:
                assert told(group, told(group, f"the {word} there", other), value) in {
                    f"the {again} there" for again in words
                }


@pytest.mark.parametrize(
    "words", [{"one": ["a"]}, {"one": ["a"], "two": ["b", "c"]}, {"one": [], "two": []}, {"one": [""], "two": ["b"]}]
)
def test_columns_that_do_not_fit_are_refused(words):
    with pytest.raises(ConfigError, match="WordGroup 'own'"):
        WordGroup("own", words)
