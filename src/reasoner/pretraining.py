"""How does a model go on pretraining, on a user's unlabelled texts, before it is tuned on a task?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from reasoner.base_model import model_source
from reasoner.data.batching import Batches, padding_of
from reasoner.data.masking import Masker
from reasoner.data.texts import read_texts
from reasoner.errors import ConfigError
from reasoner.language_model import LanguageModel, LanguageNetwork, TokenBatches, language_network, text_features
from reasoner.losses import sum_of
from reasoner.metrics.generation import TextSize, perplexities
from reasoner.model import LONGEST_DEFAULT, length_limit, read_config
from reasoner.notices import collect, quietly, say
from reasoner.origins import PERPLEXITIES, PRETRAINING_FILE, perplexity_name
from reasoner.preparation import load_tokenizer, name_of_model, versions
from reasoner.training.callbacks import Callback, Progress
from reasoner.training.config import TrainingConfig
from reasoner.training.early_stopping import EarlyStopping
from reasoner.training.engine import autocast, choose_device, seed_everything
from reasoner.training.forecast import Forecast
from reasoner.training.ranks import refuse_several
from reasoner.training.trainer import Trainer

LEARNING_RATE = 1e-4
"""That of Gururangan et al. (2020, table 13)."""
MEANINGLESS = (
    *("dropout", "stride", "evaluate_before", "gradient_checkpointing", "torch_compile", "feature_cache"),
    *("frozen_cache_mb", "frozen_cache_disk_mb", "balanced_sampling", "r_drop", "adversarial_epsilon"),
    *("max_forgetting", "complete_labels", "refit", "fsdp"),
    "language_modeling_weight",
    *("layer_decay", "head_learning_rate", "reinitialize_layers", "checkpoint_steps", "keep_checkpoints"),
    *("teacher", "distillation_weight", "distillation_temperature", "debias", "debias_form", "debias_strength"),
    *("augmentation", "augmentation_edits", "consistency", "counterfactuals"),
)
"""Settings of a training on a task that this one does not have."""


@dataclass(frozen=True)
class Pretraining:
    """What came of it. `fine_tune(result.folder, ...)` starts from it."""

    folder: Path
    before: dict[str, float]
    """On the texts that were held out: `loss` (nats a predicted token), and `perplexity` of a token, with
    `perplexity_per_word` and `perplexity_per_byte`. With masked tokens these are called `masked_perplexity`, and so on:
    of 15% of the tokens at a time, given the others. That is no perplexity of a text."""
    after: dict[str, float]
    texts: dict[str, int]
    """How many, by "train" and "validation"."""
    history: list[dict[str, Any]]
    notices: list[str]

    def __str__(self) -> str:
        name = perplexity_name(self.before)
        before, after = self.before[name], self.after[name]
        return (f"{self.folder}: {name.replace('_', ' ')} on {self.texts['validation']} held-out texts {before:.2f} "
                f"before, {after:.2f} after {self.texts['train']} texts.")  # fmt: skip


def pretrain(
    model: str | Path | None,
    texts: Any,
    *,
    output_dir: str | Path,
    column: str = "text",
    masking: str = "tokens",
    config: TrainingConfig | None = None,
    callbacks: Sequence[Callback] = (),
    **overrides: Any,
) -> Pretraining:
    """Go on pretraining a model on unlabelled texts of the task's kind, so that `fine_tune` starts nearer to them.

    Task-adaptive pretraining (Gururangan et al., 2020, "Don't Stop Pretraining", https://arxiv.org/abs/2004.10964).
    Encoders predict masked tokens (Devlin et al., 2019), decoders the next token. Long texts are cut into pieces of
    `max_length` tokens.

    Args:
        model: a Hub id or a folder; None: the embedded default.
        texts: a list of strings, a file of lines, or a table with a column of texts (see `read_rows`).
        output_dir: where the model is written, in the Hugging Face layout, when training ends.
        column: which column holds the texts, where there are columns.
        masking: what an encoder predicts: single "tokens", whole "words", or "spans" of words; see `Masker`.
        config: the training settings; `overrides` change fields of it. `validation_share` of the texts are held out.
        callbacks: as in `fine_tune`.
        overrides: fields of `TrainingConfig`.

    Raises:
        ConfigError: if a setting means nothing here, or the model has no such form.
        DataError: if the texts cannot be read.

    Examples:
        >>> import reasoner
        >>> done = reasoner.pretrain(None, ["Some text.", "More of it."], output_dir="adapted")  # doctest: +SKIP
    """
    refuse_several("pretrain")
    with collect() as notices:
        settings = _settings(TrainingConfig.from_overrides(config, overrides))
        source = model_source(model)
        seed_everything(settings.seed)
        tokenizer = load_tokenizer(source)
        train, held_out = _split(read_texts(texts, column, as_is=True), settings)
        (network, masked, _), pooler = _network(source, tokenizer)
        if masking != "tokens" and not masked:
            raise ConfigError(f"masking='{masking}': this model predicts the next token, and masks none. Leave it out.")
        masker = Masker(tokenizer, masking) if masked else None
        trainer = _trainer(LanguageModel(network), tokenizer, train, held_out, masker, settings, callbacks)
        assert trainer.evaluate is not None
        before = trainer.evaluate()
        history = trainer.train()
        after = trainer.evaluate()
        folder = Path(output_dir)
        with quietly():
            network.save_pretrained(folder, state_dict={**network.state_dict(), **pooler})
        tokenizer.backend_tokenizer.no_truncation()  # or the file would hold that of the last call
        tokenizer.save_pretrained(folder)
        counts = {"train": len(train), "validation": len(held_out)}
        done = Pretraining(folder, before, after, counts, history.rows, list(notices))
        _write_record(done, name_of_model(model), masking if masked else None, settings)
        return done


def _settings(config: TrainingConfig) -> TrainingConfig:
    defaults = TrainingConfig()
    named = [item.name for item in fields(config)]
    wrong = [name for name in named if name in MEANINGLESS and getattr(config, name) != getattr(defaults, name)]
    if wrong:
        raise ConfigError(f"pretrain has no {', '.join(wrong)}. Leave it out.")
    if config.learning_rate is None:
        say(f"Learning rate {LEARNING_RATE:.2g}, that of Gururangan et al. (2020).")
        return TrainingConfig.from_overrides(config, {"learning_rate": LEARNING_RATE})
    return config


def _split(texts: list[str], config: TrainingConfig) -> tuple[list[str], list[str]]:
    """Hold a share of the texts out, one at least, at random."""
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(texts), generator=generator).tolist()
    number = min(max(1, round(config.validation_share * len(texts))), len(texts) - 1)
    return [texts[index] for index in sorted(order[number:])], [texts[index] for index in sorted(order[:number])]


def _network(source: str | Path, tokenizer: Any) -> tuple[LanguageNetwork, dict[str, Any]]:
    """Return the network with its output layer, and the checkpoint's pooler, which has no part in it."""
    from transformers import AutoModel

    made = language_network(source, read_config(source), tokenizer)
    if made.is_new:
        tied = (
            " Its output layer is the table of embeddings (tied)."
            if getattr(made.network.config, "tie_word_embeddings", False)
            else ""
        )
        say(f"The checkpoint has no output layer over the vocabulary; a new one was made.{tied}")
    with quietly():
        backbone, report = AutoModel.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    prefix = made.network.base_model_prefix
    poolers = {name: weight for name, weight in backbone.state_dict().items() if name.startswith("pooler.")}
    known = not poolers.keys() & set(report["missing_keys"])
    return made, {f"{prefix}.{name}": weight for name, weight in poolers.items()} if known else {}


def _trainer(
    model: LanguageModel,
    tokenizer: Any,
    train: list[str],
    held_out: list[str],
    masker: Masker | None,
    config: TrainingConfig,
    callbacks: Sequence[Callback],
) -> Trainer:
    limit = length_limit(model.network, tokenizer)
    if config.max_length and config.max_length > limit:
        raise ConfigError(f"max_length={config.max_length}, but the model takes {limit} tokens. Give at most that.")
    model.to(choose_device(config.use_cpu)).pack(config.packing, padding_side=tokenizer.padding_side)

    longest = config.max_length or min(limit, LONGEST_DEFAULT)
    words = masker is not None and masker.masking != "tokens"

    def batches(texts: list[str], size: int, shuffle: bool) -> tuple[TokenBatches, TextSize]:
        _, features, text = text_features(tokenizer, texts, masked=masker is not None, max_length=longest, words=words)
        made = Batches(features, size, tokens_per_batch=config.tokens_per_batch, padding=padding_of(tokenizer),
                       shuffle=shuffle, seed=config.seed, padding_side=tokenizer.padding_side)  # fmt: skip
        return TokenBatches(made, masker, seed=config.seed + (not shuffle)), text

    scored, size = batches(held_out, config.per_device_eval_batch_size, False)
    forecast = Forecast(evaluation_tokens=int(scored.batches.lengths.sum()))
    return Trainer(
        model,
        batches(train, config.per_device_train_batch_size, True)[0],
        config=config,
        evaluate=partial(_scores, model, scored, size, config),
        stopping=EarlyStopping("loss", False, config.patience, config.min_delta),
        callbacks=[Progress(disable=config.disable_tqdm, forecast=forecast), *callbacks],
    )


@torch.inference_mode()
def _scores(model: LanguageModel, batches: TokenBatches, size: TextSize, config: TrainingConfig) -> dict[str, float]:
    """Return loss and perplexities on the tokens to predict, the same ones each time."""
    device = next(model.eval().parameters()).device
    losses = []
    for batch in batches:
        placed = batch.to(device)
        with autocast(device, config.bf16):
            losses.append(model.loss(model(placed), placed))
    loss = float(sum_of([loss.total for loss in losses]) / sum_of([loss.count for loss in losses]))
    return {"loss": loss, **perplexities(loss, size, PERPLEXITIES[batches.masker is not None])}


def _write_record(done: Pretraining, model: str, masking: str | None, config: TrainingConfig) -> None:
    record = {"model": model, "masking": masking, "texts": done.texts, "before": done.before, "after": done.after,
              "config": config.to_dict(), "notices": done.notices, "versions": versions()}  # fmt: skip
    (done.folder / PRETRAINING_FILE).write_text(json.dumps(record, indent=2, ensure_ascii=False), "utf-8")
