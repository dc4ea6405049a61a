"""Do all packs keep their promises: exact sizes, the same rows for the same seed, none twice, words held out?"""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random

import pytest

from reasoner.errors import ConfigError
from reasoner.synthetic import (
    generation_pack,
    multiple_choice_pack,
    ner_pack,
    nested_ner_pack,
    nli_pack,
    qa_pack,
    relation_pack,
    story_pack,
    words,
)
from reasoner.synthetic.packs import build_pack

PACKS = [ner_pack, nested_ner_pack, nli_pack, qa_pack, multiple_choice_pack, generation_pack, relation_pack, story_pack]
SIZES = {"train": 300, "validation": 60, "test": 61}


def keys(rows):
    return [json.dumps({name: value for name, value in row.items() if name != "id"}, sort_keys=True) for row in rows]


@pytest.mark.parametrize("pack", PACKS)
def test_sizes_are_exact_and_the_defaults_are_the_documented_ones(pack):
    assert {split: len(rows) for split, rows in pack(**SIZES).items()} == SIZES
    assert [len(rows) for rows in pack().values()] == [400, 100, 100]
    assert pack(train=0, validation=0, test=0) == {"train": [], "validation": [], "test": []}


@pytest.mark.parametrize("pack", PACKS)
def test_same_seed_same_rows_and_other_seed_other_rows(pack):
    assert pack(**SIZES, seed=3) == pack(**SIZES, seed=3)
    first, second = pack(**SIZES, seed=3), pack(**SIZES, seed=4)
    for split in SIZES:
        assert len(set(keys(first[split])) & set(keys(second[split]))) < 0.2 * SIZES[split]


def test_rows_do_not_depend_on_the_process_or_its_hash_seed():
    packs = "[n for n in s.__all__ if n.endswith('_pack') and n != 'reasoning_gym_pack']"  # that one needs a name
    size = "{'contrast_pack': {'sets': 9}, 'heuristics_pack': {'per_case': 3}}.get(n, {'train': 20})"
    made = f"[getattr(s, n)(**{size}) for n in {packs}]"
    program = f"import reasoner.synthetic as s, json; print(json.dumps({made}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("pack", PACKS)
def test_the_size_of_train_changes_nothing_in_test(pack):
    assert pack(train=10)["test"] == pack(train=200)["test"]


@pytest.mark.parametrize("pack", PACKS)
def test_five_thousand_rows_without_a_repeat_in_or_across_splits(pack):
    rows = pack(train=5000, validation=500, test=5000)
    every = [key for split in rows.values() for key in keys(split)]
    assert len(every) == len(set(every)) == 10_500


def test_a_size_out_of_reach_is_an_error_that_names_the_largest():
    def draw(random: Random, pool: str, index: int) -> dict[str, str]:
        return {"text": f"{pool} {random.randrange(7)}"}

    assert len(build_pack(draw, seed=0, train=7)["train"]) == 7
    with pytest.raises(ConfigError, match=r"train=8 cannot be reached .* possible with this seed is 7\."):
        build_pack(draw, seed=0, train=8)


@pytest.mark.parametrize("size", [-1, 2.5, True, "10"])
def test_a_size_that_is_no_number_of_rows_is_an_error(size):
    with pytest.raises(ConfigError, match="is not a number of rows"):
        ner_pack(test=size)


def test_no_word_list_has_a_word_in_both_parts():
    divided = {name: value for name, value in vars(words).items() if isinstance(value, words.Divided)}
    assert len(divided) > 20
    for name, parts in divided.items():
        if name not in ("ORGANISATION_FORMS", "PLACE_FORMS"):  # a bare company or place is a form in both
            assert not set(parts.train) & set(parts.held_out), name
            assert len(set(parts.train)) == len(parts.train), name
            assert len(set(parts.held_out)) == len(parts.held_out), name


def test_a_name_is_held_out_from_every_list_of_names():
    lists = [words.WOMEN, words.MEN, words.NAMES_LIKE_PLACES, words.NAMES_LIKE_MONTHS, words.SURNAMES, words.PLACES]
    lists.append(words.COMPANIES)
    train = {word for divided in lists for word in divided.train}
    assert not train & {word for divided in lists for word in divided.held_out}
