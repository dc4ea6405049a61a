"""Is what is written in a batch that becomes smaller what each row gives alone, and what is left out of the work?"""

from __future__ import annotations

from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, MistralConfig, MistralForCausalLM
from transformers.cache_utils import DynamicLayer

from reasoner import generating
from reasoner.generating import _Roomy, generate

MOST = 40
VOCABULARY = 600
ENDS = list(range(0, VOCABULARY, 12))


@pytest.fixture(scope="module", params=["llama", "gpt2", "sliding windows"])
def network(request, tiny_models):
    torch.manual_seed(1)
    if request.param == "sliding windows":
        model = MistralForCausalLM(
            MistralConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                sliding_window=7,
            )
        ).eval()
    else:
        model = AutoModelForCausalLM.from_pretrained(tiny_models(request.param)).eval()
    model.generation_config = GenerationConfig()  # what a checkpoint says of it does not count
    for weight in model.parameters():  # so that what stands before a token matters
        torch.nn.init.normal_(weight, std=0.3) if weight.ndim > 1 else None
    return model


def settings(**others):
    return {"do_sample": False, "max_new_tokens": MOST, "eos_token_id": ENDS, "pad_token_id": ENDS[0], **others}


def prompts(*, rows=24, shortest=1):
    random = Random(3)
    texts = [[random.randrange(1, VOCABULARY) for _ in range(random.randrange(shortest, 20))] for _ in range(rows)]
    length = max(map(len, texts))
    ids = torch.tensor([[0] * (length - len(text)) + text for text in texts])
    mask = torch.tensor([[0] * (length - len(text)) + [1] * len(text) for text in texts])
    return texts, {"input_ids": ids, "attention_mask": mask}


def until_end(tokens):
    place = next((place for place, token in enumerate(tokens) if token in ENDS), len(tokens))
    return tokens[: place + 1]


@pytest.fixture
def positions(network):
    """How many each pass ran."""
    found = []
    handle = network.register_forward_pre_hook(
        lambda _, args, kwargs: found.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    yield found
    handle.remove()


@torch.no_grad()
def test_each_row_is_what_plain_transformers_writes_for_it_alone(network, positions):
    texts, inputs = prompts()
    alone = [
        network.generate(input_ids=torch.tensor([text]), generation_config=GenerationConfig(**settings()))[0]
        for text in texts
    ]
    expected = [until_end(row[len(text) :].tolist()) for row, text in zip(alone, texts, strict=True)]
    assert len({len(row) for row in expected}) > 8 and max(map(len, expected)) > 15
    positions.clear()
    found = generate(network, None, inputs, settings())
    assert [until_end(row) for row in found.tolist()] == expected
    assert found.shape[1] == max(map(len, expected))
    rows, length = inputs["input_ids"].shape
    assert positions[0] == rows * (length - 1)
    needed, plain = sum(map(len, expected)), rows * max(map(len, expected))
    assert needed <= sum(positions[1:]) < needed + 0.35 * (plain - needed)


@torch.no_grad()
def test_several_texts_of_a_prompt_end_each_for_itself(network, positions):
    texts, inputs = prompts(rows=6, shortest=2)
    drawn = settings(do_sample=True, temperature=1.5, top_k=0, num_return_sequences=5)
    torch.manual_seed(0)
    found = [until_end(row) for row in generate(network, None, inputs, drawn).tolist()]
    assert len(found) == 30 and len(set(map(tuple, found))) > 15
    assert sum(positions[1:]) < 0.8 * 30 * max(map(len, found))
    for number, row in enumerate(found):  # each token was drawn where the network gives it a chance
        ids = torch.tensor([texts[number // 5] + row])
        chances = network(input_ids=ids).logits[0, -len(row) - 1 : -1].div(1.5).softmax(-1)
        assert chances.gather(1, torch.tensor(row)[:, None]).min() > 1e-7


@torch.no_grad()
def test_where_no_row_ends_the_same_numbers_draw_the_same_texts_as_in_transformers(network):
    _, inputs = prompts(rows=4, shortest=2)
    drawn = settings(do_sample=True, top_k=0, num_return_sequences=3, max_new_tokens=9, eos_token_id=None)
    torch.manual_seed(0)
    plain = network.generate(**inputs, generation_config=GenerationConfig(**drawn))
    torch.manual_seed(0)
    assert torch.equal(generate(network, None, inputs, drawn), plain[:, inputs["input_ids"].shape[1] :])


@torch.no_grad()
def test_what_does_not_mean_the_same_in_parts_is_left_to_transformers(network, monkeypatch):
    _, inputs = prompts(rows=4)
    monkeypatch.setattr(generating, "_part", lambda *_, **__: pytest.fail("in parts"))
    asked = settings(min_new_tokens=5)
    plain = network.generate(**inputs, generation_config=GenerationConfig(**asked))
    assert torch.equal(generate(network, None, inputs, asked), plain[:, inputs["input_ids"].shape[1] :])
    one = {name: value[:, -1:] for name, value in inputs.items()}
    assert generate(network, None, one, settings()).shape[0] == 4  # before one token there is nothing to run


@torch.no_grad()
def test_a_network_with_another_cache_is_left_to_transformers(network, monkeypatch):
    _, inputs = prompts(rows=4)
    expected = generate(network, None, inputs, settings())
    monkeypatch.setattr(generating, "DynamicCache", type("OtherCache", (), {}))
    assert torch.equal(generate(network, None, inputs, settings()), expected)


@pytest.mark.parametrize("seed", range(10))
def test_a_layer_with_room_holds_what_transformers_own_does(seed):
    random = Random(seed)
    torch.manual_seed(seed)
    own, roomy = DynamicLayer(), DynamicLayer()
    new = torch.randn(4, 2, 5, 3), torch.randn(4, 2, 5, 4)  # keys may have another width than values
    own.update(*new), roomy.update(*new)
    roomy.__class__ = _Roomy
    for _ in range(60):
        if random.random() < 0.2:
            chosen = torch.tensor([random.randrange(own.keys.shape[0]) for _ in range(random.randrange(1, 6))])
            own.batch_select_indices(chosen), roomy.batch_select_indices(chosen)
        if random.random() < 0.1:
            own.crop(-2), roomy.crop(-2)
        rows, tokens = own.keys.shape[0], random.choice([1, 1, 3])
        new = torch.randn(rows, 2, tokens, 3), torch.randn(rows, 2, tokens, 4)
        for one, other in zip(own.update(*new), roomy.update(*new), strict=True):
            assert torch.equal(one, other)
        assert own.get_seq_length() == roomy.get_seq_length()
