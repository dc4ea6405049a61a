"""Is the validation split that is cut off fair: seeded, stratified, and never across duplicates?"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoner.data.splits import cut_validation
from reasoner.errors import ConfigError, DataError

rows = st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), max_size=80)


@given(rows, st.floats(0.01, 0.99), st.integers(0, 9))
def test_nothing_is_lost_or_parted(drawn: list[tuple[int, str]], share: float, seed: int) -> None:
    groups, strata = [group for group, _ in drawn], [stratum for _, stratum in drawn]
    try:
        train, validation = cut_validation(groups, strata, share=share, seed=seed)
    except DataError:
        members = Counter(strata)
        for group in set(groups):  # no group could have been spared
            inside = Counter(stratum for other, stratum in drawn if other == group)
            assert any(inside[stratum] == members[stratum] for stratum in inside)
        return
    assert sorted(train + validation) == list(range(len(drawn)))
    assert train == sorted(train)
    assert validation == sorted(validation)
    assert train
    assert validation
    assert not {groups[index] for index in train} & {groups[index] for index in validation}
    assert {strata[index] for index in train} == set(strata), "every stratum is seen in training"
    assert (train, validation) == cut_validation(groups, strata, share=share, seed=seed)


@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=200), st.floats(0.05, 0.5), st.integers(0, 9))
def test_shares_are_exact_without_duplicates(strata: list[str], share: float, seed: int) -> None:
    members = Counter(strata)
    if max(members.values()) == 1:
        return
    _, validation = cut_validation(range(len(strata)), strata, share=share, seed=seed)
    found = Counter(strata[index] for index in validation)
    several = {stratum: number for stratum, number in members.items() if number > 1}
    assert all(found[stratum] == 0 for stratum in members if stratum not in several)
    assert all(abs(found[stratum] - share * number) < 1 for stratum, number in several.items())
    assert abs(len(validation) - max(1, share * sum(several.values()))) <= 0.5 + 1e-9


def test_many_small_strata_still_give_a_tenth() -> None:
    strata = [index // 3 for index in range(300)]
    assert len(cut_validation(range(300), strata, seed=0)[1]) == 30


def test_seeds_differ() -> None:
    assert cut_validation(range(100), [0] * 100, seed=0) != cut_validation(range(100), [0] * 100, seed=1)


def test_large_groups_come_near_the_share() -> None:
    groups = [index // 20 for index in range(1000)]
    _, validation = cut_validation(groups, [0] * 1000, seed=3)
    assert len(validation) == 100
    assert cut_validation([0] * 9 + [1] * 8, [0] * 17, seed=0) == (list(range(9)), list(range(9, 17)))


def test_groups_of_any_hashable_kind() -> None:
    groups = [("a", 1), ("a", 1), None, "x", 2.5, frozenset({1})]
    train, validation = cut_validation(groups, [0] * 6, share=0.3, seed=1)
    assert (0 in train) == (1 in train)
    assert validation


@pytest.mark.parametrize(
    ("groups", "strata"), [([], []), ([1], [0]), ([1, 1, 1], [0, 0, 0]), ([1, 2, 3], ["a", "b", "c"])]
)
def test_when_no_row_can_be_spared(groups: list[int], strata: list[object]) -> None:
    with pytest.raises(DataError) as caught:
        cut_validation(groups, strata, seed=0)
    assert str(caught.value) == (
        f"train: no validation split can be cut off its {len(groups)} rows: none can be spared. "
        "Give a validation split, or more rows that are not duplicates."
    )


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_shares_that_cannot_be_used(share: float) -> None:
    with pytest.raises(ConfigError, match=f"^share={share} cannot be used. It must lie between 0 and 1.$"):
        cut_validation([1, 2], [0, 0], share=share, seed=0)
