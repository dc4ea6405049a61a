"""Bottlenecks between the layers' parts learn, and the head (adapters after Houlsby and Pfeiffer)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import gelu

from reasoner.added import BOTTLENECK_FILE, Added, linear_maps, widths
from reasoner.errors import ConfigError
from reasoner.methods.base import Method, is_whole, require
from reasoner.methods.freeze import layers_of
from reasoner.methods.full import Full
from reasoner.methods.head import HeadOnly

STYLES = ("houlsby", "pfeiffer")
_NAME = "bottleneck"
_SETTINGS = "settings"


@dataclass(frozen=True)
class Adapter(Method):
    """Put small bottlenecks into every layer and train them, with the head and the pooler that feeds it.

    A bottleneck stands behind the last linear map of attention or feed-forward, before its sum with what went round it:
    `x + up(gelu(down(x)))`. `up` starts at zero, so that the network first gives what it gave before. Norms stay as
    they are, which is simpler than in the papers.
    """

    searched = {"reduction": [4, 8, 16, 32]}
    style: str = "pfeiffer"
    """"houlsby": behind attention and feed-forward (Houlsby et al., 2019, https://arxiv.org/abs/1902.00751);
    "pfeiffer": behind feed-forward alone (Pfeiffer et al., 2020, https://arxiv.org/abs/2005.00247)."""
    reduction: int = 16
    """A bottleneck is as wide as the hidden states divided by this, at least 1: 48 for a width of 768."""

    def __post_init__(self) -> None:
        require(self.style in STYLES, f"Adapter(style={self.style!r}): give one of {', '.join(STYLES)}.")
        require(is_whole(self.reduction, 1), f"Adapter(reduction={self.reduction!r}): give an integer of at least 1.")

    def apply(self, model: Any) -> None:
        """Freeze the backbone but its pooler, and put the bottlenecks in.

        Raises:
            ConfigError: if the places are not found in the architecture.
        """
        places = [place for layer in layers_of(model.backbone) for place in self._places(layer, model.head.width)]

        def make() -> Added:
            HeadOnly().apply(model)
            for linear in places:
                add_bottleneck(linear, max(model.head.width // self.reduction, 1))
            return Bottlenecks(model.network, self)

        model.add(make)

    def learning_rate(self, width: int) -> float:
        """Return 10 times the rate of `Full`, at most 3e-3: 3e-4 for a width of 768.

        Houlsby et al. (2019, section 3.1) choose from 3e-5, 3e-4 and 3e-3; Pfeiffer et al. (2020) take 1e-4.
        """
        return min(10 * Full().learning_rate(width), 3e-3)

    def _places(self, layer: nn.Module, width: int) -> list[nn.Module]:
        """Return the linear maps of a layer whose outputs are added to the hidden states."""
        found: dict[bool, Any] = {}
        for name, linear in linear_maps(layer).items():
            found["att" in name.lower()] = linear  # the last of each
        if found.keys() != {True, False} or any(widths(linear)[1] != width for linear in found.values()):
            raise ConfigError(
                f"Adapter finds no attention and feed-forward with outputs of width {width} in {type(layer).__name__}. "
                "Take method='lora', which needs no such places, or 'top-k'."
            )
        return [found[True], found[False]] if self.style == "houlsby" else [found[False]]


class Bottleneck(nn.Module):
    """Down to few dimensions and up again, beside the identity."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (..., width)."""
        changed: Tensor = hidden + self.up(gelu(self.down(hidden)))
        return changed


def add_bottleneck(linear: Any, narrow: int) -> None:
    """Let what a linear map gives go through a new bottleneck; the map's own weights keep their names."""
    bottleneck = Bottleneck(widths(linear)[1], narrow)
    linear.add_module(_NAME, bottleneck.to(linear.weight.device, linear.weight.dtype))
    linear.register_forward_hook(_through_bottleneck)


def _through_bottleneck(linear: Any, _: Any, output: Tensor) -> Tensor:
    changed: Tensor = linear.bottleneck(output)
    return changed


class Bottlenecks(Added):
    """What `Adapter` added."""

    def __init__(self, network: nn.Module, method: Adapter) -> None:
        super().__init__()
        self._network = [network]  # in a list, since it is no module of this one
        self.method = method

    def save(self, folder: Path) -> None:
        """Write the weights that learn, by their names in the network, and the method's settings, into one file."""
        from safetensors.torch import save_file

        state = {
            name: weight.detach().contiguous()
            for name, weight in self._network[0].named_parameters()
            if weight.requires_grad
        }
        save_file(state, folder / BOTTLENECK_FILE, metadata={_SETTINGS: json.dumps(asdict(self.method))})


def read_bottlenecks(model: Any, folder: Path) -> None:
    """Put into a `TaskModel` what `Bottlenecks.save` wrote."""
    from safetensors import safe_open

    with safe_open(folder / BOTTLENECK_FILE, framework="pt") as file:
        Adapter(**json.loads(file.metadata()[_SETTINGS])).apply(model)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    learning = {name for name, weight in model.network.named_parameters() if weight.requires_grad}
    if learning != state.keys():
        raise ValueError(f"{BOTTLENECK_FILE} has not the weights {sorted(learning ^ state.keys())[:3]}")
    model.network.load_state_dict(state, strict=False)
