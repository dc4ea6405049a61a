"""Does a row become a prompt and a completion with its end, cut where it must be, and is what is generated read?"""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer, LlamaConfig, T5Config

from reasoner.data.chat import PLAIN_TEMPLATE
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.losses import IGNORED
from reasoner.metrics.generation import TextSize
from reasoner.notices import collect, counting
from reasoner.tasks.generation import Generation, GenerationExample, Lost

USER = {"role": "user", "content": "Is the bridge closed?"}
ANSWER = {"role": "assistant", "content": "Yes, it is."}
ROWS = [
    {"prompt": "The old harbour of", "completion": " Lisbon"},
    {"messages": [USER, ANSWER]},
    {"messages": [USER, ANSWER, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Snow."}]},
    {"prompt": [USER], "completion": [ANSWER]},
    {"question": "Who?", "answer": "Ada."},
]


def examples(*rows):
    return examples_from_rows(read_splits({"train": list(rows)}), GenerationExample)["train"]


@pytest.fixture(params=["llama", "gpt2"])
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


def encode(task, rows, tokenizer, max_length=64):
    task = task.fitted_to(LlamaConfig(), tokenizer)
    with counting() as counted:
        features = task.encode(rows, tokenizer, max_length=max_length, stride=0)
        said = dict(counted)
        counted.clear()
    return task, [feature for (feature,) in features], said


def test_all_forms_of_rows():
    plain, chat, longer, conversational, named = examples(*ROWS)
    assert (plain.prompt, plain.completion, plain.messages) == ("The old harbour of", " Lisbon", ())
    assert chat == conversational
    assert chat.messages == (("user", USER["content"]),) and chat.completion == ANSWER["content"]
    assert [message.role for message in longer.messages] == ["user", "assistant", "user"]
    assert longer.completion == "Snow."
    assert (named.prompt, named.completion) == ("Who?", "Ada.")
    assert chat.texts == {"prompt": "user: Is the bridge closed?"}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"prompt": "a", "completion": ""}, "completion is empty"),
        ({"prompt": "a", "completion": "  \n"}, "completion is empty"),
        ({"prompt": "a", "completion": None}, "completion is missing, not text"),
        ({"prompt": " ", "completion": "a"}, "prompt is empty"),
        ({"prompt": "a"}, "column 'completion' is missing"),
        ({"text": "a"}, "column 'prompt' is missing, and there are no messages"),
        ({"messages": [ANSWER, USER]}, "the last message is the user's"),
        ({"messages": [ANSWER]}, "the answer is the only message"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, r"message 2 \(assistant\) has no text"),
        ({"prompt": [USER], "completion": " "}, "completion is empty"),
    ],
)
def test_rows_without_an_answer_are_refused_with_their_place(row, what):
    with pytest.raises(DataError, match=rf"train, row 2: {what}"):
        examples(ROWS[0], row, ROWS[0])


def test_the_completion_and_its_end_are_learned_and_the_prompt_is_not(tokenizer):
    _, features, said = encode(Generation(max_new_tokens=16), examples(ROWS[0]), tokenizer)
    (feature,) = features
    prompt = tokenizer("The old harbour of")["input_ids"]
    completion = tokenizer(" Lisbon")["input_ids"]
    assert feature.inputs["input_ids"] == [*prompt, *completion, tokenizer.eos_token_id]
    assert feature.inputs["attention_mask"] == [1] * len(feature)
    labels = feature.token_targets["labels"]
    assert labels == [IGNORED] * len(prompt) + [*completion, tokenizer.eos_token_id]
    assert feature.info == [0, 0, 0] and said == {}


def test_a_prompt_is_seen_in_training_as_in_use(tokenizer):
    task, trained, _ = encode(Generation(max_new_tokens=16), examples(*ROWS), tokenizer)
    chat = {"messages": ROWS[2]["messages"][:-1]}
    inputs = ["The old harbour of", {"messages": [USER]}, chat, {"prompt": [USER]}, {"prompt": "Who?"}]
    _, used, _ = encode(task, [task.example_from_input(value) for value in inputs], tokenizer)
    for one, other in zip(trained, used, strict=True):
        prompt = one.token_targets["labels"].count(IGNORED)
        assert one.inputs["input_ids"][:prompt] == other.inputs["input_ids"]
        assert other.token_targets == {}


def test_a_begin_token_stands_before_a_prompt_where_the_tokenizer_puts_one(tiny_models):
    from tokenizers.processors import TemplateProcessing

    tokenizer = AutoTokenizer.from_pretrained(tiny_models("llama"))
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", begin), ("<|im_end|>", end)]
    )
    _, (feature,), _ = encode(Generation(max_new_tokens=16), examples(ROWS[0]), tokenizer)
    ids = feature.inputs["input_ids"]
    assert ids[0] == begin and ids.count(begin) == 1
    assert ids[-1] == end and ids.count(end) == 1  # none between prompt and completion
    row = {"prompt": "snow " * 90, "completion": "x"}
    _, (feature,), _ = encode(Generation(max_new_tokens=16), examples(row), tokenizer)
    assert feature.inputs["input_ids"][0] == begin
    assert len(feature.inputs["input_ids"]) - 2 == 64 - 16


