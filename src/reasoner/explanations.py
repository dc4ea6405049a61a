"""Why did a model say that: which words make it so likely, and does it truly depend on them?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from reasoner.data.alignment import split_words
from reasoner.data.features import Batch
from reasoner.data.windows import Read, reading
from reasoner.errors import ConfigError, suggestion
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.model import TaskModel
from reasoner.notices import collect, say
from reasoner.reports.explanation import Explanation, Explanations, Faithfulness, Word
from reasoner.result import Result, load_result

WAYS = ("integrated gradients", "occlusion")
SHARES = (0.05, 0.1, 0.2, 0.5)
"""Of the words that are taken out, or kept alone, to see whether the prediction depends on them; at least one word."""
RANDOM_ORDERS = 5
"""Orders by chance that an explanation is compared with."""


def explain(
    model: Result | str | Path, inputs: Any, *, by: str = "integrated gradients", steps: int = 32, seed: int = 0
) -> Explanations:
    """Say for each prediction, and of NER for each entity, which words of the inputs made it likely.

    What is explained is the log-probability of what the model said, as its own loss has it. "integrated gradients"
    (Sundararajan et al., 2017, https://arxiv.org/abs/1703.01365) adds up gradients on the way from masked tokens to the
    text, by captum; "occlusion" (Zeiler & Fergus, 2014) masks one word after the other. Beside them stands how
    faithful they are (DeYoung et al., 2020, https://aclanthology.org/2020.acl-main.408): how far the probability falls
    without the words that count most (comprehensiveness), and with them alone (sufficiency), against words by chance.

    Args:
        model: what `fine_tune` or `load` gave, or the folder of a model.
        inputs: one input, or a list of them, as `predict` takes them.
        by: one of both ways.
        steps: of "integrated gradients"; more are more exact, see `Explanation.error`.
        seed: of the words by chance.

    Raises:
        ConfigError: if captum is needed and not installed, the way is unknown, the task or method cannot be explained,
            or a text takes more than one window.
        DataError: if an input has another form.

    Examples:
        >>> print(reasoner.explain("output/model", "Ada Lovelace lived in London."))  # doctest: +SKIP
    """
    if by not in WAYS:
        raise ConfigError(f"by is {by!r}. {suggestion(str(by), WAYS)}")
    if type(steps) is not int or steps < 1:
        raise ConfigError(f"steps is {steps!r}. Give a whole number of at least 1, such as 32.")
    with collect():
        result = model if isinstance(model, Result) else load_result(model)
        predictor = result.predictor
        if predictor.model.virtual_tokens:
            raise ConfigError(
                "Models with virtual tokens (prefix, prompt) cannot be explained: they read no words there."
            )
        given = inputs if isinstance(inputs, list) else [inputs]
        predictions = predictor.predict(given)
        task, found = predictor.task, Explanations()
        for number, (one, prediction) in enumerate(zip(given, predictions, strict=True)):
            golden = task.as_gold(task.example_from_input(one), prediction)
            if not golden:
                say(f"explain: input {number} has nothing to explain: the model says nothing of it, or a number.")
            for said, example in golden.items():
                found.append(_explained(predictor, example, said, by, steps, Random(f"{seed} {number} {said}")))
        return found


@dataclass(frozen=True)
class _Subject:
    """An example as the model reads it, with what it said as gold."""

    model: TaskModel
    batch: Batch
    texts: tuple[str, ...]
    words: tuple[Word, ...]
    word_of: Tensor
    """(features, length): the word that a token belongs to; special tokens and padding: one more than there are."""
    masked: Tensor
    """(features, length): the tokens with all words masked."""

    def likelihood(self, ids: Tensor, *others: Tensor) -> Tensor:
        """Return the log-probability of what was said, (1,), summed over copies of the example.

        Args:
            ids: (copies x features, length)
            others: the other inputs, by the order of their names, and the targets, each as often.
        """
        inputs, targets = self.others
        named = dict(zip([*inputs, *targets], others or (*inputs.values(), *targets.values()), strict=True))
        group = torch.arange(len(ids), device=ids.device) // len(self.batch.group)
        batch = Batch(
            {"input_ids": ids, **{name: named[name] for name in inputs}},
            {name: named[name] for name in targets},
            group,
            list(range(len(ids))),
            self.batch.tokens * (len(ids) // len(self.batch.group)),
        )
        head = self.model.head
        outputs = head.scaled(self.model(batch), head.temperature)
        likelihood = head.negative_log_likelihood(outputs, batch) or head.loss(outputs, batch)
        return -likelihood.total.reshape(1)

    @property
    def others(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The inputs beside the tokens, and the targets."""
        return {k: v for k, v in self.batch.inputs.items() if k != "input_ids"}, self.batch.targets

    def without(self, words: Sequence[int]) -> Tensor:
        """Return the tokens with these words masked, (features, length)."""
        out = torch.isin(self.word_of, torch.tensor(words, device=self.word_of.device, dtype=self.word_of.dtype))
        return torch.where(out, self.masked, self.batch.inputs["input_ids"])

    @torch.no_grad()
    def probability(self, words_out: Sequence[int] = ()) -> float:
        """Return the probability of what was said, without these words."""
        return float(self.likelihood(self.without(words_out)).exp())


def _explained(predictor: Predictor, example: Any, said: str, by: str, steps: int, random: Random) -> Explanation:
    """Return why the gold of an example is so likely."""
    subject = _subject(predictor, example)
    with _still(predictor.model):
        weights, error = _gradients(subject, steps) if by == WAYS[0] else (_occlusion(subject), None)
        order = sorted(range(len(subject.words)), key=lambda word: -weights[word])
        chance = [random.sample(order, len(order)) for _ in range(RANDOM_ORDERS)]
        whole = subject.probability()
        by_chance = [_faithfulness(subject, whole, other) for other in chance]
        return Explanation(
            said=said,
            probability=whole,
            by=by,
            texts=subject.texts,
            words=tuple(replace(word, weight=weight) for word, weight in zip(subject.words, weights, strict=True)),
            faithfulness=_faithfulness(subject, whole, order),
            by_chance=Faithfulness(
                sum(one.comprehensiveness for one in by_chance) / RANDOM_ORDERS,
                sum(one.sufficiency for one in by_chance) / RANDOM_ORDERS,
            ),
            error=error,
        )


def _faithfulness(subject: _Subject, whole: float, order: Sequence[int]) -> Faithfulness:
    """Return how much the whole's probability falls without the first words of an order, and with them alone."""
    tops = [order[: max(1, round(share * len(order)))] for share in SHARES]
    falls = [whole - subject.probability(top) for top in tops]
    alone = [whole - subject.probability([word for word in order if word not in top]) for top in tops]
    return Faithfulness(sum(falls) / len(falls), sum(alone) / len(alone))


# --- two ways --------------------------------------------------------------------------------------------------------


def _gradients(subject: _Subject, steps: int) -> tuple[list[float], float]:
    """Return the weight of each word, and how far their sum is from the rise of the log-probability."""
    try:
        from captum.attr import LayerIntegratedGradients
    except ImportError:
        raise ConfigError("by='integrated gradients' needs captum. Install it: pip install 'reasoner-ft[explain]', or "
                          "take by='occlusion'.") from None  # fmt: skip
    inputs, targets = subject.others
    ids = subject.batch.inputs["input_ids"]
    way = LayerIntegratedGradients(subject.likelihood, subject.model.network.get_input_embeddings())
    made = way.attribute(
        ids,
        subject.masked,
        additional_forward_args=(*inputs.values(), *targets.values()),
        n_steps=steps,
        internal_batch_size=8 * len(ids),
    )
    of_tokens = made.sum(-1)  # (features, length)
    with torch.no_grad():
        rise = float(subject.likelihood(ids) - subject.likelihood(subject.masked))
    return _by_word(subject, of_tokens), float(of_tokens.sum()) - rise


@torch.no_grad()
def _occlusion(subject: _Subject) -> list[float]:
    """Return by how much the log-probability falls when a word is masked, for each."""
    whole = float(subject.likelihood(subject.without([])))
    return [whole - float(subject.likelihood(subject.without([word]))) for word in range(len(subject.words))]


def _by_word(subject: _Subject, of_tokens: Tensor) -> list[float]:
    sums = torch.zeros(len(subject.words) + 1, dtype=of_tokens.dtype, device=of_tokens.device)
    sums.index_add_(0, subject.word_of.flatten(), of_tokens.flatten())
    weights: list[float] = sums[:-1].tolist()
    return weights


@contextmanager
def _still(model: TaskModel) -> Iterator[None]:
    """Run the model without dropout, with its padding, and with gradients of its weights off."""
    packs, learning = model.packs, [weight for weight in model.parameters() if weight.requires_grad]
    model.eval().packs = False
    try:
        for weight in learning:
            weight.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        model.packs = packs
        for weight in learning:
            weight.requires_grad_(True)


# --- what the model reads --------------------------------------------------------------------------------------------


def _subject(predictor: Predictor, example: Any) -> _Subject:
    """Return the example as it is read.

    Raises:
        ConfigError: if it takes several windows, or nothing says which token stands for which text.
    """
    with reading() as read:
        encoded = predictor.encode([example])
    features = [encoded.features[place] for place in range(len(encoded.features))]
    windows = [_window_of(feature, read) for group in features for feature in group]
    (batch,) = predictor.batches(Encoded([example], encoded.features), batch_size=len(windows))
    if len(windows) > 1 and not predictor.task.keep_together:
        raise ConfigError(f"The text takes {len(windows)} windows of the model, and one can be explained. Shorten it.")
    batch = batch.to(predictor.device)
    texts, words, places = _words([windows[place] for place in batch.feature_index])
    ids = batch.inputs["input_ids"]
    word_of = torch.full_like(ids, len(words))
    right = (predictor.task.padding_side or predictor.tokenizer.padding_side) == "right"
    for row, of_tokens in enumerate(places):
        known = torch.tensor(of_tokens, device=ids.device)
        word_of[row, : len(known)] = known if right else word_of[row, : len(known)]
        if not right:
            word_of[row, ids.shape[1] - len(known) :] = known
    masked = torch.where(word_of < len(words), _mask_token(predictor.tokenizer), ids)
    return _Subject(predictor.model, batch, texts, words, word_of, masked)


def _window_of(feature: Any, read: Sequence[Read]) -> Read:
    for item in read:
        if item.window.inputs["input_ids"] == feature.inputs["input_ids"]:
            return item
    raise ConfigError("Nothing says which words the model's tokens stand for: the task reads its texts in its own way.")


def _words(windows: Sequence[Read]) -> tuple[tuple[str, ...], tuple[Word, ...], list[list[int]]]:
    """Return the texts, their words, each once, and for each window the word of each token."""
    texts: dict[str, int] = {}
    words: list[Word] = []
    first_of: dict[int, int] = {}
    for window in windows:
        for text in (window.first, window.second):
            if text is not None and text not in texts:
                number = texts[text] = len(texts)
                first_of[number] = len(words)
                words += [Word(number, start, end, text[start:end]) for start, end in split_words(text)]
    places = []
    for window in windows:
        of_tokens = []
        for (start, end), side in zip(window.window.offsets, window.window.sequence, strict=True):
            text = None if side is None else (window.first, window.second)[side]
            of_tokens.append(
                len(words) if text is None else _word_at(words, first_of[texts[text]], texts[text], start, end)
            )
        places.append(of_tokens)
    return tuple(texts), tuple(words), places


def _word_at(words: Sequence[Word], first: int, text: int, start: int, end: int) -> int:
    """Return the word that holds a token's first character that is no space; that after the last, if there is none."""
    for number in range(first, len(words)):
        word = words[number]
        if word.text != text:
            break
        if word.end > start and word.start < end:
            return number
    return len(words)


def _mask_token(tokenizer: Any) -> int:
    """Return the token that stands for a word that is taken out."""
    known = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(number for number in known if number is not None))
