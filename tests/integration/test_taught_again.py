"""Does `fine_tune(after=...)` keep the old head, protect what the model knew, record it, refuse what cannot work?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

import reasoner
from reasoner import EWC, NER, Classification, LwF, OwnAdapter, Replay
from reasoner.errors import CheckpointError, ConfigError, DataError
from reasoner.notices import collect

SETTINGS: dict[str, Any] = {"num_train_epochs": 12, "per_device_train_batch_size": 8, "use_cpu": True, "check": False,
                            "learning_rate": 3e-3, "evaluate_before": False, "disable_tqdm": True,
                            "warmup_steps": 0.0}  # fmt: skip
QUICK = {**SETTINGS, "num_train_epochs": 1}
WORDS = {"old": ("LOC", ["lisbon", "vienna", "kyoto", "oslo"]), "new": ("ORG", ["nokia", "samsung", "ajax", "porto"])}


def rows(part: str, number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Sentences with one name each: of a place in the old ones, of a firm in the new ones."""
    random, (kind, names) = Random(f"{part} {seed}"), WORDS[part]
    made = []
    for _ in range(number):
        tokens = random.choice(["we saw X today", "X was in the news", "nobody knows X or the river"]).split()
        place = tokens.index("X")
        tokens[place] = random.choice(names)
        made.append({"tokens": tokens, "ner_tags": [f"B-{kind}" if n == place else "O" for n in range(len(tokens))]})
    return made


OLD = {"train": rows("old", 32), "validation": rows("old", 16, 1), "test": rows("old", 24, 2)}
NEW = {"train": rows("new", 32), "validation": rows("new", 16, 1), "test": rows("new", 24, 2)}


@pytest.fixture(scope="module")
def old(lively_models, tmp_path_factory) -> Iterator[tuple[reasoner.Result, Path]]:
    """A model that knows places, and its folder."""
    folder = tmp_path_factory.mktemp("again") / "old"
    result = reasoner.fine_tune(lively_models("bert"), OLD, task="ner", output_dir=folder, **SETTINGS)
    assert result.metrics["test"]["f1"] == 1.0
    yield result, folder


def again(after: Any, **settings: Any) -> reasoner.Result:
    return reasoner.fine_tune(None, NEW, task="ner", after=after, **{**SETTINGS, **settings})


def state(result: reasoner.Result) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in result.predictor.model.state_dict().items()}