def test_settings_of_a_chat(tokenizer):
    tokenizer.chat_template = PLAIN_TEMPLATE
    task = Generation(max_new_tokens=8, chat=True, system="Be kind.")
    _, features, _ = encode(task, examples(*ROWS[:2]), tokenizer)
    shown = [tokenizer.decode(feature.inputs["input_ids"]) for feature in features]
    assert shown[0].startswith("System:\nBe kind.\n\nUser:\nThe old harbour of\n\nAssistant:\n Lisbon")
    assert shown[1].startswith("System:\nBe kind.\n\nUser:\nIs the bridge closed?\n\nAssistant:\nYes, it is.")
    own = {"messages": [{"role": "system", "content": "Be brief."}, USER, ANSWER]}
    _, (feature,), _ = encode(task, examples(own), tokenizer)
    assert tokenizer.decode(feature.inputs["input_ids"]).startswith("System:\nBe brief.\n\nUser:")


def test_an_answer_ends_as_the_template_ends_it(tiny_models):
    tokenizer = AutoTokenizer.from_pretrained(tiny_models("llama"))
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + '<|im_start|>' }}{% endfor %}"
    task, features, _ = encode(Generation(max_new_tokens=8), examples(*ROWS[:2]), tokenizer)
    assert task.end_tokens == [tokenizer.eos_token_id, tokenizer.bos_token_id]
    assert [feature.token_targets["labels"][-1] for feature in features] == list(task.end_tokens)


def test_what_is_too_long_is_cut_and_counted(tokenizer):
    long = "snow " * 60
    rows = examples(
        {"prompt": long + "end:", "completion": "x"},
        {"prompt": "a:", "completion": long},
        {"prompt": "a:", "completion": "snow " * 8},
        {"prompt": "a:", "completion": "x"},
    )
    task, features, said = encode(Generation(max_new_tokens=16), rows, tokenizer, max_length=40)
    assert all(len(feature) <= 40 for feature in features)
    first, second, third, fourth = features
    prompt = tokenizer(long + "end:")["input_ids"]
    assert first.inputs["input_ids"] == [*prompt[-24:], *tokenizer("x")["input_ids"], tokenizer.eos_token_id]
    assert Lost(*first.info) == (len(prompt) - 24, 0, 0)
    assert len(second) == 40 and second.token_targets["labels"][-1] != tokenizer.eos_token_id
    assert second.info[1] > 0 < second.info[2]
    assert third.token_targets["labels"][-1] == tokenizer.eos_token_id and third.info[:2] == [0, 0] < third.info
    assert fourth.info == [0, 0, 0]
    assert sorted(said.values()) == [1, 1, 2]
    assert [task.gold_lost(row, [feature]) for row, feature in zip(rows, features, strict=True)] == [0, 1, 1, 0]


def test_no_room_for_prompts_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="max_new_tokens=64 leaves no room for prompts: max_length is 64"):
        encode(Generation(max_new_tokens=64), examples(ROWS[0]), tokenizer)


def test_records_become_predictions(tokenizer):
    task = Generation(temperature=1.0, num_samples=2).fitted_to(LlamaConfig(), tokenizer)
    ids = [tokenizer(text)["input_ids"] for text in (" Lisbon", " Oslo")]
    records = task.read_records([[[*ids[0], tokenizer.eos_token_id], ids[1]], None], tokenizer)
    first, second = task.decode(records, [], [])
    assert first == {"text": " Lisbon", "finished": True, "tokens": len(ids[0]) + 1, "samples": [" Lisbon", " Oslo"]}
    assert second == {"text": None}


def test_scores():
    rows = examples(*ROWS[:3])
    texts = (("Lisbon", True), ("Yes, it is", True), ("Snow.", False))
    predictions = [{"text": text, "finished": finished} for text, finished in texts]
    task = Generation()
    scores = task.score(predictions, rows)
    assert scores["exact_match"] == scores["finished"] == pytest.approx(2 / 3)
    assert task.rows_right(predictions, rows) == [True, False, True]
    counts = task.primary_counts(predictions, rows)
    assert counts.statistic(counts.counts.sum(0)) == scores["exact_match"]
    assert task.loss_scores(0.0, TextSize(4, 2, 9)) == dict.fromkeys(
        ("perplexity", "perplexity_per_word", "perplexity_per_byte"), 1.0
    )
    assert Generation(metric="loss").score([{"text": None}] * 3, rows) == {}
    same = [*rows, *rows[:1]]
    assert {p["text"] for p in task.baselines(same, rows)["majority"]} == {" Lisbon"}


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_new_tokens": 2.5}, "max_new_tokens=2.5"),
        ({"temperature": -1}, "temperature=-1"),
        ({"num_samples": 3}, "at temperature 0 all samples are the same"),
        ({"metric": "blue"}, "metric='blue'"),
        ({"scores": ["rouge"]}, r"scores=\['rouge'\]"),
        ({"scores": "bleu"}, "scores='bleu'"),
        ({"scores": ["bleu"], "metric": "loss"}, "nothing is generated"),
    ],
)
def test_settings_without_sense_are_refused(settings, what):
    with pytest.raises(ConfigError, match=what):
        Generation(**settings)


