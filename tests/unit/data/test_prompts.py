"""Is a row put before a decoder as the template says, tokenised as one text, and cut by whole examples?"""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from reasoner.data.prompts import Asked, Prompt, Shot, choice_features
from reasoner.errors import ConfigError, DataError
from reasoner.notices import collect, counting

NAMES = ("context", "question")
TEMPLATE = "{context}\nQuestion: {question}\nAnswer:"


def prompt(template=TEMPLATE, way="likelihood", **given):
    return Prompt.of(given, way=way, template=template, words={}, names=NAMES, answer="choice")


def asked(question="Where is it?", choices=("in the snow", "on the bridge"), context="", right=None):
    return Asked({"context": context, "question": question}, choices, right, "row 1")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def tokenizer(request, tiny_models):
    return AutoTokenizer.from_pretrained(tiny_models(request.param))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"context": "It snows.", "question": "Why?"}, "It snows.\nQuestion: Why?\nAnswer:"),
        ({"context": "", "question": "Why?"}, "Question: Why?\nAnswer:"),  # a line without its field
        ({"context": "", "question": "Question: Why?\n"}, "Question: Why?\nAnswer:"),  # said once
        ({"context": "", "question": "{odd} Why?"}, "Question: {odd} Why?\nAnswer:"),
        ({"context": "", "question": ""}, "Answer:"),
    ],
)
def test_templates(texts, expected):
    assert prompt().render(texts) == expected


@pytest.mark.parametrize(
    ("template", "context", "expected"),
    [
        ("{question} It is {mask}.", "", ("Why? It is ", ".")),
        ("{context}\n{question}\n{mask} so\n{context}", "", ("Why?\n", " so")),  # lines without their field
        ("{context} {mask}\n{question}", "", ("", "\nWhy?")),
        ("{context}: {mask}{context}\n{question}", "It {snows}", ("It {snows}: ", "It {snows}\nWhy?")),
    ],
)
def test_what_stands_around_a_mask(template, context, expected):
    assert prompt(template, "cloze").around({"context": context, "question": "Why?"}) == expected


def test_what_is_said_of_a_row():
    assert prompt("It is {choice}, {choice}!", "similarity").said(" so ") == "It is so, so!"


def test_the_domain_is_the_last_line_unless_that_has_a_field():
    assert prompt().domain == "Answer:"
    assert prompt("{question} so").domain == ""
    assert prompt(domain="so").domain == "so"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"template": "{questoin}"}, "The template has the field {questoin}. Did you mean 'question'?"),
        ({"template": "Answer:"}, "The template has no field"),
        ({"template": "{question"}, "Write a brace of the text itself twice"),
        ({"words": {"a": " yes", "b": "yes"}}, "'b' and 'a' are both 'yes'"),
        ({"words": {"a": " "}}, "label 'a' has the word ' '. Give it a text."),
        ({"temlate": "{question}"}, "prompt has the key 'temlate'. Did you mean 'template'?"),
    ],
)
def test_prompts_that_are_refused(given, message):
    with pytest.raises(ConfigError) as caught:
        prompt(**given)
    assert message in str(caught.value)


def test_prompt_and_choice_are_tokenised_as_one_text(tokenizer):
    (group,) = choice_features(prompt(), [asked(right=1)], tokenizer, max_length=128)
    for feature, choice in zip(group, ("in the snow", "on the bridge"), strict=True):
        ids, sizes = feature.inputs["input_ids"], feature.token_targets["sizes"]
        assert ids == tokenizer(f"Question: Where is it?\nAnswer: {choice}")["input_ids"]
        first = next(place for place, size in enumerate(sizes) if size >= 0)
        assert tokenizer.decode(ids[first:]) == f" {choice}"
        assert sum(size for size in sizes if size >= 0) == len(choice)
    assert [feature.targets for feature in group] == [{"labels": 0.0}, {"labels": 1.0}]


def test_bytes_are_those_of_the_choice(tokenizer):
    choices = ("é€🎈", "naïve ", "日本")
    (group,) = choice_features(prompt(), [asked(choices=choices)], tokenizer, max_length=128)
    sizes = [sum(size for size in feature.token_targets["sizes"] if size >= 0) for feature in group]
    assert sizes == [len(choice.strip().encode()) for choice in choices]


