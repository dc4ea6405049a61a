"""What else does a row teach while a task is trained on it? The tokens of its own text."""

from __future__ import annotations

from typing import Any

from torch import nn

from reasoner.data.features import Batch
from reasoner.data.masking import Masker
from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.language_model import LanguageModel, language_network, with_next
from reasoner.losses import LossSum
from reasoner.model import TaskModel, read_config
from reasoner.notices import say
from reasoner.training.config import TrainingConfig


class TextLoss:
    """The loss of predicting tokens of a batch's own texts, by the task's backbone and the checkpoint's output layer.

    Masked tokens, others each time; for decoders the next token (Radford et al., 2018, section 3.2, with the weight
    0.5; Chronopoulou et al., 2019, https://arxiv.org/abs/1902.10547). The output layer does not learn.

    Args:
        model: the task's.
        language_model: has the same backbone.
        masker: None: the next token is predicted.
    """

    def __init__(self, model: TaskModel, language_model: LanguageModel, masker: Masker | None) -> None:
        self.model, self.language_model, self.masker = model, language_model, masker

    def __call__(self, batch: Batch) -> LossSum:
        """Return the cross-entropy of the predicted tokens, summed, and their number."""
        shown = with_next(batch) if self.masker is None else self.masker(batch)
        self.language_model.packs = self.model.packs
        return self.language_model.loss(self.language_model(shown), shown)


def text_loss(predictor: Predictor, source: Any, config: TrainingConfig) -> TextLoss | None:
    """Return the loss that `language_modeling_weight` asks for; None: it is 0.

    Args:
        predictor: whose model is trained.
        source: where its weights are from.
        config: says whether.

    Raises:
        ConfigError: if there is no output layer to predict tokens with, or nothing of the backbone would learn.
    """
    if not config.language_modeling_weight:
        return None
    model = predictor.model
    if isinstance(source, nn.Module):
        raise _refused("the model is an object, and its output layer is read from a folder or the Hub. Name one")
    if model.virtual_tokens:
        raise _refused("virtual tokens stand before each row. Take another method")
    if not any(weight.requires_grad and "pooler" not in name for name, weight in model.backbone.named_parameters()):
        raise _refused("nothing of the backbone learns with this method. Take another")
    network, masked, is_new = language_network(source, read_config(source), predictor.tokenizer)
    if is_new:
        raise _refused("the checkpoint has no output layer over the vocabulary. Start from what pretrain wrote, "
                       "which has one")  # fmt: skip
    network.requires_grad_(False)
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    setattr(network, network.base_model_prefix, model.backbone)
    if tied:
        network.get_output_embeddings().weight = network.get_input_embeddings().weight
    what = "masked tokens" if masked else "the next tokens"
    say(f"Beside the task {what} of the training rows are learned, with weight {config.language_modeling_weight:g}.")
    return TextLoss(model, LanguageModel(network.to(predictor.device)), Masker(predictor.tokenizer) if masked else None)


def _refused(reason: str) -> ConfigError:
    return ConfigError(f"language_modeling_weight: {reason}, or leave it out.")
