"""Is a save refused when what is read again is not the model, and is what lay there before left alone?"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

import reasoner
from reasoner.errors import CheckpointError


@pytest.fixture
def result(tiny_bert):
    pack = reasoner.synthetic.nli_pack(train=12, validation=6, test=6)
    return reasoner.fine_tune(
        tiny_bert, pack, task="nli", max_steps=1, use_cpu=True, check=False, evaluate_before=False
    )


def damaging(monkeypatch, network, damage):
    """Let the network's file be changed after it was written."""
    save = type(network).save_pretrained

    def save_and_damage(self, folder, **settings):
        save(self, folder, **settings)
        state = load_file(folder / "model.safetensors")
        damage(state)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(type(network), "save_pretrained", save_and_damage)


def test_a_weight_that_is_not_what_it_was_is_found_and_the_old_folder_stays(result, tmp_path, monkeypatch):
    result.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def nudge(state):
        state["classifier.weight"][0, 0] += 1e-6

    damaging(monkeypatch, result.predictor.model.network, nudge)
    with pytest.raises(CheckpointError, match=r"read again, its weight network\.classifier\.weight is another"):
        result.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_weight_that_is_no_number_is_saved_as_it_is(result, tmp_path):
    with torch.no_grad():
        result.predictor.model.network.base_model.embeddings.word_embeddings.weight[5] = torch.nan
    result.save(tmp_path)
    assert reasoner.load(tmp_path).predictor.model.network.base_model.embeddings.word_embeddings.weight[5].isnan().all()


def test_nothing_random_is_moved_on_and_the_mode_stays(result, tmp_path):
    model = result.predictor.model.train()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    result.save(tmp_path)
    assert torch.equal(torch.rand(4), expected) and model.training