def test_a_choice_without_a_prompt_has_a_token_before_it(tokenizer):
    (group,) = choice_features(prompt("{question}"), [asked("")], tokenizer, max_length=128)
    for feature in group:
        assert feature.token_targets["sizes"][0] == -100 and feature.token_targets["sizes"][1] >= 0


def test_a_prompt_that_ends_with_white_space_gets_no_space_more(tokenizer):
    (group,) = choice_features(prompt("{question}\n"), [asked()], tokenizer, max_length=128)
    assert group[0].inputs["input_ids"] == tokenizer("Where is it?\nin the snow")["input_ids"]


def test_an_empty_choice_is_refused(tokenizer):
    with pytest.raises(DataError, match="row 1: choice 2 is empty and has no likelihood"):
        choice_features(prompt(), [asked(choices=("a", " "))], tokenizer, max_length=128)


def test_long_prompts_lose_their_beginning_alike_for_all_choices(tokenizer):
    row = asked("The river Danube flows through ten countries. " * 5, ("snow", "a loaf of bread and two apples"))
    with collect() as said, counting():
        (group,) = choice_features(prompt(), [row], tokenizer, max_length=40)
    assert said == ["1 prompts are too long for max_length=40 tokens; their beginning was cut."]
    prompts = [[i for i, size in zip(f.inputs["input_ids"], f.token_targets["sizes"], strict=True) if size == -100]
               for f in group]  # fmt: skip
    assert prompts[0] == prompts[1] and tokenizer.decode(prompts[0]).endswith("countries.\nAnswer:")
    assert max(map(len, group)) == 40


def test_long_choices_lose_their_end(tokenizer):
    with collect() as said, counting():
        (group,) = choice_features(prompt(), [asked(choices=("snow " * 30, "red"))], tokenizer, max_length=16)
    assert "1 rows have a choice of more than 15 tokens; its end was cut." in said
    assert max(map(len, group)) == 16 and all(feature.token_targets["sizes"][0] == -100 for feature in group)


SHOTS = tuple(Shot(f"Question: Is {name} here?\nAnswer: {answer}", f"Is {name} here?")
              for name, answer in (("Maria", "yes"), ("the dog", "no"), ("the old king", "no")))  # fmt: skip


def text_of(feature, tokenizer):
    return tokenizer.decode(feature.inputs["input_ids"])


def test_solved_examples_stand_before_what_is_asked(tokenizer):
    (group,) = choice_features(prompt(shots=SHOTS[:2]), [asked()], tokenizer, max_length=128)
    assert text_of(group[0], tokenizer) == (
        "Question: Is Maria here?\nAnswer: yes\n\nQuestion: Is the dog here?\nAnswer: no\n\n"
        "Question: Where is it?\nAnswer: in the snow"
    )


def test_whole_examples_are_left_out_the_first_ones_first(tokenizer):
    whole = len(choice_features(prompt(shots=SHOTS), [asked()], tokenizer, max_length=128)[0][1])
    with collect() as said, counting():
        (group,) = choice_features(prompt(shots=SHOTS), [asked()], tokenizer, max_length=whole - 1)
    assert said == [
        f"1 solved examples were left out where the prompt would not fit into max_length={whole - 1} tokens."
    ]
    assert text_of(group[0], tokenizer).startswith("Question: Is the dog here?")


def test_the_nearest_stand_last_and_a_row_never_sees_itself(tokenizer):
    own = prompt(shots=SHOTS, order="nearest", number=2)
    rows = [asked("Where is the king?"), asked("Is the dog here?")]
    (near,), (same,) = (
        [text_of(group[0], tokenizer)] for group in choice_features(own, rows, tokenizer, max_length=128)
    )
    assert near.split("\n\n")[1].startswith("Question: Is the old king here?")
    assert near.count("Question:") == 3
    assert same.count("Is the dog here?") == 1


def test_a_solved_example_is_made_of_a_row():
    shot = prompt().solved(asked(right=1, context="It snows."))
    assert shot == Shot("It snows.\nQuestion: Where is it?\nAnswer: on the bridge", "It snows.\nWhere is it?")
