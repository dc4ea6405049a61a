"""Is the NER pack well formed, ambiguous where it says so, and its test split unseen in training?"""

from __future__ import annotations

from collections import Counter

from reasoner.synthetic import ner_pack, words
from reasoner.synthetic.entities import SENTENCES

PACK = ner_pack(train=1500, validation=300, test=600)
ROWS = [row for rows in PACK.values() for row in rows]


def entities(row):
    """(type, words) of each entity, by a reading of IOB2 of its own."""
    found = []
    for token, tag in zip(row["tokens"], row["ner_tags"], strict=True):
        if tag.startswith("B-"):
            found.append((tag[2:], [token]))
        elif tag.startswith("I-"):
            found[-1][1].append(token)
    return [(kind, " ".join(tokens)) for kind, tokens in found]


def test_tags_are_iob2_and_one_a_token():
    for row in ROWS:
        assert len(row["tokens"]) == len(row["ner_tags"])
        assert all(isinstance(token, str) and token and not any(map(str.isspace, token)) for token in row["tokens"])
        for before, tag in zip(["O", *row["ner_tags"]], row["ner_tags"], strict=False):
            assert tag == "O" or tag[:2] in ("B-", "I-")
            assert not tag.startswith("I-") or before[1:] == tag[1:]


def test_every_slot_is_filled():
    slots = {"PER", "LOC", "ORG", "DATE", "JOB", "THING", "THINGS", "QUALITY", "FIRST", "SURNAME", "COMPANY", "YEAR"}
    slots |= {"MONTH", "WEEKDAY", "DAY", "INITIAL", "NUMBER"}
    assert not slots & {token for row in ROWS for token in row["tokens"]}


def test_all_types_are_frequent_and_rows_have_none_to_four_entities():
    for rows in PACK.values():
        kinds = Counter(kind for row in rows for kind, _ in entities(row))
        assert set(kinds) == {"PER", "LOC", "ORG", "DATE"}
        assert min(kinds.values()) > 0.1 * kinds.total()
        assert set(Counter(len(entities(row)) for row in rows)) == {0, 1, 2, 3, 4}


def test_types_agree_with_the_word_lists():
    people = {word for names in (words.SURNAMES, words.WOMEN, words.MEN) for word in names.train + names.held_out}
    people |= {word for names in (words.NAMES_LIKE_PLACES, words.NAMES_LIKE_MONTHS) for word in names.train}
    people |= {word for names in (words.NAMES_LIKE_PLACES, words.NAMES_LIKE_MONTHS) for word in names.held_out}
    for row in ROWS:
        for kind, name in entities(row):
            if kind == "PER":
                assert name.split()[-1] in people, name
            if kind == "DATE":
                assert any(token.isdigit() or token in words.MONTHS + words.WEEKDAYS for token in name.split()), name


def test_names_and_sentences_of_the_test_split_are_unseen():
    def names(rows):
        return {entity for row in rows for entity in entities(row) if entity[0] != "DATE"}

    def skeletons(rows):
        """The words outside the entities, without those that fill a slot."""
        filler = {w for part in (words.JOBS, words.THINGS, words.QUALITIES) for w in part.train + part.held_out}
        filler |= {thing + "s" for thing in words.THINGS.train + words.THINGS.held_out} | {*words.NUMBERS, "a", "an"}
        return {
            tuple(
                token
                for token, tag in zip(row["tokens"], row["ner_tags"], strict=True)
                if tag == "O" and token not in filler
            )
            for row in rows
        }

    held_out = PACK["validation"] + PACK["test"]
    assert not names(PACK["train"]) & names(held_out)
    assert not skeletons(PACK["train"]) & skeletons(held_out)
    assert not set(SENTENCES.train) & set(SENTENCES.held_out)


def test_the_same_word_has_several_types_so_that_context_decides():
    for rows in (PACK["train"], PACK["test"]):
        types = {}
        for row in rows:
            for token, tag in zip(row["tokens"], row["ner_tags"], strict=True):
                types.setdefault(token.lower(), set()).add(tag[2:])
        ambiguous = {word for word, kinds in types.items() if len(kinds) > 1}
        assert len(ambiguous) > 20
        assert types["may"] >= {"", "DATE"}
        assert any({"PER", "DATE"} <= kinds for kinds in types.values())
        assert any({"PER", "LOC", "ORG"} <= kinds for kinds in types.values())
        assert any({"", "ORG"} <= kinds for kinds in types.values())


def test_articles_fit_their_words():
    for row in ROWS:
        for article, word in zip(row["tokens"], row["tokens"][1:], strict=False):
            if article.lower() in ("a", "an"):
                assert (article.lower() == "an") == (word[0] in "aeio"), (article, word)
