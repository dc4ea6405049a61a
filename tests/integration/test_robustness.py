"""Are flips and scores of the robustness card those that one gets by hand?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from task_cases import CASES

import reasoner
from reasoner.data.edited import Replacement
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.edits.catalog import Edit
from reasoner.edits.rows import augmented

QUICK = {"max_steps": 6, "per_device_train_batch_size": 4, "use_cpu": True, "learning_rate": 3e-3, "check": False}


def upper(row, random):
    return {name: [Replacement(0, len(text), text.upper())] for name, text in row.texts.items()}


def nothing(row, random):
    return {}


def backwards(row, random):
    return {name: [Replacement(0, len(text), " ".join(text.split()[::-1]))] for name, text in row.texts.items()}


def vowels_in(word):
    return word.replace("e", "o")


def vowels(row, random):
    return {name: [Replacement(n, n + 1, "o") for n, letter in enumerate(text) if letter == "e"]
            for name, text in row.texts.items()}  # fmt: skip


@pytest.fixture(scope="module")
def trained(lively_bert: Path) -> reasoner.Result:
    pack = reasoner.synthetic.nli_pack(train=40, validation=20, test=60)
    return reasoner.fine_tune(lively_bert, pack, task="nli", evaluate_before=False, **QUICK)


ROWS = reasoner.synthetic.nli_pack(train=1, validation=1, test=60)["test"]


def test_flips_and_scores_are_those_of_predictions_by_hand(trained: reasoner.Result) -> None:
    card = reasoner.robustness(trained, ROWS, edits=[Edit("backwards", "words turned round", backwards)])
    turned = [
        {**row, **{side: " ".join(row[side].split()[::-1]) for side in ("premise", "hypothesis")}} for row in ROWS
    ]
    was, now = (
        [p["label"] for p in trained.predict([(r["premise"], r["hypothesis"]) for r in rows])]
        for rows in (ROWS, turned)
    )
    outcome = card["backwards"]
    assert outcome.rows == len(ROWS)
    assert outcome.flips == sum(a != b for a, b in zip(was, now, strict=True)) > 0
    assert (outcome.said_before, outcome.said_after) == (60, 60) and outcome.said_both == 60 - outcome.flips
    assert "kept" not in str(card)
    assert card.score == outcome.before == pytest.approx(trained.evaluate(ROWS)["accuracy"])
    assert outcome.after == pytest.approx(trained.evaluate(turned)["accuracy"])
    assert outcome.difference_lower <= outcome.after - outcome.before <= outcome.difference_upper
    assert outcome.lower < outcome.flip_rate < outcome.upper
    shown = outcome.examples[0]
    assert shown.said_before != shown.said_after and "the data, row" in str(card)
    assert shown.after["premise"] == " ".join(shown.before["premise"].split()[::-1])


def test_what_the_tokenizer_does_not_see_flips_nothing(trained: reasoner.Result) -> None:
    card = reasoner.robustness(trained, ROWS, edits=["spacing"])
    assert (card["spacing"].rows, card["spacing"].flips) == (len(ROWS), 0)
    assert card.mean_flip_rate == 0
    assert "on the data (60 rows)" in str(card)


@pytest.mark.parametrize("name", ["ner", "qa", "classification", "multiple_choice"])
def test_every_edit_runs_on_a_task_and_the_card_can_be_read(name: str, lively_bert: Path, tmp_path: Path) -> None:
    case = CASES[name]
    folder = tmp_path / "model"
    reasoner.fine_tune(lively_bert, case.splits, task=case.task, output_dir=folder, evaluate_before=False, **QUICK)
    card = reasoner.robustness(folder, case.splits, seed=3)
    again = reasoner.robustness(reasoner.load(folder), case.splits["test"], seed=3)
    assert card.split == "test"
    assert [outcome.flips for outcome in card.outcomes] == [outcome.flips for outcome in again.outcomes]
    assert len(card.outcomes) >= 4
    assert max(map(len, str(card).splitlines())) <= 80
    assert str(card).count("flipped") == 1
    assert json.loads(json.dumps(card.to_dict()))["outcomes"][0]["name"] == card.outcomes[0].name
    assert card.outcomes[0].name in card._repr_html_()


def test_what_is_kept_is_counted_entity_by_entity(lively_bert: Path) -> None:
    case = CASES["ner"]
    result = reasoner.fine_tune(
        lively_bert, case.splits, task="ner", evaluate_before=False, **{**QUICK, "max_steps": 40}
    )
    rows = case.splits["train"]
    card = reasoner.robustness(result, rows, edits=[Edit("other vowels", "o for e", vowels)])
    was, now = (
        [{(e["entity_group"], e["start"], e["end"]) for e in found} for found in result.predict(texts)]
        for texts in ([tuple(row["tokens"]) for row in rows], [tuple(map(vowels_in, row["tokens"])) for row in rows])
    )
    both = sum(len(a & b) for a, b in zip(was, now, strict=True))
    either = sum(len(a | b) for a, b in zip(was, now, strict=True))
    assert 0 < both < either
    assert card["other vowels"].kept == card.mean_kept == pytest.approx(both / either)
    assert f"{both / either:.1%} is said both times" in str(card) and "kept" in str(card)
    assert card.to_dict()["outcomes"][0]["kept"] == card["other vowels"].kept


def test_of_a_model_that_says_nothing_it_is_said_that_this_is_no_firmness(lively_bert: Path) -> None:
    case = CASES["ner"]
    result = reasoner.fine_tune(lively_bert, case.splits, task="ner", evaluate_before=False, **QUICK)
    result.model.classifier.bias.data[result.run.labels.index("O")] += 100
    card = reasoner.robustness(result, case.splits["train"], edits=["typing errors", "aside"])
    assert card.mean_flip_rate == 0 and card.mean_kept is None
    assert "The model says nothing of any row, before or after" in " ".join(str(card).split())


def test_entities_that_only_moved_are_no_flip(lively_bert: Path) -> None:
    """Before and after are compared at the places where the text now stands."""
    case = CASES["ner"]
    result = reasoner.fine_tune(lively_bert, case.splits, task="ner", evaluate_before=False, **QUICK)
    pushed = Edit("pushed", "spaces first", lambda row, random: {"text": [Replacement(0, 0, "   ")]})
    card = reasoner.robustness(result, case.splits["test"], edits=[pushed])
    assert card["pushed"].rows == len(case.splits["test"])
    assert card["pushed"].flips == 0


def test_what_cannot_be_measured_is_refused_or_said(trained: reasoner.Result, caplog: pytest.LogCaptureFixture) -> None:
    card = reasoner.robustness(trained, ROWS, edits=[Edit("nothing", "nothing", nothing)])
    assert card.outcomes == ()
    assert "'nothing' changes no row of the data" in caplog.text
    assert "No edit changes any of these rows." in str(card)
    with pytest.raises(reasoner.ConfigError, match="split is 'dev', and the data has"):
        reasoner.robustness(trained, {"train": ROWS, "test": ROWS}, split="dev")
    with pytest.raises(reasoner.LabelError, match="who knows"):
        reasoner.robustness(trained, [{**ROWS[0], "label": "who knows"}])


def test_augmentation_is_training_on_the_edited_rows_too(lively_bert: Path) -> None:
    pack = reasoner.synthetic.nli_pack(train=12, validation=8, test=8)
    settings = {**QUICK, "evaluate_before": False, "seed": 5}
    result = reasoner.fine_tune(
        lively_bert,
        pack,
        task="nli",
        augmentation=2,
        augmentation_edits=["capitals", "names", "distractor"],
        **settings,
    )
    config = reasoner.TrainingConfig(augmentation=2, augmentation_edits=["capitals", "names", "distractor"], seed=5)
    task = result.predictor.task
    rows = augmented(result.predictor, examples_from_rows(read_splits(pack), task.Example), config)["train"]
    assert [row.premise for row in rows[:12]] == [row["premise"] for row in pack["train"]]
    assert len(rows) == 36, "a distractor changes every row"
    assert [row.label for row in rows[12:24]] == [row["label"] for row in pack["train"]]
    by_hand = {**pack, "train": [{"premise": r.premise, "hypothesis": r.hypothesis, "label": r.label} for r in rows]}
    other = reasoner.fine_tune(lively_bert, by_hand, task="nli", **settings)
    assert [row["loss"] for row in result.history] == [row["loss"] for row in other.history]
    assert result.run.rows["train"] == 12
    assert "augmentation: 24 edited copies of the 12 training rows are learned as well." in result.run.notices


def test_a_copy_is_one_that_the_model_reads_otherwise(lively_bert: Path) -> None:
    """The tokenizer tells no capital from a small letter, and no space from three."""
    settings = {**QUICK, "evaluate_before": False, "augmentation": 1}
    pack = reasoner.synthetic.nli_pack(train=12, validation=8, test=8)
    result = reasoner.fine_tune(lively_bert, pack, task="nli", augmentation_edits=["spacing", "capitals"], **settings)
    assert "augmentation: 0 edited copies of the 12 training rows are learned as well." in result.run.notices
    edits = ["spacing", "capitals", "distractor"]
    result = reasoner.fine_tune(lively_bert, pack, task="nli", augmentation_edits=edits, **settings)
    assert "augmentation: 12 edited copies of the 12 training rows are learned as well." in result.run.notices
    config = reasoner.TrainingConfig(augmentation=1, augmentation_edits=edits)
    task = result.predictor.task
    rows = augmented(result.predictor, examples_from_rows(read_splits(pack), task.Example), config)["train"]
    pairs = zip(rows[:12], rows[12:], strict=True)
    assert all(len((copy.premise + copy.hypothesis).split()) > len((row.premise + row.hypothesis).split())
               for row, copy in pairs)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augmentation": 1, "augmentation_edits": ["capitls"]}, r"there is no 'capitls'\. Did you mean 'capitals'"),
        ({"augmentation_edits": ["capitals"]}, "means nothing without augmentation"),
        ({"augmentation": 1, "augmentation_edits": "capitals"}, "must be None or a list of names"),
        ({"augmentation": -1}, "must be an integer of at least 0"),
    ],
)
def test_wrong_augmentation_is_refused(settings, message, lively_bert: Path) -> None:
    with pytest.raises(reasoner.ConfigError, match=message):
        reasoner.fine_tune(lively_bert, CASES["classification"].splits, task="classification", **settings)
