"""Are partition function, marginals and best path those of listing every label sequence, whatever the padding?"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoner.chains import ILLEGAL, Chain, best_path, chain_of, log_partition, marginals, path_score, put_back
from reasoner.data.tag_schemes import ill_formed, legal_steps

CASES = 300


def listed(emissions, fresh, transitions):
    """Every label sequence of one row and its score, worked out one by one in Python."""
    words, labels = emissions.shape
    scored = {}
    for path in product(range(labels), repeat=words):
        score, before = 0.0, labels
        for word, label in enumerate(path):
            score += float(emissions[word, label]) + (0.0 if fresh[word] else float(transitions[before, label]))
            before = label
        scored[path] = score
    return scored


def random_case(seed, dtype):
    """A chain of three rows of 0 to 4 words, some of them fresh, and transitions, some of them illegal."""
    generator = torch.Generator().manual_seed(seed)

    def number(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    labels, lengths = number(2, 4), [number(0, 5) for _ in range(3)]
    words = max(*lengths, 1)
    emissions = (2 * torch.randn(3, words, labels, generator=generator, dtype=torch.float64)).to(dtype)
    held = torch.arange(words) < torch.tensor(lengths).unsqueeze(1)
    fresh = torch.rand(3, words, generator=generator) < 0.15
    transitions = torch.randn(labels + 1, labels, generator=generator, dtype=torch.float64).to(dtype)
    illegal = torch.rand(labels + 1, labels, generator=generator) < 0.25
    illegal[:, 0] = False  # as O in IOB2: a path is always left
    return Chain(emissions, held, fresh), transitions.masked_fill(illegal, ILLEGAL), lengths


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_partition_best_path_and_marginals_are_those_of_enumeration(dtype, tolerance):
    for seed in range(CASES):
        chain, transitions, lengths = random_case(seed, dtype)
        partition, paths = log_partition(chain, transitions), best_path(chain, transitions)
        probabilities = marginals(chain, transitions)
        for row, length in enumerate(lengths):
            scored = listed(chain.emissions[row, :length].double(), chain.fresh[row], transitions.double())
            scores = torch.tensor(list(scored.values()), dtype=torch.float64)
            assert float(partition[row]) == pytest.approx(float(scores.logsumexp(0)), abs=tolerance, rel=tolerance)
            found = tuple(paths[row, :length].tolist())
            assert scored[found] == pytest.approx(max(scored.values()), abs=tolerance)
            weights = scores.softmax(0)
            for word in range(length):
                for label in range(chain.emissions.shape[-1]):
                    expected = sum(float(w) for path, w in zip(scored, weights, strict=True) if path[word] == label)
                    assert float(probabilities[row, word, label]) == pytest.approx(expected, abs=10 * tolerance)


def test_the_score_of_a_path_is_the_listed_one():
    for seed in range(50):
        chain, transitions, lengths = random_case(seed, torch.float64)
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, chain.emissions.shape[-1], chain.held.shape, generator=generator)
        found = path_score(chain, transitions, labels)
        for row, length in enumerate(lengths):
            scored = listed(chain.emissions[row, :length], chain.fresh[row], transitions)
            assert float(found[row]) == pytest.approx(scored[tuple(labels[row, :length].tolist())], abs=1e-9)


def test_the_gradient_of_the_partition_is_the_marginals():
    chain, transitions, _ = random_case(3, torch.float64)
    emissions = chain.emissions.clone().requires_grad_()
    log_partition(chain._replace(emissions=emissions), transitions).sum().backward()
    expected = marginals(chain, transitions) * chain.held.unsqueeze(-1)
    torch.testing.assert_close(emissions.grad, expected)


def test_words_are_gathered_in_order_and_put_back():
    words = torch.tensor([[0, 1, 0, 1, -100], [2, 0, 0, 0, -100], [0, 0, 0, 0, 0]])
    emissions = torch.arange(15.0).view(3, 5, 1)
    chain, places = chain_of(emissions, words)
    assert chain.held.tolist() == [[True, True], [True, False], [False, False]]
    assert chain.emissions[0, :, 0].tolist() == [1.0, 3.0] and float(chain.emissions[1, 0, 0]) == 5.0
    assert chain.fresh[0].tolist() == [False, False] and bool(chain.fresh[1, 0])
    back = put_back(torch.full((3, 2), 7), chain, places, torch.zeros(3, 5, dtype=torch.long))
    assert back.tolist() == [[0, 7, 0, 7, 0], [7, 0, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_no_word_at_all_gives_nothing():
    chain, places = chain_of(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long))
    assert places.shape == (2, 0) and best_path(chain, torch.zeros(5, 4)).shape == (2, 0)
    assert (
        log_partition(chain, torch.zeros(5, 4)).tolist() == [0, 0] and marginals(chain, torch.zeros(5, 4)).numel() == 0
    )


TAGS = ("O", "B-A", "I-A", "B-B", "I-B", "B-C-D", "I-C-D")


@settings(max_examples=100)
@given(
    logits=st.lists(st.lists(st.floats(-1e5, 1e5, width=32), min_size=7, max_size=7), min_size=1, max_size=12),
    seed=st.integers(0, 2**16),
)
def test_no_best_path_is_illegal(logits, seed):
    legal = torch.tensor(legal_steps(TAGS))
    transitions = torch.randn(8, 7, generator=torch.Generator().manual_seed(seed)).masked_fill(~legal, ILLEGAL)
    emissions = torch.tensor(logits).unsqueeze(0)
    held = torch.ones(1, len(logits), dtype=torch.bool)
    (path,) = best_path(Chain(emissions, held, torch.zeros_like(held)), transitions)
    assert ill_formed([TAGS[label] for label in path], "IOB2") == []


def test_legal_steps_are_those_that_make_no_ill_formed_pair():
    legal = legal_steps(TAGS)
    for before, row in zip(TAGS, legal, strict=False):
        beginning = [f"B{before[1:]}"] if before[0] == "I" else []
        for after, allowed in zip(TAGS, row, strict=True):
            assert allowed == (not ill_formed([*beginning, before, after], "IOB2")), (before, after)
    assert legal[-1] == [tag[0] != "I" for tag in TAGS]
