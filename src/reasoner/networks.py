"""How does a network come from a checkpoint: whole, as the base of another, or with a new head?"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reasoner.added import BOTTLENECK_FILE, PEFT_CONFIG
from reasoner.base_model import checksum, find_base
from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import say


def check_decoder(config: Any, purpose: str = "generation") -> None:
    """Refuse models that do not go on with a text from left to right.

    Args:
        config: the model's.
        purpose: stands before the message.

    Raises:
        ConfigError: if this is one.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind = config.model_type
    advice = "Take a decoder, such as HuggingFaceTB/SmolLM2-135M-Instruct."
    if config.is_encoder_decoder:
        raise ConfigError(f"{purpose}: '{kind}' reads a text with its encoder and writes another. {advice}")
    as_encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if as_encoder or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(f"{purpose}: '{kind}' is no decoder, and cannot go on with a text. {advice}")


def check_writer(config: Any, longest: int) -> None:
    """Refuse encoder-decoders that do not write texts, or none of this length.

    Args:
        config: the model's.
        longest: tokens that are to be written.

    Raises:
        ConfigError: if this is one.
    """
    from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING

    start = getattr(config, "decoder_start_token_id", None)
    if type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING or start is None:
        raise ConfigError(f"generation: '{config.model_type}' writes no texts, or does not say by which token they "
                          "begin (decoder_start_token_id). Take another, such as google-t5/t5-small.")  # fmt: skip
    places = getattr(config, "max_position_embeddings", None)
    if places is not None and longest > places:
        raise ConfigError(f"max_new_tokens={longest}: the model writes {places} tokens at most. Give a smaller number.")


def check_max_length(given: int | None, limit: int) -> None:
    """Refuse a length that is more than a model takes.

    Args:
        given: tokens; None: no length is given.
        limit: tokens, of the model.

    Raises:
        ConfigError: if it is.
    """
    if given and given > limit:
        raise ConfigError(f"max_length={given}, but the model takes {limit} tokens. Give at most that.")


def check_filler(config: Any, tokenizer: Any) -> None:
    """Refuse models that do not fill in masked words.

    Raises:
        ConfigError: if this is one.
    """
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config) not in MODEL_FOR_MASKED_LM_MAPPING or tokenizer.mask_token_id is None:
        raise ConfigError(f"cloze: '{config.model_type}' fills no masks. Take a masked language model, such as "
                          "google-bert/bert-base-uncased.")  # fmt: skip


def usual_pooling(name: str) -> str:
    """Return how a sentence encoder makes a vector of a text: "first" where its folder says so, else "mean".

    A folder that says something else than the mean or the first token is told of.

    Args:
        name: the folder or Hub id; it is looked for as sentence-transformers writes it, `1_Pooling/config.json`.
    """
    from transformers.utils import cached_file

    try:
        file = cached_file(name, "1_Pooling/config.json")
        said = json.loads(Path(str(file)).read_text("utf-8"))
        modes = [key.removeprefix("pooling_mode_").removesuffix("_tokens") for key, value in said.items()
                 if key.startswith("pooling_mode_") and value is True]  # fmt: skip
        mode = said.get("pooling_mode") or modes[0]
    except (OSError, ValueError, LookupError, AttributeError, RecursionError):  # it says nothing that can be read
        return "mean"
    if mode not in ("mean", "cls", "cls_token"):
        say(f"The encoder was trained with vectors by '{mode}'; here they are the mean of its hidden states.")
    return "first" if mode in ("cls", "cls_token") else "mean"


def check_pretrained(network: Any, has_head: bool) -> None:
    """Refuse a checkpoint without the output layer that the head needs, unless the embeddings are all of that layer.

    Raises:
        ConfigError: if it lacks it.
    """
    if network.base_model is network:  # as T5's: that no weight is missing was seen before
        return
    output = network.get_output_embeddings()
    tied = output is not None and output.weight is network.get_input_embeddings().weight
    own = {name for name, _ in network.named_parameters()} - _names_in_backbone(network)
    if not (has_head or (tied and not own)):
        raise ConfigError(
            f"The checkpoint has no output layer for {type(network).__name__}: it would begin from random weights, and "
            "know nothing. Choose one that has it."
        )


def read_whole(folder: Path, auto_class: Any) -> Any:
    """Return the network of a folder that holds all its weights."""
    network, report = auto_class.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True, use_safetensors=True, trust_remote_code=False
    )
    if report["missing_keys"]:
        raise CheckpointError(f"{folder} lacks the weights {sorted(report['missing_keys'])[:5]}. Save it again.")
    return network


def read_base(base: dict[str, Any], auto_class: Any, config: Any) -> Any:
    """Return the network of the base model; its head is of no account."""
    return loaded(find_base(base["name"]), auto_class, config, same_labels=True)[0]


