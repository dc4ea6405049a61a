"""The next token, of a decoder: learned for completions alone, generated token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reasoner.data.features import Batch
from reasoner.errors import ConfigError
from reasoner.heads.base import Outputs, Runs, TaskHead
from reasoner.logit_places import LogitPlaces, following
from reasoner.losses import IGNORED, LossSum, cross_entropy, divergence

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class CausalLMHead(TaskHead):
    """The architecture's own output layer over the vocabulary.

    Outputs: `logits` (labelled tokens, vocabulary), of the places before them, row by row, as far as the architecture
    can choose (see `LogitPlaces`); (batch, length, vocabulary) where no labels are known. Targets:
    `labels` (batch, length), each token of a completion at its own place, its end token too, `-100` elsewhere. Records:
    for each feature `num_samples` lists of generated tokens, the end token included if it came; None where the texts
    are not scored.

    Args:
        config: of the model, a decoder.
        num_outputs: not used: the vocabulary is the model's.
        end_tokens: any of them ends a generated text.
        max_new_tokens: after so many tokens it ends in any case.
        sampling_temperature: 0: the most probable token each time; above: drawn from the softmax of logits over it.
        sampling_top_p: of the tokens only the most probable are drawn that have this share of the probability.
        num_samples: texts for each prompt.
        generate_gold: generate for rows with labels too, to score the texts; else their loss alone is of interest.
    """

    auto_class = "AutoModelForCausalLM"
    pretrained = True
    one_pass = False

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int,
        end_tokens: Sequence[int],
        max_new_tokens: int,
        sampling_temperature: float = 0.0,
        sampling_top_p: float = 1.0,
        num_samples: int = 1,
        generate_gold: bool = True,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        self.end_tokens, self.max_new_tokens = list(dict.fromkeys(end_tokens)), max_new_tokens
        self.sampling_temperature, self.sampling_top_p = sampling_temperature, sampling_top_p
        self.num_samples = num_samples
        self.generate_gold = generate_gold
        self._places = LogitPlaces(config)

    def model_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs, with the places whose logits are of use."""
        if "labels" not in batch.targets:
            return batch.inputs
        return {
            **batch.inputs,
            **self._places.arguments(self._places.mask(following(batch.targets["labels"], IGNORED) != IGNORED)),
        }

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the negative log-likelihood of the labelled tokens, summed, and their number."""
        return cross_entropy(outputs["logits"].flatten(0, -2), self._labels(batch))

    def divergence(self, outputs: Outputs, other: Outputs, batch: Batch) -> Tensor:
        """Return that of the labelled tokens."""
        labelled = self._labels(batch).flatten() != IGNORED
        return (divergence(outputs["logits"], other["logits"]).flatten() * labelled).sum()

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Refuse: one pass says no more than the next token.

        Raises:
            ConfigError: always; `infer` generates.
        """
        raise ConfigError(f"{type(self).__name__} predicts by `infer`, which runs the model once for each token.")

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Generate from the prompts; where there are labels also run the gold, whose loss evaluation reads."""
        if "labels" in batch.targets:
            model(batch)
            if not self.generate_gold:
                return [None] * len(batch.feature_index)
        tokens = model.generate(self._prompts(batch), **self._settings()).tolist()
        texts = [self._until_end(row) for row in tokens]
        return [texts[start : start + self.num_samples] for start in range(0, len(texts), self.num_samples)]

    def _settings(self) -> dict[str, Any]:
        """Return transformers' settings: all that could change what is generated."""
        drawn: dict[str, Any] = {"do_sample": False}
        if self.sampling_temperature:
            drawn = {"do_sample": True, "temperature": self.sampling_temperature, "top_k": 0,
                     "top_p": self.sampling_top_p}  # fmt: skip
        return {
            **drawn,
            "num_return_sequences": self.num_samples,
            "max_new_tokens": self.max_new_tokens,
            "eos_token_id": self.end_tokens,
            "pad_token_id": self.end_tokens[0],
            "use_cache": True,
        }

    def _prompts(self, batch: Batch) -> dict[str, Tensor]:
        """Return the tokens before the first labelled one of each row, with padding on the left: (rows, longest)."""
        shown = batch.inputs["attention_mask"] == 1  # (batch, length)
        if "labels" in batch.targets:
            shown &= (batch.targets["labels"] != IGNORED).cumsum(1) == 0
        rows = [ids[here] for ids, here in zip(batch.inputs["input_ids"], shown, strict=True)]
        masks = [torch.ones_like(row) for row in rows]
        left = {"batch_first": True, "padding_side": "left"}
        return {
            "input_ids": pad_sequence(rows, padding_value=self.end_tokens[0], **left),  # type: ignore[arg-type]
            "attention_mask": pad_sequence(masks, padding_value=0, **left),  # type: ignore[arg-type]
        }

    def _until_end(self, tokens: list[int]) -> list[int]:
        """Return the tokens up to the first end token, and that."""
        place = next((place for place, token in enumerate(tokens) if token in self.end_tokens), len(tokens))
        return tokens[: place + 1]

    def _labels(self, batch: Batch) -> Tensor:
        """Return the token that follows each place whose logits come, (places,)."""
        labels = following(batch.targets["labels"], IGNORED)  # (batch, length)
        return labels[self._places.mask(labels != IGNORED)]
