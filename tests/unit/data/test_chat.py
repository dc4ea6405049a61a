"""Do messages become the text that the template makes of them, and is the end of an answer found?"""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from reasoner.data.chat import PLAIN_TEMPLATE, Message, chat_text, end_of_turn, read_messages
from reasoner.data.examples import RowError
from reasoner.errors import ConfigError, DataError
from reasoner.notices import collect, counting

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
STRICT = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('roles must alternate') }}{% endif %}" + TEMPLATE
CHAT = [Message("user", "Who?"), Message("assistant", "I."), Message("user", "Why?")]


@pytest.fixture
def tokenizer(tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models("llama"))


def test_the_template_of_the_tokenizer(tokenizer):
    tokenizer.chat_template = TEMPLATE
    assert chat_text(tokenizer, CHAT[:1]) == "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    assert chat_text(tokenizer, CHAT[:1], answer=False) == "<|im_start|>user\nWho?<|im_end|>\n"


def test_a_plain_template_where_there_is_none_and_it_is_said_once(tokenizer):
    assert tokenizer.chat_template is None
    with collect() as said:
        for _ in range(2):
            text = chat_text(tokenizer, CHAT)
    assert text == "User:\nWho?\n\nAssistant:\nI.\n\nUser:\nWhy?\n\nAssistant:\n"
    assert len(said) == 1 and "no chat template" in said[0]
    tokenizer.chat_template = PLAIN_TEMPLATE
    assert chat_text(tokenizer, CHAT) == text


def test_what_the_template_refuses_is_refused_with_its_place(tokenizer):
    tokenizer.chat_template = STRICT
    with pytest.raises(DataError, match=r"^a\.jsonl, line 3: .* refuses messages of system, user: .*must alternate"):
        chat_text(tokenizer, [Message("system", "Be kind."), CHAT[0]], where="a.jsonl, line 3")


def test_the_end_of_an_answer(tokenizer):
    begin, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert end_of_turn(tokenizer) == end == tokenizer.eos_token_id
    tokenizer.chat_template = TEMPLATE
    assert end_of_turn(tokenizer) == end
    tokenizer.chat_template = TEMPLATE.replace("im_end", "im_start")  # a turn ends with another token than a text
    assert end_of_turn(tokenizer) == begin
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"
    assert end_of_turn(tokenizer) == end


def test_no_end_token_is_refused(tokenizer):
    tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="no end token"):
        end_of_turn(tokenizer)


def test_both_forms_of_messages():
    ours = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    theirs = [{"from": "system", "value": "s"}, {"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]
    assert read_messages(ours) == read_messages(theirs) == (("system", "s"), ("user", "u"), ("assistant", "a"))
    with counting() as counted:
        read_messages([{**ours[0], "weight": 0}, {**ours[1], "name": "Ada"}])
        assert list(counted.values()) == [1]  # a weight of 0 and None say nothing
        counted.clear()


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([], "no list of messages"),
        ("hello", "no list of messages"),
        (["hello"], "message 1 has no role"),
        ([{"role": "user", "content": "u"}, {"content": "a"}], "message 2 has no role"),
        ([{"role": "user", "content": " "}], r"message 1 \(user\) has no text"),
        ([{"role": "assistant", "content": None, "tool_calls": [1]}], r"message 1 \(assistant\) has no text"),
    ],
)
def test_what_is_no_chat_is_refused(value, what):
    with pytest.raises(RowError, match=what):
        read_messages(value)
