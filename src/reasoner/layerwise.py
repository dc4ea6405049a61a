"""What differs from layer to layer: how fast its weights learn, and whether they begin anew?"""

from __future__ import annotations

from typing import Any

from torch import nn

from reasoner.errors import ConfigError
from reasoner.methods.freeze import embeddings_of, layers_of
from reasoner.notices import say
from reasoner.packing import pooler_of


def rate_factors(model: Any, *, layer_decay: float | None = None, head_factor: float | None = None) -> dict[str, float]:
    """Return what the learning rate is multiplied by, for each weight by name; empty if it is 1 for all.

    The top layer learns at `layer_decay` times the rate, each layer below at `layer_decay` times that of the one above,
    the embeddings below the lowest (Howard & Ruder, 2018, https://arxiv.org/abs/1801.06146, section 3.2; Clark et al.,
    2020, https://arxiv.org/abs/2003.10555, appendix B). What stands beside layers and embeddings, such as a last norm,
    keeps the rate.

    Args:
        model: a `TaskModel`.
        layer_decay: see above; None: all layers learn alike.
        head_factor: of the head, and of the pooler that feeds it; None: 1.

    Raises:
        ConfigError: if the layers of the architecture are not found.
    """
    if layer_decay is None and head_factor is None:
        return {}
    head = 1.0 if head_factor is None else head_factor
    pooler = pooler_of(model.backbone)
    in_pooler = set() if pooler is None else set(map(id, pooler.parameters()))
    body = set(map(id, model.backbone.parameters())) - in_pooler
    factors = {id(weight): 1.0 for weight in model.parameters()}  # virtual tokens are neither of the body nor the head
    with_head = (weight for part in (model.network, model.head) for weight in part.parameters())
    factors |= {id(weight): head for weight in with_head if id(weight) not in body}
    if layer_decay is not None:
        layers = layers_of(model.backbone)
        for place, modules in enumerate([embeddings_of(model.backbone), *([layer] for layer in layers)]):
            factor = layer_decay ** (len(layers) + 1 - place)
            factors |= {id(weight): factor for module in modules for weight in module.parameters()}
    return {name: factors[id(weight)] for name, weight in model.named_parameters()}


def reinitialize(network: Any, layers: int) -> None:
    """Draw the weights of the top layers, and of the pooler, anew, as the architecture draws them before pretraining.

    The top layers know most of the pretraining task and least of what carries over (Zhang et al., 2021, "Revisiting
    few-sample BERT fine-tuning", https://arxiv.org/abs/2006.05987, section 5).

    Args:
        network: a transformers model.
        layers: how many, counted from the top.

    Raises:
        ConfigError: if the model has fewer.
    """
    parts = _top(network.base_model, layers)
    for module in (module for part in parts for module in part.modules()):
        for weight in module.parameters(recurse=False):
            weight._is_hf_initialized = False  # type: ignore[attr-defined]  # or transformers leaves it as it was read
        network._init_weights(module)
    say(f"The top {layers} layers{' and the pooler' if len(parts) > layers else ''} begin anew, from random weights.")


def check_reinitialized(model: Any, layers: int) -> None:
    """Refuse a method that leaves layers frozen which were drawn anew.

    Raises:
        ConfigError: if one of their weights does not learn.
    """
    for part in _top(model.backbone, layers):
        if not all(weight.requires_grad for weight in part.parameters()):
            raise ConfigError(f"reinitialize_layers={layers}, but the method leaves weights of these layers frozen: "
                              "they would stay random. Use a method that trains them, or leave it out.")  # fmt: skip


def _top(backbone: Any, layers: int) -> list[nn.Module]:
    stack, pooler = layers_of(backbone), pooler_of(backbone)
    if layers > len(stack):
        raise ConfigError(f"reinitialize_layers={layers}: the model has {len(stack)} layers. Give 0 to {len(stack)}.")
    return [*list(stack)[len(stack) - layers :], *([] if pooler is None else [pooler])]