def same(one: reasoner.Result, other: reasoner.Result) -> bool:
    first, second = state(one), state(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_new_labels_join_the_old_head_whose_outputs_begin_as_they_were(old):
    seen: dict[str, torch.Tensor] = {}

    class First(reasoner.Callback):
        def on_train_begin(self, trainer: Any) -> None:
            seen.update({name: value.clone() for name, value in trainer.model.state_dict().items()})

    before = state(old[0])
    result = again(old[1], callbacks=[First()], num_train_epochs=1)
    assert result.run.labels == ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
    assert seen.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(seen[name][tuple(slice(0, size) for size in value.shape)], value), name
    assert seen["network.classifier.weight"].shape[0] == 5 and seen["network.classifier.weight"][3:].any()
    assert any("New labels are added to the old head: B-ORG, I-ORG." in notice for notice in result.run.notices)
    assert all(torch.equal(value, before[name]) for name, value in state(old[0]).items())  # the old model is as it was


def test_a_result_is_its_folder(old):
    assert same(again(old[0], num_train_epochs=1), again(old[1], num_train_epochs=1))


def test_replay_keeps_what_plain_tuning_forgets(old):
    plain, replayed = again(old[1]), again(old[1], protection="replay", protect=[OLD])
    assert min(result.metrics["test"]["f1"] for result in (plain, replayed)) > 0.9
    assert plain.evaluate(OLD["test"])["f1"] < 0.5 < 0.9 < replayed.evaluate(OLD["test"])["f1"]


def test_lwf_keeps_what_the_old_model_says_of_its_own_labels(old):
    """Among the old labels, on words of the new rows."""

    def among_old(result: reasoner.Result) -> torch.Tensor:
        predictor = result.predictor
        examples = [predictor.task.example_from_input(tuple(row["tokens"])) for row in NEW["test"]]
        (batch,) = predictor.batches(predictor.encode(examples), batch_size=len(examples))
        with torch.no_grad():
            logits = predictor.model(batch)["logits"][batch.targets["words"] > 0]
        return logits[:, :3].softmax(-1)

    before = among_old(old[0])
    plain, kept, more = (again(old[1], protection=way) for way in (None, "lwf", LwF(weight=0.95)))
    apart = [float((among_old(result) - before).abs().sum(-1).mean()) for result in (plain, kept, more)]
    assert apart[0] > 2 * apart[1] and apart[1] > apart[2]
    assert kept.metrics["test"]["f1"] > 0.9
    assert kept.run.config["teacher"].startswith("old, weights ") and kept.run.config["distillation_weight"] == 0.5


def test_ewc_holds_the_weights_the_faster_the_stronger_it_is(old):
    before = state(old[0])
    moved, scores = [], []
    for strength in (1e-6, 1e2, 1e6):
        result = again(old[1], protection=EWC(strength=strength), protect=[OLD], optim="sgd", learning_rate=0.05)
        after = state(result)
        moved.append(sum(float((after[name][: len(value)] - value).square().sum()) for name, value in before.items()))
        scores.append(result.evaluate(OLD["test"])["f1"])
    plain = again(old[1], optim="sgd", learning_rate=0.05)
    assert moved[0] > moved[1] > moved[2] and scores[2] >= scores[0]
    assert scores[0] == pytest.approx(plain.evaluate(OLD["test"])["f1"], abs=0.05)


def test_a_protection_of_no_weight_is_plain_tuning(old):
    plain = again(old[1], num_train_epochs=2)
    held = again(old[1], num_train_epochs=2, protection=EWC(strength=1e-30), protect=[OLD])
    assert same(plain, held)
    assert not same(plain, again(old[1], num_train_epochs=2, protection=EWC(strength=10.0), protect=[OLD]))


def test_replay_shows_the_share_and_other_rows_in_each_epoch(old):
    shown: list[set[int]] = []

    class Shown(reasoner.Callback):
        def on_train_begin(self, trainer: Any) -> None:
            shown.append(set())

        def on_batch(self, trainer: Any, batch: Any, outputs: Any) -> None:
            shown[-1].update(batch.feature_index)

        def on_epoch_end(self, trainer: Any) -> None:
            shown.append(set())

    result = again(old[1], protection=Replay(share=0.2), protect=[OLD], num_train_epochs=3, callbacks=[Shown()])
    assert [len(epoch) for epoch in shown] == [40, 40, 40, 0]
    old_rows = [{number for number in epoch if number >= 32} for epoch in shown[:3]]
    assert [len(part) for part in old_rows] == [8, 8, 8] and len(set(map(frozenset, old_rows))) == 3
    assert any("Each epoch shows 8 of 32 old rows among 32 new ones" in notice for notice in result.run.notices)
    assert result.run.rows["train"] == 32


def test_an_adapter_of_its_own_leaves_the_old_model_as_it_is(lively_bert, tmp_path):
    settings = {**QUICK, "task": "ner", "method": "adapter", "learning_rate": 3e-3}
    reasoner.fine_tune(lively_bert, OLD, output_dir=tmp_path / "one", **settings)
    weights = (tmp_path / "one" / "bottlenecks.safetensors").read_bytes()
    second = reasoner.fine_tune(
        None, NEW, after=tmp_path / "one", protection="adapters", output_dir=tmp_path / "two", **settings
    )
    assert second.run.labels == ["O", "B-ORG", "I-ORG"] and second.run.continued["labels_added"] == []
    assert (tmp_path / "one" / "bottlenecks.safetensors").read_bytes() == weights
    alone = reasoner.fine_tune(lively_bert, NEW, **settings)
    assert same(second, alone)
    both = reasoner.load_together({"old": tmp_path / "one", "new": tmp_path / "two"}, use_cpu=True)
    layers = [result.predictor.model.backbone.encoder.layer[0].attention.self.query.weight for result in both.values()]
    assert layers[0] is layers[1]


def test_what_lora_learned_is_folded_in(lively_bert, tmp_path):
    settings = {**QUICK, "task": "ner"}
    first = reasoner.fine_tune(lively_bert, OLD, method="lora", output_dir=tmp_path / "one", **settings)
    second = again(tmp_path / "one", num_train_epochs=1, output_dir=tmp_path / "two")
    assert any("folded into the weights first" in notice for notice in second.run.notices)
    loaded = reasoner.load(tmp_path / "two", use_cpu=True)
    assert loaded.evaluate(NEW["test"])["f1"] == second.metrics["test"]["f1"]
    assert first.run.continued == {}
    reasoner.fine_tune(lively_bert, OLD, method="adapter", output_dir=tmp_path / "three", **settings)
    with pytest.raises(ConfigError, match="cannot be folded into the weights"):
        again(tmp_path / "three")
    with pytest.raises(reasoner.CheckpointError, match="says not where it is from"):
        again(tmp_path / "one", method="lora", output_dir=tmp_path / "four")


def test_lora_on_an_old_model_is_saved_beside_it(old, tmp_path):
    result = again(old[1], method="lora", protection="replay", protect=[OLD], output_dir=tmp_path / "two")
    loaded = reasoner.load(tmp_path / "two", use_cpu=True)
    assert loaded.predictor.model.base["name"] == str(old[1].resolve())
    assert not (tmp_path / "two" / "model.safetensors").exists() and loaded.run.labels == result.run.labels
    texts = [tuple(row["tokens"]) for part in (OLD, NEW) for row in part["test"]]
    assert loaded.predict(texts) == result.predict(texts)


def test_data_are_checked_and_each_seed_begins_at_the_old_model(old, tmp_path):
    settings = {"protection": "replay", "protect": [OLD], "num_train_epochs": 1, "check": True}
    result = again(old[1], seeds=[0, 1], output_dir=tmp_path / "two", **settings)
    assert [row["seed"] for row in result.run.seeds] == [0, 1] and result.run.checks["findings"] is not None
    alone = again(old[1], seed=result.run.config["seed"], **settings)
    assert same(result, alone)


def test_the_record_and_the_report_say_what_was_kept_and_what_was_lost(old, tmp_path):
    again(old[1], protection="replay", protect=[OLD], output_dir=tmp_path / "two")
    run = reasoner.load(tmp_path / "two", use_cpu=True).run
    told = run.continued
    assert told["after"].startswith("old (") and told["protection"] == "Replay(share=0.5)"
    assert told["protected_rows"] == [{"train": 32, "validation": 16, "test": 24}]
    assert told["labels_added"] == ["B-ORG", "I-ORG"]
    (compared,) = told["old"]
    assert compared["before"] == 1.0 and compared["rows"] == 16 and compared["lower"] <= compared["difference"]
    validation = [row for row in run.history if row["split"] == "validation"]
    assert all(row["forgetting"] == pytest.approx(1.0 - row["old_f1"]) for row in validation) and len(validation) == 12
    report = reasoner.load(tmp_path / "two", use_cpu=True).report()
    assert "taught again" in report and "protected by Replay(share=0.5)" in report and "old data 1" in report
    assert str(old[1].parent) not in json.dumps(run.to_dict())


def test_it_stops_when_too_much_is_forgotten_and_keeps_the_best_before(old):
    free = again(old[1], protect=[OLD], eval_steps=2)
    falls = [row["forgetting"] for row in free.history if row["split"] == "validation"]
    assert max(falls) > 0.3
    result = again(old[1], protect=[OLD], eval_steps=2, max_forgetting=0.3)
    rows = [row for row in result.history if row["split"] == "validation"]
    assert rows[0]["step"] == 0 and result.run.stopped_early
    assert rows[-1]["forgetting"] > 0.3 and all(row["forgetting"] <= 0.3 for row in rows[:-1])
    assert any("above 0.3. The best model before is kept." in notice for notice in result.run.notices)
    best = next(row for row in rows if row["step"] == result.run.best_step)
    assert best["forgetting"] <= 0.3 and best["f1"] == max(row["f1"] for row in rows[:-1])
    assert result.evaluate(OLD["validation"])["f1"] == best["old_f1"]


def test_if_the_first_steps_forget_too_much_the_old_model_stays(old):
    result = again(old[1], protect=[OLD], max_forgetting=0.0, optim="sgd", learning_rate=3.0, max_grad_norm=0.0)
    before, after = state(old[0]), state(result)
    assert result.run.best_step == 0 and result.run.stopped_early
    assert all(torch.equal(after[name][: len(value)], value) for name, value in before.items())


def unmarked(number: int, seed: int) -> list[dict[str, Any]]:
    """New sentences with a firm, which is marked, and often a place, which is not."""
    random, made = Random(f"unmarked {seed}"), rows("new", number, seed)
    for row in made:
        if random.random() < 0.7:
            row["tokens"] += ["near", random.choice(WORDS["old"][1])]
            row["ner_tags"] += ["O", "O"]
    return made


def test_old_types_that_nobody_marked_in_the_new_rows(old, tmp_path):
    data = {"train": unmarked(32, 0), "validation": unmarked(16, 1), "test": NEW["test"]}
    places = sum("near" in row["tokens"] for row in data["train"])
    with collect() as said:
        plain = reasoner.fine_tune(None, data, task="ner", after=old[1], protect=[OLD], **SETTINGS)
    assert [line for line in said if line.startswith("None of the 32 new training rows has LOC, which the old model")]
    with collect() as said:
        kept = reasoner.fine_tune(None, data, task="ner", after=old[1], protect=[OLD], complete_labels=True, **SETTINGS)
    (line,) = [line for line in said if line.startswith("complete_labels")]
    (found,) = re.findall(
        "of LOC, which none of the 32 new training rows has, the old model finds ([0-9]+) there", line
    )
    assert places / 2 < int(found) <= places
    assert not [line for line in said if "None of the" in line]
    assert plain.evaluate(OLD["test"])["f1"] < 0.5 < 0.85 < kept.evaluate(OLD["test"])["f1"]
    assert kept.metrics["test"]["f1"] > 0.95
    assert kept.metrics["validation"]["f1"] > 0.95  # places are no mistakes there
    assert kept.evaluate(data["validation"])["precision"] < 0.8  # where they count as such
    assert kept.run.config["complete_labels"] is True


def test_new_types_that_old_rows_shown_again_lack_are_said(old):
    with collect() as said:
        again(old[1], **QUICK, protect=[OLD], protection="replay")
    assert [line for line in said if line.startswith("None of the 32 old rows that are shown again has ORG, which the")]
    both = {split: [*OLD[split], *NEW[split]] for split in OLD}
    with collect() as said:
        reasoner.fine_tune(None, both, task="ner", after=old[1], protect=[OLD], protection="replay", **QUICK)
    assert [line for line in said if "shown again has ORG" in line] and not [
        x for x in said if "new training rows" in x
    ]


def test_rows_that_have_all_their_labels_are_not_completed(old, lively_bert):
    labelled = {"train": [{"text": f"a {c} thing", "label": c} for c in ("red", "blue") * 8]}
    labelled["validation"] = labelled["train"][:4]
    first = reasoner.fine_tune(lively_bert, labelled, task="classification", **QUICK)
    with pytest.raises(ConfigError, match="complete_labels: a row of Classification has all of its labels"):
        reasoner.fine_tune(None, labelled, task="classification", after=first, complete_labels=True, **QUICK)
    with collect() as said:
        again(old[1], **QUICK)
    assert [line for line in said if "new training rows has LOC" in line]
    both = {split: [*OLD[split], *NEW[split]] for split in OLD}
    with collect() as said:
        reasoner.fine_tune(None, both, task="ner", after=old[1], complete_labels=True, **QUICK)
    assert not [line for line in said if "which the old model" in line or "complete_labels" in line]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protection": "replay"}, "Replay works with old rows. Give protect="),
        ({"protection": "ewc"}, "EWC works with old rows"),
        ({"protection": "replays"}, "Did you mean 'replay'"),
        ({"protection": 3}, "protection is 3; there are replay, ewc, lwf, adapters"),
        ({"protect": OLD}, "Give a list of old data sets"),
        ({"protect": [OLD], "protection": "adapters", "method": "adapter"}, "there is nothing to protect"),
        ({"protection": "adapters"}, "Full would change it"),
        ({"protect": [OLD], "protection": "ewc", "method": "lora"}, "LoRA leaves these as they are"),
        ({"max_forgetting": 0.1}, "max_forgetting needs old rows"),
        ({"protect": [OLD], "protection": "replay", "balanced_sampling": True}, "balanced_sampling cannot be combined"),
        ({"protection": "lwf", "teacher": "old"}, "makes the old model the teacher"),
        ({"protection": "adapters", "method": "adapter", "complete_labels": True}, "complete_labels cannot"),
        ({"reinitialize_layers": 1}, "reinitialize_layers cannot be combined with after"),
        ({"task": "nli"}, "was tuned for NER, and the task is NLI"),
        ({"task": NER(head="crf")}, "head is None, and the task's 'crf'"),
        ({"task": NER(head="crf"), "protection": "lwf"}, "head is None"),
        ({"model": "a"}, "Both model and after are given"),
        ({"after": "nowhere"}, "holds no reasoner_config.json"),
        ({"after": 3}, "after is 3"),
        ({"tokenizer": object()}, "the old model has its own"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_training(settings, message, old):
    arguments = {"task": "ner", "after": old[1], "model": None, **settings}
    data = NEW
    if arguments["task"] == "nli":
        data = reasoner.synthetic.nli_pack(train=6, validation=3, test=3)
    with pytest.raises(ConfigError, match=message):
        reasoner.fine_tune(data=data, **{**QUICK, **arguments})


@pytest.mark.parametrize("name", ["protect", "protection", "max_forgetting", "complete_labels"])
def test_without_an_old_model_there_is_nothing_to_protect(name, lively_bert):
    given = {"protect": [OLD], "protection": "lwf", "max_forgetting": 0.1, "complete_labels": True}[name]
    with pytest.raises(ConfigError, match=f"{name} means nothing without after="):
        reasoner.fine_tune(lively_bert, NEW, task="ner", **{name: given}, **QUICK)


def test_old_rows_must_be_known_to_the_old_model(old):
    with pytest.raises(DataError, match="ORG"):
        again(old[1], protect=[NEW])


@pytest.mark.parametrize(("settings", "message"), [({"share": 1.0}, "share=1.0"), ({"share": 0}, "share=0")])
def test_a_share_is_one(settings, message):
    with pytest.raises(ConfigError, match=message):
        Replay(**settings)
    for wrong in (lambda: EWC(strength=0), lambda: EWC(rows=0), lambda: LwF(weight=1), lambda: LwF(temperature=0)):
        with pytest.raises(ConfigError, match="give a"):
            wrong()
    assert OwnAdapter() == OwnAdapter()


def test_texts_get_new_labels_too(lively_bert, tmp_path):
    texts = {"a": "a red thing", "b": "a blue thing", "c": "a green thing", "d": "a black thing"}

    def labelled(labels: str) -> dict[str, Any]:
        made = [{"text": texts[label], "label": label} for label in labels * 8]
        return {"train": made, "validation": made[:8]}

    first = reasoner.fine_tune(lively_bert, labelled("ab"), task="classification", **SETTINGS)
    second = reasoner.fine_tune(
        None,
        labelled("cb"),
        task="classification",
        after=first,
        protect=[labelled("ab")],
        protection="replay",
        **SETTINGS,
    )
    assert second.run.labels == ["a", "b", "c"]
    assert [second.predict(texts[label])["label"] for label in "abc"] == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="one label alone, and it is a new one"):
        reasoner.fine_tune(None, labelled("d"), task="classification", after=first, **QUICK)
    third = reasoner.fine_tune(None, labelled("d"), task=Classification(labels=["d", "a", "b"]), after=first, **QUICK)
    assert third.run.labels == ["a", "b", "d"]


def test_a_result_in_memory_is_no_base_that_could_be_found_again(tiny_bert, tmp_path):
    batches = reasoner.synthetic.ner_batches(train=16, validation=6, test=6)
    quick = {"task": "ner", "max_steps": 1, "use_cpu": True, "check": False, "evaluate_before": False}
    first = reasoner.fine_tune(tiny_bert, batches["per"], output_dir=tmp_path / "first", **quick)
    own = {"after": first, "protection": "adapters", "method": "adapter"}
    with collect() as said, pytest.raises(CheckpointError, match="Write it into a folder"):
        reasoner.fine_tune(None, batches["loc"], **own, output_dir=tmp_path / "next", **quick)
    assert any("no longer the weights of" in notice for notice in said)
    assert not any("step 1 of" in notice for notice in said)  # before training
    own["after"] = tmp_path / "first"
    done = reasoner.fine_tune(None, batches["loc"], **own, output_dir=tmp_path / "next", **quick)
    loaded = reasoner.load(tmp_path / "next", use_cpu=True)
    assert loaded.predict("Ada lives in Oslo.") == done.predict("Ada lives in Oslo.")


def test_virtual_tokens_take_their_room_from_the_old_model_s_limit(tiny_bert):
    batches = reasoner.synthetic.ner_batches(train=16, validation=6, test=6)
    quick = {"task": "ner", "max_steps": 1, "use_cpu": True, "check": False, "evaluate_before": False}
    first = reasoner.fine_tune(tiny_bert, batches["per"], **quick)
    own = {"after": first, "protection": "adapters", "method": reasoner.Prompt(virtual_tokens=5)}
    after = reasoner.fine_tune(None, batches["loc"], **own, **quick)
    assert after.predictor.max_length == first.predictor.max_length - 5