def test_a_system_message_without_chats_is_refused():
    with pytest.raises(ConfigError, match="the rows are prompts"):
        Generation.from_examples({"train": examples(ROWS[0])}, system="Be kind.")
    assert Generation.from_examples({"train": examples(*ROWS)}, system="Be kind.").system == "Be kind."


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (3, "predicts for a string"),
        ({"text": "a"}, "predicts for a string"),
        (USER, "predicts for a string"),
        ("  ", "prompt is empty"),
        ({"messages": []}, "no list of messages"),
        ({"messages": [USER, ANSWER]}, "the last message is the assistant's"),
    ],
)
def test_other_inputs_are_refused(value, what):
    with pytest.raises(DataError, match=what):
        Generation().example_from_input(value)


def test_encoder_decoders_get_a_head_of_their_own_or_are_refused(tokenizer):
    assert Generation().fitted_to(T5Config(decoder_start_token_id=0), tokenizer).head == "seq2seq_lm"
    with pytest.raises(ConfigError, match="'t5' writes no texts, or does not say by which token they begin"):
        Generation().fitted_to(T5Config(decoder_start_token_id=None), tokenizer)


def test_several_completions_are_references_and_the_first_is_learned(tokenizer):
    with collect() as said:
        one, other = examples(
            {"prompt": "Say no.", "completion": ["No.", "Not at all."]}, {"prompt": "a", "answer": ["b"]}
        )
    assert [sentence for sentence in said if "1 rows have several completions: the first is learned" in sentence]
    assert (one.completion, one.references, one.answers) == ("No.", ("Not at all.",), ("No.", "Not at all."))
    assert other.answers == ("b",)
    task, (feature, _), _ = encode(Generation(max_new_tokens=8), [one, other], tokenizer)
    learned = [label for label in feature.token_targets["labels"] if label != IGNORED]
    assert tokenizer.decode(learned, skip_special_tokens=True) == "No."
    predictions = [{"text": "Not at  all."}, {"text": "c"}]
    assert task.score(predictions, [one, other]) == {"exact_match": 0.5, "f1": 0.5}
    assert task.rows_right(predictions, [one, other]) == [True, False]
    with pytest.raises(DataError, match="completion is empty"):
        examples({"prompt": "a", "completion": ["b", " "]})


def test_rows_of_equal_prompts_are_one_for_bleu_and_rouge():
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    texts = ["the red bridge over the river is closed", "a closed red bridge", "the old harbour is quiet this morning"]
    rows = examples(*({"prompt": prompt, "completion": text} for prompt, text in zip("aab", texts, strict=True)))
    predictions = [{"text": texts[1]}, {"text": "not looked at"}, {"text": texts[2]}]
    task = Generation(scores=["rougeL"], metric="bleu")
    assert task.scores == ("rougeL", "bleu") and task.primary_metric == "bleu" and Generation(**task.settings()) == task
    scores = task.score(predictions, rows)
    assert (scores["bleu"], scores["rougeL"]) == pytest.approx((1.0, 1.0))
    assert scores["exact_match"] == pytest.approx(1 / 3)  # rows, and not prompts


def test_a_score_without_its_package_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("reasoner.metrics.references.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"bleu needs sacrebleu. Install it: pip install 'reasoner-ft\[texts\]'"):
        Generation.from_examples({"train": examples(ROWS[0])}, metric="bleu")
    with pytest.raises(ConfigError, match="rouge1 needs rouge-score"):
        Generation.from_examples({"train": examples(ROWS[0])}, scores=["rouge1"])
    assert Generation(metric="bleu").primary_metric == "bleu"  # a folder is loaded all the same


def test_the_size_of_completions(tokenizer):
    long = "snow " * 60
    rows = examples({"prompt": "a:", "completion": "It is né closed."}, {"prompt": "a:", "completion": long})
    task, (first, second), _ = encode(Generation(max_new_tokens=16), rows, tokenizer, max_length=40)
    labels = [label for label in first.token_targets["labels"] if label != IGNORED]
    assert task.text_size(rows[0], [first]) == (len(labels), 4, len("It is né closed.".encode()))
    size, kept = task.text_size(rows[1], [second]), 40 - len(tokenizer("a:")["input_ids"])
    share = kept / (len(tokenizer(long)["input_ids"]) + 1)
    assert size == pytest.approx((kept, 60 * share, len(long) * share))
