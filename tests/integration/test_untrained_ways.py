"""Do entailment, similarity and cloze choose as plain transformers says, and is what cannot be asked refused?"""

from __future__ import annotations

import shutil

import pytest
import torch
import transformers

import reasoner
from reasoner import Classification, MultipleChoice
from reasoner.errors import ConfigError, DataError
from reasoner.notices import collect
from reasoner.testing import check_head, check_task

CPU = {"use_cpu": True}
ROWS = [
    {"text": "The old harbour of Lisbon was quiet.", "label": "travel"},
    {"text": "A man in a blue shirt is cooking dinner for his family.", "label": "food_and_drink"},
    {"text": "The price of wheat rose by 4.5% in March.", "label": "money"},
    {"text": "Tickets cost $15.", "label": "money"},
]
WORDS = {"food_and_drink": "food and drink", "money": "money", "travel": "travel"}
QUESTIONS = [
    {"context": "Peter is here.", "question": "Who is here?", "choices": ["Peter", "the old king"], "label": 0},
    {"question": "What is red?", "choices": ["the box", "the sea", "snow"], "label": 2},
]
KINDS = {"entailment": "SequenceClassification", "similarity": "", "cloze": "MaskedLM"}
NAMES = {0: "CONTRADICTION", 1: "ENTAILMENT", 2: "NEUTRAL"}


@pytest.fixture(scope="module")
def models(tiny_models, tmp_path_factory):
    """`models("cloze")` is the folder of a tiny random model with the head that this way needs."""
    made = {}

    def folder(way, architecture="bert"):
        if (way, architecture) not in made:
            source, target = tiny_models(architecture), tmp_path_factory.mktemp(f"{way}-{architecture}")
            shutil.copytree(source, target, dirs_exist_ok=True)
            labels = {"id2label": NAMES} if way == "entailment" else {}
            config = transformers.AutoConfig.from_pretrained(source, initializer_range=0.2, **labels)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                auto = getattr(transformers, f"AutoModelFor{KINDS[way]}" if KINDS[way] else "AutoModel")
                auto.from_config(config).save_pretrained(target)
            made[way, architecture] = target
        return made[way, architecture]

    return folder


def loaded(folder, kind):
    model = getattr(transformers, f"AutoModelFor{kind}" if kind else "AutoModel").from_pretrained(folder)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def entailment_by_hand(folder, text, words, template):
    model, tokenizer = loaded(folder, "SequenceClassification")
    pairs = [tokenizer(text, template.format(word), return_tensors="pt") for word in words]
    return torch.stack([model(**pair).logits[0, 1] for pair in pairs]).softmax(0).tolist()


@torch.no_grad()
def similarity_by_hand(folder, text, words, template="{}"):
    model, tokenizer = loaded(folder, "")

    def vector(sentence):
        return model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].mean(0)

    near = [torch.cosine_similarity(vector(text), vector(template.format(word)), dim=0) for word in words]
    return (torch.stack(near) / 0.05).softmax(0).tolist()


@torch.no_grad()
def cloze_by_hand(folder, before, words, after, correction="token"):
    model, tokenizer = loaded(folder, "MaskedLM")
    found = []
    for word in words:
        ids = tokenizer(word, add_special_tokens=False)["input_ids"]
        asked = tokenizer(f"{before}{tokenizer.mask_token * len(ids)}{after}", return_tensors="pt")
        told = model(**asked).logits[0].log_softmax(-1)[asked["input_ids"][0] == tokenizer.mask_token_id]
        each = torch.stack([told[place, token] for place, token in enumerate(ids)])
        found.append(each.sum() if correction == "sum" else each.mean())
    return torch.stack(found).softmax(0).tolist()


def test_entailment_is_the_softmax_of_its_logits(models):
    result = reasoner.zero_shot(models("entailment"), ROWS, task="classification", **CPU)
    assert result.run.method == "zero-shot, by entailment" and set(result.metrics) == {"test"}
    for row in ROWS:
        expected = entailment_by_hand(models("entailment"), row["text"], WORDS.values(), "This text is about {}.")
        prediction = result.predict(row["text"])
        assert list(prediction["scores"]) == list(WORDS)
        assert list(prediction["scores"].values()) == pytest.approx(expected, abs=1e-5)


def test_similarity_is_the_cosine_of_mean_vectors(models):
    with collect() as said:
        result = reasoner.zero_shot(models("similarity"), ROWS, task="classification", **CPU)
    assert "The model is asked by similarity: it is an encoder, and has no head." in said
    predictions = result.predict([row["text"] for row in ROWS])
    for row, prediction in zip(ROWS, predictions, strict=True):
        expected = similarity_by_hand(models("similarity"), row["text"], WORDS.values())
        assert list(prediction["scores"].values()) == pytest.approx(expected, abs=1e-5)
    template = {"template": "This is about {label}."}
    other = reasoner.zero_shot(models("similarity"), ROWS, task="classification", **template, **CPU)
    expected = similarity_by_hand(models("similarity"), ROWS[0]["text"], WORDS.values(), "This is about {}.")
    assert list(other.predict(ROWS[0]["text"])["scores"].values()) == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ['{"pooling_mode_cls_token": true}', '{"pooling_mode": "cls"}', None])
