"""How likely is each choice after its prompt, for a decoder? What choices share is run once."""

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
from reasoner.losses import IGNORED, LossSum, grouped_cross_entropy
from reasoner.notices import say
from reasoner.prefixes import Continuation, log_probabilities, shared_sums

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

CORRECTIONS = ("sum", "token", "byte", "prior")
CLOSE = 1e-3
"""How far the scores of the trial may be apart, relative to their size; in half precision 50 times as far."""


class LikelihoodHead(TaskHead):
    """The architecture's own output layer over the vocabulary; a choice's score is the log-probability of its tokens.

    Each choice is a feature: the prompt, and the choice behind it. `infer` runs what choices have in common once, and
    lets each go on from its keys and values (see `prefixes`); the network's forward runs each choice whole. Both
    give the same scores.

    Outputs: `logits` (features, places, vocabulary), of the places before scored tokens as far as the architecture can
    choose (see `LogitPlaces`). Token target: `sizes`, see `data.prompts.choice_features`.
    Target: `labels` (features,), 1 for the right choice, else 0. Records: the score.

    Args:
        config: of the model, a decoder.
        num_outputs: not used: the vocabulary is the model's.
        correction: "sum": the log-probability as it is; "token" or "byte": over the choice's tokens or bytes (bytes
            are the same for every tokenizer); "prior": less the log-probability of the choice after `domain_tokens`
            alone, that is domain-conditional PMI (Holtzman et al., 2021, https://arxiv.org/abs/2104.08315).
        domain_tokens: see there.
        share_prefix: False: `infer` runs each choice whole too.

    Raises:
        ConfigError: if there is no such correction.
    """

    auto_class = "AutoModelForCausalLM"
    pretrained = True
    one_pass = False
    scores_choices = True

    def __init__(
        self,
        config: PreTrainedConfig,
        *,
        num_outputs: int = 1,
        correction: str = "byte",
        domain_tokens: Sequence[int] = (),
        share_prefix: bool = True,
    ) -> None:
        super().__init__(config, num_outputs=num_outputs)
        if correction not in CORRECTIONS:
            raise ConfigError(f"correction is {correction!r}. Give one of {', '.join(CORRECTIONS)}.")
        self.correction, self.domain_tokens = correction, list(domain_tokens)
        self.share_prefix = share_prefix
        self._places, self._window = LogitPlaces(config), getattr(config, "sliding_window", None)
        self._tried = False

    # --- each choice whole -------------------------------------------------------------------------------------------

    def model_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs, with the places whose logits are of use."""
        return {**batch.inputs, **self._places.arguments(self._chosen(batch))}

    def loss(self, outputs: Outputs, batch: Batch) -> LossSum:
        """Return the cross-entropy of each row over its own choices, summed, and the number of rows.

        Raises:
            ConfigError: with `correction="prior"`, which takes another run of the model.
        """
        if self.correction == "prior":
            raise ConfigError('correction="prior" is for scoring alone. Train with "sum", "token" or "byte".')
        return grouped_cross_entropy(self._scores(outputs, batch), batch.targets["labels"], batch.group)

    def scaled(self, outputs: Outputs, temperature: float) -> Outputs:
        """Return the outputs as they are: it is the scores of choices that the temperature divides."""
        return outputs

    def predict(self, outputs: Outputs, batch: Batch) -> list[Any]:
        """Return the score of each choice as a float, without the prior."""
        scores: list[Any] = self._scores(outputs, batch).float().cpu().tolist()
        return scores

    def _scores(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the corrected log-probability of each choice, (features,)."""
        places = self._chosen(batch)
        ids = following(batch.inputs["input_ids"], 0).gather(1, places)
        sizes = following(batch.targets["sizes"], IGNORED).gather(1, places)
        scored = sizes != IGNORED  # (features, places)
        found = torch.stack([log_probabilities(*row) for row in zip(outputs["logits"], ids, strict=True)])
        sums = (found * scored).sum(1)  # (features,)
        return sums / self._divisor(scored.sum(1), sizes.clamp(min=0).sum(1))

    def _chosen(self, batch: Batch) -> Tensor:
        """Return the places of each feature whose logits come, (features, places)."""
        return self._places.numbers(following(batch.targets["sizes"], IGNORED) != IGNORED)

    def _divisor(self, tokens: Tensor, size: Tensor) -> Tensor | int:
        return {"token": tokens, "byte": size.clamp(min=1)}.get(self.correction, 1)

    # --- what is shared, once ----------------------------------------------------------------------------------------

    def infer(self, model: Runs, batch: Batch) -> list[Any]:
        """Return the score of each choice, over the temperature; what choices share is run once."""
        rows = _sequences(batch)
        if self.share_prefix and not self._tried:
            self._try_out(model, batch, rows[: batch.group.tolist().count(0)])
        sums = self._sums(model, batch, rows)
        tokens = torch.tensor([len(row.ids) - row.start for row in rows])
        sizes = torch.tensor([sum(row.sizes[row.start :]) for row in rows])
        scores = (sums - self._prior(model, batch, rows)) / self._divisor(tokens, sizes)
        return list((scores / self.temperature).tolist())

    def _sums(self, model: Runs, like: Batch, rows: list[Continuation]) -> Tensor:
        """Return the log-probability of each choice, (rows,), on the CPU."""
        longest = max(len(row.ids) for row in rows)
        if self.share_prefix and (self._window is None or longest <= self._window):
            return shared_sums(model, rows, device=like.group.device)
        return self._whole(model, _batch_of(rows, like))

    def _whole(self, model: Runs, batch: Batch) -> Tensor:
        corrected, self.correction = self.correction, "sum"
        try:
            return self._scores({"logits": model.run(self.model_inputs(batch)).logits}, batch).float().cpu()
        finally:
            self.correction = corrected

    def _prior(self, model: Runs, batch: Batch, rows: list[Continuation]) -> Tensor | int:
        """Return the log-probability of each choice where nothing is asked, (features,); 0: it is not subtracted."""
        if self.correction != "prior":
            return 0
        choices = [tuple(row.ids[row.start :]) for row in rows]
        unique = list(dict.fromkeys(choices))
        before = len(self.domain_tokens)
        asked = [Continuation([*self.domain_tokens, *ids], [IGNORED] * before + [0] * len(ids)) for ids in unique]
        found = self._sums(model, batch, asked)
        of_choice = dict(zip(unique, found.tolist(), strict=True))
        return torch.tensor([of_choice[choice] for choice in choices])

    def _try_out(self, model: Runs, batch: Batch, few: list[Continuation]) -> None:
        """Run a few choices both ways; where the scores differ, each choice is run whole from now on."""
        self._tried = True
        if reason := self._reason_not_to(model, batch, few):
            self.share_prefix = False
            say(f"Each choice is run whole: {reason}.")

    def _reason_not_to(self, model: Runs, batch: Batch, few: list[Continuation]) -> str:
        if model.virtual_tokens:
            return "virtual tokens stand before each row"
        if "position_ids" not in self._places.parameters:
            return "the architecture takes no position_ids"
        device = batch.group.device
        tolerance = CLOSE * (50 if torch.is_autocast_enabled(device.type) else 1)
        try:
            shared = shared_sums(model, few, device=device)
        except Exception as error:  # whatever an unknown network does with a mask of its own
            return f"the architecture does not run on shared prefixes ({type(error).__name__}: {error})"
        whole = self._whole(model, _batch_of(few, batch))
        close = torch.allclose(whole, shared, rtol=tolerance, atol=tolerance)
        return "" if close else "with shared prefixes this architecture gives other scores"


def _sequences(batch: Batch) -> list[Continuation]:
    """Return the features without their padding."""
    held = batch.inputs["attention_mask"].bool()
    return [
        Continuation(ids[shown].tolist(), sizes[shown].tolist())
        for ids, sizes, shown in zip(batch.inputs["input_ids"], batch.targets["sizes"], held, strict=True)
    ]


def _batch_of(rows: list[Continuation], like: Batch) -> Batch:
    """Return sequences as a batch, padded on the right, where `like` is."""
    ids = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True)
    sizes = pad_sequence([torch.tensor(row.sizes) for row in rows], batch_first=True, padding_value=IGNORED)
    lengths = torch.tensor([len(row.ids) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    inputs = {"input_ids": ids, "attention_mask": mask}
    group = torch.zeros(len(rows), dtype=torch.int64)
    return Batch(inputs, {"sizes": sizes}, group, list(range(len(rows))), int(lengths.sum())).to(like.group.device)
