"""What does the story pack look like: short texts whose sentences have an order that can be told?"""

from __future__ import annotations

from random import Random

from reasoner.synthetic import words
from reasoner.synthetic.packs import Pack, Row, build_pack
from reasoner.synthetic.words import Divided, Pool

DAY = ("At dawn", "In the morning", "At noon", "In the afternoon", "In the evening", "At midnight")
SENTENCES = 4
DEEDS = Divided(
    ("painted", "sold", "cleaned", "repaired", "carried", "hid", "found", "measured", "moved", "described"),
    ("polished", "bought", "dropped", "wrapped", "borrowed", "weighed", "lifted", "inspected"),
)


def story_pack(*, train: int = 400, validation: int = 100, test: int = 100, seed: int = 0) -> Pack:
    """Make texts of four sentences, each of what somebody did at a time of one day, in the order of the day.

    Which of two sentences came first is told by both together: by most times alone it cannot be said. For
    `pretrain`, and for `sentence_pairs`, whose "sentence_order" has to be learned here from the times. Names, deeds,
    things and places of `validation` and `test` are unseen in `train`; times of the day are the same six.

    Args:
        train: number of training texts.
        validation: number of validation texts.
        test: number of test texts.
        seed: the same seed gives the same texts.

    Returns:
        The rows of each split: `text`.

    Raises:
        ConfigError: if a size is negative.
    """
    return build_pack(_row, seed=seed, train=train, validation=validation, test=test)


def _row(random: Random, pool: Pool, index: int) -> Row:
    name = random.choice(words.WOMEN.of(pool) + words.MEN.of(pool))
    times = sorted(random.sample(range(len(DAY)), SENTENCES))
    things, spots = random.sample(words.THINGS.of(pool), SENTENCES), random.sample(words.SPOTS.of(pool), SENTENCES)
    deeds = random.sample(DEEDS.of(pool), SENTENCES)
    sentences = [
        f"{DAY[time]} {name} {deed} the {thing} {spot}."
        for time, deed, thing, spot in zip(times, deeds, things, spots, strict=True)
    ]
    return {"text": " ".join(sentences)}