def test_encoders_that_pool_the_first_token(models, tmp_path, pooling):
    shutil.copytree(models("similarity"), tmp_path, dirs_exist_ok=True)
    if pooling:
        (tmp_path / "1_Pooling").mkdir()
        (tmp_path / "1_Pooling" / "config.json").write_text(pooling)
    task = Classification(head_settings={} if pooling else {"pooling": "first"})
    result = reasoner.zero_shot(tmp_path, ROWS, task=task, by="similarity", **CPU)
    model, tokenizer = loaded(models("similarity"), "")
    first = [model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0, 0]
             for sentence in (ROWS[0]["text"], *WORDS.values())]  # fmt: skip
    near = torch.stack([torch.cosine_similarity(first[0], other, dim=0) for other in first[1:]])
    found = list(result.predict(ROWS[0]["text"])["scores"].values())
    assert found == pytest.approx((near / 0.05).softmax(0).tolist(), abs=1e-5)


def test_a_pooling_that_is_not_known_is_said(models, tmp_path):
    shutil.copytree(models("similarity"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    result = reasoner.zero_shot(tmp_path, ROWS, task="classification", **CPU)
    assert any("vectors by 'max'; here they are the mean" in notice for notice in result.run.notices)
    (tmp_path / "1_Pooling" / "config.json").write_text("[")
    broken = reasoner.zero_shot(tmp_path, ROWS, task="classification", **CPU)
    assert broken.predict("A dog.") == result.predict("A dog.")


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
@pytest.mark.parametrize("correction", ["sum", "token"])
def test_cloze_reads_words_of_several_tokens(models, architecture, correction):
    folder = models("cloze", architecture)
    settings = {"template": "{text} ({mask})", "correction": correction}  # RoBERTa's words differ after a space
    result = reasoner.zero_shot(folder, ROWS, task="classification", **settings, **CPU)
    assert result.run.method == f"zero-shot, by cloze ({correction})"
    for row in ROWS:
        around = (f"{row['text']} (", WORDS.values(), ")")
        expected = cloze_by_hand(folder, *around, correction)
        assert list(result.predict(row["text"])["scores"].values()) == pytest.approx(expected, abs=1e-5)


def test_the_usual_cloze_of_inference(models):
    rows = [{"premise": "A dog runs.", "hypothesis": "It moves.", "label": "entailment"},
            {"premise": "A dog runs.", "hypothesis": "It sleeps.", "label": "contradiction"}]  # fmt: skip
    result = reasoner.zero_shot(models("cloze"), rows, task="nli", **CPU)
    expected = cloze_by_hand(models("cloze"), '"A dog runs."? ', ["Yes", "No"], ', "It moves."')
    assert list(result.predict(("A dog runs.", "It moves."))["scores"].values()) == pytest.approx(expected, abs=1e-5)


def test_what_is_too_long_loses_text_and_no_mask(models):
    long = "The old harbour of Lisbon was quiet. " * 8
    settings = {"max_length": 24, **CPU}
    with collect() as said:
        for template in ("{text} {mask}", "{mask}: {text}"):
            rows = [{**ROWS[0], "text": long}, *ROWS[1:3]]
            settings |= {"template": template, "task": "classification"}
            result = reasoner.zero_shot(models("cloze"), rows, **settings)
            (group,) = result.predictor.encode([result.predictor.task.example_from_input(long)]).features
            marks = [[token for token in feature.token_targets["words"] if token != -100] for feature in group]
            tokenizer = result.predictor.tokenizer
            assert [tokenizer.decode(own) for own in marks] == list(WORDS.values())
            assert {len(feature) for feature in group} == {24}
    assert any("sequences are longer than max_length=24 tokens, and were cut" in notice for notice in said)


@pytest.mark.parametrize("way", ["entailment", "similarity", "cloze"])
def test_choices_are_chosen_too(models, way):
    result = reasoner.zero_shot(models(way), QUESTIONS, task="multiple_choice", by=way, **CPU)
    row = QUESTIONS[0]
    prediction = result.predict({name: row[name] for name in ("context", "question", "choices")})
    text, folder = "Peter is here.\nWho is here?", models(way)
    if way == "entailment":
        expected = entailment_by_hand(folder, text, row["choices"], "{}")
    elif way == "similarity":
        expected = similarity_by_hand(folder, text, row["choices"])
    else:
        expected = cloze_by_hand(folder, f"{text}\n", row["choices"], "")
    assert prediction["scores"] == pytest.approx(expected, abs=1e-5)
    assert 0 <= result.metrics["test"]["accuracy"] <= 1 and result.run.config["by"] == way


@pytest.mark.parametrize(("way", "lost"), [("entailment", "end"), ("similarity", "end"), ("cloze", "far from the gap")])
def test_check_looks_at_rows_as_they_are_asked(models, way, lost):
    splits = {"train": ROWS, "validation": ROWS}
    report = reasoner.check(models(way), splits, task=Classification(head=way), max_length=14, **CPU)
    (finding,) = [finding for finding in report.findings if "train: " in finding.what and finding.code == "cut_rows"]
    assert lost in finding.what


@pytest.mark.parametrize("way", ["entailment", "similarity", "cloze"])
def test_saved_and_loaded_each_way_predicts_the_same(models, way, tmp_path):
    result = reasoner.zero_shot(models(way), ROWS, task="classification", by=way, **CPU)
    result.save(tmp_path / "model")
    found = reasoner.load(tmp_path / "model", **CPU)
    for one, other in zip(*([r.predict([row["text"] for row in ROWS]) for r in (result, found)]), strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


@pytest.mark.parametrize("way", ["entailment", "similarity", "cloze"])
def test_the_contract(models, way):
    for task, rows in ((MultipleChoice(), QUESTIONS * 2), (Classification(), ROWS)):
        check_head(way, task=task, rows=rows, model=models(way))
    inputs = [row["text"] for row in ROWS]
    check_task(Classification(head=way), ROWS, model=models(way), inputs=inputs, perfect=lambda e: {"label": e.label})


@pytest.mark.parametrize("way", ["entailment", "similarity", "cloze"])
def test_each_head_is_trained_too_and_its_before_is_zero_shot(models, way):
    splits = {"train": ROWS, "validation": ROWS}
    run = {"num_train_epochs": 60, "learning_rate": 3e-3, "check": False, **CPU}
    tuned = reasoner.fine_tune(models(way), splits, task=Classification(head=way), **run)
    zero = reasoner.zero_shot(models(way), ROWS, task="classification", by=way, **CPU)
    assert tuned.metrics["before"]["accuracy"] == zero.metrics["test"]["accuracy"]
    assert tuned.metrics["validation"]["accuracy"] == 1.0


def test_a_folder_that_was_tuned_for_inference_is_asked_by_entailment(models, tmp_path):
    pack = reasoner.synthetic.nli_pack(train=12, validation=6, test=6)
    reasoner.fine_tune(models("similarity"), pack, task="nli", max_steps=1, output_dir=tmp_path, check=False, **CPU)
    result = reasoner.zero_shot(tmp_path, ROWS, task="classification", **CPU)
    assert result.run.method == "zero-shot, by entailment"
    assert result.predictor.task.reading.entailing == 0


@pytest.mark.parametrize(
    ("way", "settings", "message"),
    [
        ("similarity", {"by": "cosine"}, "by is 'cosine'"),
        ("similarity", {"by": "entailment"}, "none of the model's labels"),
        ("similarity", {"by": "cloze"}, "The checkpoint has no output layer for BertForMaskedLM"),
        ("similarity", {"by": "likelihood"}, "'bert' is no decoder"),
        ("similarity", {"correction": "sum"}, "The head 'similarity' does not take: correction"),
        ("similarity", {"share_prefix": False}, "does not take: share_prefix"),
        ("similarity", {"domain": "Label:"}, "domain is for 'likelihood'"),
        ("similarity", {"template": "{text}"}, "The template has the field {text}"),
        ("similarity", {"template": "It is so."}, "would say the same with every answer. Fields: label"),
        ("similarity", {"task": "nli"}, "NLI cannot be asked by similarity. Take one of: likelihood, cloze"),
        ("entailment", {"task": "nli"}, "NLI cannot be asked by entailment"),
        ("similarity", {"task": Classification(head_settings={"pooling": "max"})}, "pooling is 'max'"),
        ("similarity", {"task": Classification(head_settings={"similarity_temperature": 0})}, "a number above 0"),
        ("cloze", {"template": "{text} is good"}, "The template needs {mask} once"),
        ("cloze", {"template": "{mask} is good"}, "would ask the same of every row"),
        ("cloze", {"correction": "byte"}, "For cloze give one of sum, token"),
    ],
)  # fmt: skip
def test_what_is_refused(models, way, settings, message):
    rows = ROWS
    if settings.get("task") == "nli":
        rows = [{"premise": "a", "hypothesis": "b", "label": name} for name in ("entailment", "neutral")]
    with pytest.raises(ConfigError) as caught:
        reasoner.zero_shot(models(way), rows, **{"task": "classification", **settings}, **CPU)
    assert message in str(caught.value)


def test_a_word_without_a_token_and_one_that_does_not_fit_are_refused(models):
    settings = {"task": "classification", "template": "{text} {mask}", **CPU}
    with pytest.raises(DataError, match="has 0 tokens"):
        reasoner.zero_shot(models("cloze"), ROWS, words={"money": "\u200b"}, **settings)
    with pytest.raises(DataError, match="no more than fit"):
        reasoner.zero_shot(models("cloze"), ROWS, words={"money": "money " * 9}, max_length=8, **settings)


def test_models_for_something_else_are_refused(models, tmp_path):
    shutil.copytree(models("similarity"), tmp_path, dirs_exist_ok=True)
    model = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="BertForTokenClassification is made for none of"):
        reasoner.zero_shot(tmp_path, ROWS, task="classification", **CPU)
