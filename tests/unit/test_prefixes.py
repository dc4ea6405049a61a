"""Does a tree of sequences give each the log-probability that it has alone, and run what they share once?"""

from __future__ import annotations

from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM

from reasoner.model import TaskModel
from reasoner.prefixes import ROW, Continuation, Tree, shared_sums

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def network(request, tiny_models):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(tiny_models(request.param)).eval()
    for weight in model.parameters():  # so that what stands before a token matters
        torch.nn.init.normal_(weight, std=0.2) if weight.ndim > 1 else None
    return model


def rows_of(seed, *, groups=7, common=0):
    """Return prompts with choices of differing length; the choices of a prompt may begin alike."""
    random = Random(seed)
    words = [[random.randrange(5, 500) for _ in range(random.randrange(1, 30))] for _ in range(groups)]
    before = [random.randrange(5, 500) for _ in range(common)]
    rows = []
    for prompt in words:
        begin = [random.randrange(5, 500) for _ in range(random.choice([0, 3]))]
        for _ in range(random.randrange(2, 5)):
            choice = begin + [random.randrange(5, 500) for _ in range(random.randrange(1, 9))]
            asked = before + prompt
            rows.append(Continuation(asked + choice, [-100] * len(asked) + [1] * len(choice)))
    return rows


@torch.no_grad()
def alone(network, rows):
    """Plain transformers, one sequence at a time."""
    sums = []
    for row in rows:
        logits = network(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
        sums.append(sum(logits[place - 1, row.ids[place]].item() for place in range(row.start, len(row.ids))))
    return torch.tensor(sums)


@torch.no_grad()
def together(network, rows):
    return shared_sums(TaskModel(network, torch.nn.Identity()), rows, device=CPU)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_each_sequence_alone(network, seed):
    rows = rows_of(seed)
    assert torch.allclose(together(network, rows), alone(network, rows), rtol=0, atol=1e-4)


def test_what_all_begin_with_is_shared_too(network):
    rows = rows_of(9, groups=20, common=60)
    assert torch.allclose(together(network, rows), alone(network, rows), rtol=0, atol=1e-4)


def test_a_longer_row_than_a_tree_usually_holds(network):
    if network.config.model_type == "gpt2":
        pytest.skip("its table of positions ends at 128")
    ids = [7 + place % 400 for place in range(ROW + 40)]
    rows = [Continuation([*ids, one, 9], [-100] * len(ids) + [1, 1]) for one in (5, 6)]
    assert torch.allclose(together(network, rows), alone(network, rows), rtol=0, atol=1e-4)


def test_equal_sequences_and_single_tokens(network):
    rows = [Continuation([7, 8, 9], [-100, -100, 1])] * 2 + [Continuation([7, 8, 10], [-100, -100, 1])]
    found = together(network, rows)
    assert torch.allclose(found, alone(network, rows), rtol=0, atol=1e-4) and found[0] == found[1]


def test_eager_attention_gives_the_same(network):
    rows = rows_of(3)
    expected = alone(network, rows)
    network.set_attn_implementation("eager")
    try:
        assert torch.allclose(together(network, rows), expected, rtol=0, atol=1e-4)
    finally:
        network.set_attn_implementation("sdpa")


def test_each_shared_token_is_run_once(network):
    """Two choices after ten tokens, the first two of the choices alike: 10 + 2 + 1 + 2, last tokens left out."""
    prompt, positions = list(range(20, 30)), []
    rows = [Continuation([*prompt, 5, 6, *rest], [-100] * 10 + [1] * (2 + len(rest))) for rest in ([7, 8], [9, 10, 11])]
    handle = network.get_input_embeddings().register_forward_pre_hook(lambda _, given: positions.append(given[0].shape))
    found = together(network, rows)
    handle.remove()
    assert positions == [(1, 15)]
    assert torch.allclose(found, alone(network, rows), rtol=0, atol=1e-4)


def test_a_tree_counts_what_is_new():
    tree = Tree()
    assert tree.add([1, 2, 3]) == [0, 1, 2] and tree.add([1, 2, 4]) == [0, 1, 3]
    assert tree.more([[1, 2, 3], [1, 5, 6], [1, 5, 7], [2]]) == 4
    assert (tree.tokens, tree.parents) == ([1, 2, 3, 4], [-1, 0, 1, 1])