def is_of_checkpoint(model: Any, name: str) -> bool:
    """Return whether the backbone of a `TaskModel` has the weights of the checkpoint of this name; if not, it is said.

    True where that cannot be read: nobody knows.
    """
    base = {"name": name}
    try:
        found = read_base(base, auto_model(model.head.auto_class or "AutoModel"), deepcopy(model.network.config))
    except (CheckpointError, ConfigError):
        return True
    if checksum(found.base_model) == model.base_checksum:
        return True
    say(f"The model that was given has no longer the weights of '{name}': what the method adds to it cannot be saved "
        "without it. Write it into a folder (save, or save_pretrained), and give that.")  # fmt: skip
    return False


def loaded(source: Any, auto_class: Any, config: Any, same_labels: bool) -> tuple[Any, bool]:
    """Return the network of a checkpoint on disk or on the Hub, and whether it came with a head for this task."""
    if isinstance(source, (str, Path)) and any(
        (Path(source) / name).is_file() for name in (PEFT_CONFIG, BOTTLENECK_FILE)
    ):
        raise ConfigError(f"'{source}' holds what a method added to a base model, and not the base. Merge it first "
                          "(reasoner.load(folder).merge().save(...)), or start from the base.")  # fmt: skip
    kinds = config.architectures
    settings = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        network, report = auto_class.from_pretrained(source, config=config, trust_remote_code=False, **settings)
    except Exception as error:  # whatever damaged or hostile content leads to in its readers
        raise ConfigError(f"The model '{source}' cannot be loaded as {auto_class.__name__}: {error}") from error
    missing = set(report["missing_keys"])
    other_size = {str(item[0]) for item in report["mismatched_keys"]}
    in_backbone = _names_in_backbone(network)
    lost = sorted(name for name in (missing | other_size) & in_backbone if "pooler" not in name)
    if lost:
        raise ConfigError(f"The model '{source}' lacks weights of its backbone, such as {lost[0]}. Choose another.")
    in_head = {name for name, _ in network.named_parameters()} - in_backbone
    found = bool(in_head) and not in_head & missing
    kind = type(network).__name__
    same_kind = kind in (kinds or [kind])  # heads of two kinds may name their weights alike
    if found and not (same_kind and same_labels and not other_size):
        network = _with_backbone_of(network, auto_class, config)
    return network, found and same_kind


def copied(source: Any, auto_class: Any, config: Any, same_labels: bool) -> tuple[Any, bool]:
    """Return a new network with the weights of a loaded model, and whether that has a head for this task."""
    network = _with_backbone_of(source, auto_class, config)
    has_head = type(network) is type(source) and network.base_model is not network
    if has_head and same_labels:
        network.load_state_dict(source.state_dict())
    return network, has_head


def _with_backbone_of(source: Any, auto_class: Any, config: Any) -> Any:
    """Return a new network with the weights of the source's backbone and a new head."""
    network = auto_class.from_config(config).float()
    network.base_model.load_state_dict(source.base_model.state_dict(), strict=False)  # one may have no pooler
    return network


def _names_in_backbone(network: Any) -> set[str]:
    prefix = "" if network.base_model is network else network.base_model_prefix + "."
    return {name for name, _ in network.named_parameters() if name.startswith(prefix)}


def share_weights(network: Any, other: Any) -> int:
    """Let a network use those weights of another's backbone that are equal to its own, bit for bit.

    Returns:
        How many bytes are no longer held twice.
    """
    theirs = {_plain_name(name): weight for name, weight in other.base_model.named_parameters()}
    shared = 0
    for name, own in list(network.base_model.named_parameters()):
        found = theirs.get(_plain_name(name))
        if found is not None and found is not own and torch.equal(own, found.to(own.device)):
            owner, _, attribute = name.rpartition(".")
            setattr(network.base_model.get_submodule(owner), attribute, found)
            shared += own.numel() * own.element_size()
    return shared


def _plain_name(name: str) -> str:
    """Return the name that a weight had before peft put a layer around its own."""
    return name.replace(".base_layer.", ".")


def token_type_embeddings(network: Any) -> nn.Embedding:
    """Return the network's embeddings of token types.

    Raises:
        ConfigError: if it has none.
    """
    for name, module in network.named_modules():
        if name.endswith("token_type_embeddings") and isinstance(module, nn.Embedding):
            return module
    raise ConfigError(f"{type(network).__name__} has no token types, where case_features would go. Leave them out.")


@torch.no_grad()
def add_token_types(network: Any, number: int) -> None:
    """Give the network embeddings of `number` token types: new ones equal that of type 0, and so change nothing yet."""
    table = token_type_embeddings(network)
    more = number - table.num_embeddings
    if more > 0:
        table.weight = nn.Parameter(torch.cat([table.weight, table.weight[:1].expand(more, -1)]))
        table.num_embeddings = network.config.type_vocab_size = number


def auto_model(name: str) -> Any:
    """Return transformers' class of this name.

    Raises:
        ConfigError: if there is none.
    """
    import transformers

    try:
        return getattr(transformers, name)
    except AttributeError:
        raise ConfigError(f"transformers has no class {name}. Correct the head's auto_class.") from None
