"""Are the numbers of word overlap what one counts by hand?"""

from __future__ import annotations

import pytest

from reasoner.data.overlap import overlap


@pytest.mark.parametrize(
    ("first", "second", "numbers"),
    [
        ("The lawyer saw the actor.", "The actor saw the lawyer.", [1.0, 1, 0, 0, 0, 0]),
        ("The judge by the actor ran.", "The judge ran", [1.0, 1, 1, 0, 0, 0]),
        ("The judge by the actor ran.", "the actor RAN!", [1.0, 1, 1, 1, 0, 0]),
        ("A man is eating.", "A man is not eating.", [4 / 5, 0, 0, 0, 1, 1]),
        ("A man isn't eating.", "A man isn't eating.", [1.0, 1, 1, 1, 0, 0]),
        ("A man is eating.", "Nobody sleeps.", [0.0, 0, 0, 0, 1, 0]),
        ("", "", [0.0, 1, 1, 1, 0, 0]),
    ],
)
def test_overlap(first, second, numbers):
    assert overlap(first, second) == pytest.approx(numbers)
