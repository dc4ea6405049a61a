"""What does the generation pack look like: small orders about words, each with one right answer?"""

from __future__ import annotations

from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool, lines

ORDERS = {
    "reverse": lines(
        """Write these words in reverse order: {given}
        Say these words from the last to the first: {given}""",
        """Turn the order of these words round: {given}
        Put the last of these words first, and the first last: {given}""",
    ),
    "sort": lines(
        """Put these words in alphabetical order: {given}
        Sort these words from A to Z: {given}""",
        """Arrange these words by the alphabet: {given}
        Write these words in the order of a dictionary: {given}""",
    ),
    "add": lines(
        """How much is {one} plus {other}?
        Add {one} and {other}.""",
        """What do {one} and {other} make together?
        What is the sum of {one} and {other}?""",
    ),
}
_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    "ten",
    "eleven",
    "twelve",
    *(f"{root}teen" for root in ("thir", "four", "fif", "six", "seven", "eigh", "nine")),
)
_TENS = [f"{root}ty" for root in ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")]
NUMBERS = (*_SMALL, *_TEENS, *(f"{ten}-{one}".removesuffix("-zero") for ten in _TENS for one in _SMALL))
"""From zero to ninety-nine."""
LARGEST = 49
"""Of the numbers to add."""
NOUNS = Divided(words.THINGS.train + words.INSTRUMENTS.train + words.ANIMALS.train,
                words.THINGS.held_out + words.INSTRUMENTS.held_out + words.ANIMALS.held_out)  # fmt: skip


def generation_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make a generation pack: words to reverse, words to sort, and two numbers to add, in turn.

    There are 2-4 words, or numbers from zero to forty-nine in words. Words and orders of `validation` and `test` are
    unseen in `train`; the pairs of numbers are not.

    Args:
        train: number of training rows.
        validation: number of validation rows.
        test: number of test rows.
        seed: the same seed gives the same rows.

    Returns:
        The rows of each split: `prompt`, which ends with a new line, and `completion`.

    Raises:
        ConfigError: if a size is negative, or more than there are different rows.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def _row(random: Random, pool: Pool, index: int) -> Row:
    kind = tuple(ORDERS)[index % len(ORDERS)]
    order = random.choice(ORDERS[kind].of(pool))
    if kind == "add":
        one, other = random.randint(0, LARGEST), random.randint(0, LARGEST)
        order, answer = order.format(one=NUMBERS[one], other=NUMBERS[other]), NUMBERS[one + other]
    else:
        given = random.sample(NOUNS.of(pool), random.randint(2, 4))
        answer = " ".join(given[::-1] if kind == "reverse" else sorted(given))
        order = order.format(given=" ".join(given))
    return {"prompt": f"{order}\n", "completion": answer}
