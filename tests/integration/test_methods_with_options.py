"""Do tuning methods and the options for more score work together, and is what comes out read back as it was?"""

from __future__ import annotations

import pytest

import reasoner

OPTIONS = {
    "ema_decay": 0.9,
    "average_checkpoints": 2,
    "r_drop": 1.0,
    "adversarial_epsilon": 0.5,
    "layer_decay": 0.9,
    "head_learning_rate": 1e-3,
    "balanced_sampling": True,
}


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_below_virtual_tokens_nothing_is_computed_again(tiny_bert, method):
    pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    pack = reasoner.synthetic.nli_pack(train=12, validation=6, test=6)
    with pytest.raises(reasoner.ConfigError, match="Leave gradient_checkpointing out, or take method='lora'"):
        reasoner.fine_tune(tiny_bert, pack, task="nli", method=method, gradient_checkpointing=True, use_cpu=True)


@pytest.mark.parametrize("method", ["full", "head", "gradual", "bitfit", "adapter", "lora", "prompt"])
def test_every_option_at_once(tiny_bert, tmp_path, method):
    pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    pack = reasoner.synthetic.nli_pack(train=12, validation=6, test=6)
    settings = {"num_train_epochs": 2, "disable_tqdm": True, "use_cpu": True, "check": False, **OPTIONS}
    result = reasoner.fine_tune(tiny_bert, pack, task="nli", method=method, output_dir=tmp_path, **settings)
    averages = [row for row in result.history if row["split"] == "average"]
    assert len(averages) == 1 and {**result.run.config, **OPTIONS} == result.run.config
    pairs = [(row["premise"], row["hypothesis"]) for row in pack["test"]]
    assert reasoner.load(tmp_path).predict(pairs) == result.predict(pairs)
