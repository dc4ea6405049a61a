"""Generation: how does a text go on, or a chat? Completions are learned, and scored against generated ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from reasoner.data.chat import SYSTEM, USER, Message, chat_text, end_of_turn
from reasoner.data.completions import GenerationExample, by_prompt
from reasoner.data.features import Feature
from reasoner.data.windows import whole_characters
from reasoner.data.written import Lost, read_and_written
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any
from reasoner.losses import IGNORED
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.metrics.generation import TextSize, generation_scores, perplexities, same_text, text_size
from reasoner.metrics.references import REFERENCE_SCORES, check_packages, reference_scores
from reasoner.networks import check_decoder, check_writer
from reasoner.notices import count
from reasoner.tasks.base import Splits, Task
from reasoner.verifiers.base import Verdict, Verifier, as_verifier, described, shares

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

BY_ENCODER_DECODER = "seq2seq_lm"
METRICS = ("exact_match", "f1", "accuracy", "loss", "perplexity", *REFERENCE_SCORES)


@dataclass(frozen=True, kw_only=True)
class Generation(Task[GenerationExample, dict[str, Any]]):
    """A decoder goes on with a prompt, or answers in a chat. Of a row its completion alone is learned.

    A prompt is tokenised alone, and so is its completion: what training sees is what stands there when a text is
    generated. Prompts get `max_length` less `max_new_tokens` tokens, in training as in use.

    An encoder-decoder (T5, BART) reads the prompt, of up to `max_length` tokens, and writes the completion, of up to
    `max_new_tokens`.
    """

    Example = GenerationExample
    default_head = "causal_lm"
    padding_side = "right"
    """So that positions count from 0 in every architecture; what is generated is padded on the left by the head."""

    max_new_tokens: int = 128
    """How long a generated text may be, in tokens, its end token included."""
    chat: bool = False
    """Whether a `prompt` is put as a user's message into the tokenizer's chat template; else it stands as it is."""
    system: str | None = None
    """A system message before chats that have none."""
    temperature: float = 0.0
    """0: the most probable token each time. Above: tokens are drawn from the softmax of the logits over it."""
    num_samples: int = 1
    """Texts for each prompt, all in `samples`; the first is the `text`. More than one need a temperature."""
    top_p: float = 1.0
    """Of the tokens only the most probable ones are drawn whose probabilities come to this share together (nucleus
    sampling: Holtzman et al., 2019)."""
    verifier: str | Mapping[str, Any] | Verifier | None = None
    """Says which texts are right: a registered name ("number"), `{"name": "exact", "after": "Answer:"}`, or an object
    such as `Number()`. Gold is the row's `gold`, or else the answer that it reads in the completion."""
    scores: Sequence[str] = ()
    """Further scores: "bleu", "rouge1", "rouge2", "rougeL" (`pip install 'reasoner-ft[texts]'`; `reference_scores`).
    Rows of equal prompts are one, whose first text is compared with the completions of all."""
    metric: str | None = None
    """What early stopping goes by: "accuracy" (of the verifier), "exact_match", "f1", one of `scores`, or "loss" or
    "perplexity". With these two evaluation generates nothing, and is as fast as a pass over the rows. None: "accuracy"
    where there is a verifier, else "exact_match"."""
    end_tokens: Sequence[int] = ()
    """The tokens that end a completion, and an answer in a chat. Learned from the tokenizer."""

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_samples"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"Generation({name}={value!r}): give an integer of at least 1.")
        if not 0 <= self.temperature < float("inf"):
            raise ConfigError(f"Generation(temperature={self.temperature!r}): give 0, or a number above.")
        if self.num_samples > 1 and not self.temperature:
            raise ConfigError(f"Generation(num_samples={self.num_samples}): at temperature 0 all samples are the same. "
                              "Give a temperature, such as 0.7.")  # fmt: skip
        if not 0 < self.top_p <= 1 or (self.top_p < 1 and not self.temperature):
            raise ConfigError(f"Generation(top_p={self.top_p!r}, temperature={self.temperature!r}): give top_p a share "
                              "above 0 and up to 1, and below 1 a temperature too.")  # fmt: skip
        wrong = [name for name in self.scores if name not in REFERENCE_SCORES]
        if wrong or isinstance(self.scores, str):
            raise ConfigError(f"Generation(scores={self.scores!r}): give a list of {', '.join(REFERENCE_SCORES)}.")
        if self.scores and not self._scores_texts:
            raise ConfigError(f"Generation(scores=..., metric={self.metric!r}): nothing is generated. Leave one out.")
        own = [self.metric] if self.metric in REFERENCE_SCORES else []
        object.__setattr__(self, "scores", tuple(dict.fromkeys([*self.scores, *own])))
        if self.verifier is not None:
            object.__setattr__(self, "verifier", described(as_verifier(self.verifier)))
        if self.metric not in (None, *METRICS) or (self.metric == "accuracy" and self.verifier is None):
            raise ConfigError(f"Generation(metric={self.metric!r}): give one of {', '.join(METRICS)}; accuracy is that "
                              "of a verifier, and needs one.")  # fmt: skip

    @property
    def primary_metric(self) -> str:
        """`metric`, or what stands for None."""
        return self.metric or ("exact_match" if self.verifier is None else "accuracy")

    @classmethod
    def from_examples(cls, splits: Splits[GenerationExample], **settings: Any) -> Self:
        """Make the task.

        Raises:
            ConfigError: if a system message is given and no row is a chat, or what computes a score is not installed.
            DataError: if the verifier cannot read the gold of a row.
        """
        task = cls(**settings)
        check_packages(task.scores)
        examples = [example for part in splits.values() for example in part]
        if task.system is not None and not task.chat and examples and not any(item.messages for item in examples):
            raise ConfigError("Generation(system=...): the rows are prompts, and stand as they are. Give chat=True to "
                              "make messages of them, or leave system out.")  # fmt: skip
        raise_if_any(task.problems(examples))
        return task

    def problems(self, examples: Sequence[GenerationExample]) -> list[Problem]:
        """Return for each row what its verifier cannot read in its gold."""
        if self.verifier is None:
            return []
        verifier, found = as_verifier(self.verifier), []
        for example in examples:
            try:
                verifier.parse_gold(gold_of(example, verifier))
            except DataError as error:
                what, _, remedy = str(error).partition(". ")
                found.append(Problem(example.where, what, remedy, code="unreadable_gold"))
        return found

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with the tokens that end a completion and an answer, and an encoder-decoder's head for one.

        Raises:
            ConfigError: if the model does not write texts, or not of this length, or its tokenizer has no end token.
        """
        if config.is_encoder_decoder:
            check_writer(config, self.max_new_tokens)
        else:
            check_decoder(config)
        answer_end = end_of_turn(tokenizer)
        end = int(tokenizer.eos_token_id)
        if config.is_encoder_decoder:
            return replace(self, head=BY_ENCODER_DECODER, end_tokens=[end, end])
        return replace(self, end_tokens=[end, answer_end])

    def head_arguments(self) -> dict[str, Any]:
        """Return how to generate, and whether what is generated is scored."""
        return {
            "end_tokens": list(self.end_tokens),
            "max_new_tokens": self.max_new_tokens,
            "sampling_temperature": self.temperature,
            "sampling_top_p": self.top_p,
            "num_samples": self.num_samples,
            "generate_gold": self._scores_texts,
        }

    @property
    def _scores_texts(self) -> bool:
        return self.metric not in ("loss", "perplexity")

    def _verdicts(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[GenerationExample]
    ) -> list[Verdict] | None:
        """Return what the verifier says of each text; None: there is no verifier."""
        if self.verifier is None:
            return None
        verifier = as_verifier(self.verifier)
        golds = [gold_of(example, verifier) for example in examples]
        return verifier.verify([prediction["text"] for prediction in predictions], golds)

    def example_from_input(self, value: Any) -> GenerationExample:
        """Accept a string, `{"prompt"}` (text or messages) or `{"messages"}`."""
        return GenerationExample.from_input(value)

    def encode(
        self, examples: Sequence[GenerationExample], tokenizer: Any, *, max_length: int, stride: int
    ) -> list[list[Feature]]:
        """Return one feature an example: its prompt, and if it has gold its completion and the end token as labels.

        Raises:
            ConfigError: if `max_new_tokens` leaves no room for prompts.
            DataError: if the chat template refuses messages.
        """
        if not examples:
            return []
        if self.head == BY_ENCODER_DECODER:
            texts = [self._prompt_text(example, tokenizer) for example in examples]
            golds = [example.completion for example in examples]
            limits = {"longest": max_length, "written": self.max_new_tokens}
            return read_and_written(texts, golds, tokenizer, end=self.end_tokens[0], **limits)
        room = max_length - self.max_new_tokens
        if room < 1:
            raise ConfigError(f"max_new_tokens={self.max_new_tokens} leaves no room for prompts: max_length is "
                              f"{max_length}. Give Generation(max_new_tokens=...) a smaller number.")  # fmt: skip
        begin = _begin(tokenizer)
        prompts = self._prompts(examples, tokenizer, begin)
        completions = _tokens(tokenizer, [example.completion or "" for example in examples])
        features = []
        for example, prompt, completion in zip(examples, prompts, completions, strict=True):
            end = self.end_tokens[self._is_chat(example)]
            gold = [] if example.completion is None else _ended(completion, end)
            shown = _cut(prompt or [end], room, keep=begin)
            features.append([self._feature(shown, gold, len(prompt) - len(shown), max_length)])
        return features

    def _prompts(self, examples: Sequence[GenerationExample], tokenizer: Any, begin: list[int]) -> list[list[int]]:
        """Return the tokens of each prompt: a text after the tokenizer's begin token, if it has one; or a chat."""
        texts = [self._prompt_text(example, tokenizer) for example in examples]
        begins = [[] if self._is_chat(example) and tokenizer.chat_template else begin for example in examples]
        return [[*first, *ids] for first, ids in zip(begins, _tokens(tokenizer, texts), strict=True)]

    def _prompt_text(self, example: GenerationExample, tokenizer: Any) -> str:
        if not self._is_chat(example):
            return example.prompt
        return chat_text(tokenizer, self._messages(example), where=example.where)

    def _is_chat(self, example: GenerationExample) -> bool:
        return bool(example.messages) or self.chat

    def _messages(self, example: GenerationExample) -> tuple[Message, ...]:
        messages = example.messages or (Message(USER, example.prompt),)
        if self.system is None or any(message.role == SYSTEM for message in messages):
            return messages
        return (Message(SYSTEM, self.system), *messages)

    def _feature(self, shown: list[int], gold: list[int], cut: int, max_length: int) -> Feature:
        """Return the feature of a prompt, and of a completion, whose end is cut where there is no room; count it all.

        Args:
            shown: the prompt, after `cut` tokens of it were cut.
            gold: the completion with its end token; empty: there is none.
            cut: see there.
            max_length: tokens of both.
        """
        kept = gold[: max_length - len(shown)]
        lost = Lost(max(0, cut), len(gold) - len(kept), max(0, len(gold) - self.max_new_tokens))
        if lost.prompt:
            count(f"{{n}} prompts are longer than {max_length - self.max_new_tokens} tokens (max_length={max_length} "
                  f"less max_new_tokens={self.max_new_tokens}); their beginning was cut.")  # fmt: skip
        if lost.completion:
            count(f"{{n}} completions do not fit into max_length={max_length} tokens; their end was cut, and no end "
                  "token is learned from them.")  # fmt: skip
        if lost.not_generated and self._scores_texts:
            count(f"{{n}} completions are longer than max_new_tokens={self.max_new_tokens}: they cannot be generated "
                  "whole.")  # fmt: skip
        ids = shown + kept
        targets = {"labels": [IGNORED] * len(shown) + kept} if kept else {}
        return Feature({"input_ids": ids, "attention_mask": [1] * len(ids)}, {}, targets, list(lost))

    def read_records(self, records: Sequence[Any], tokenizer: Any) -> list[Any]:
        """Return the generated texts: for each feature a list of dicts, one a sample; None where none was generated."""
        ends = set(self.end_tokens)

        def read(tokens: list[int]) -> dict[str, Any]:
            text = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            return {"text": text, "finished": bool(tokens) and tokens[-1] in ends, "tokens": len(tokens)}

        return [record if record is None else [read(tokens) for tokens in record] for record in records]

    def decode(
        self,
        records: Sequence[list[dict[str, Any]] | None],
        features: Sequence[Sequence[Feature]],
        examples: Sequence[GenerationExample],
    ) -> list[dict[str, Any]]:
        """Return `{"text", "finished", "tokens"}`: whether the end token came, and how many tokens there are.

        With several samples `samples` has the texts of all. Where nothing was generated `text` is None.
        """
        predictions: list[dict[str, Any]] = []
        for record in records:
            if record is None:
                predictions.append({"text": None})
                continue
            several = {"samples": [one["text"] for one in record]} if len(record) > 1 else {}
            predictions.append({**record[0], **several})
        return predictions

    def score(self, predictions: Sequence[dict[str, Any]], examples: Sequence[GenerationExample]) -> dict[str, Any]:
        """Return `exact_match` and `f1`, and as `finished` the share of texts that came to an end of their own.

        Beside them those of `scores`; with a verifier also `accuracy`, and the shares that are `wrong`, `unparsable` or
        `timed_out`.
        """
        if not self._scores_texts:
            return {}
        texts = [prediction["text"] for prediction in predictions]
        finished = [prediction["finished"] for prediction in predictions if "finished" in prediction]
        ended = {"finished": sum(finished) / len(finished)} if finished else {}
        verdicts = self._verdicts(predictions, examples)
        judged = {} if verdicts is None else shares(verdicts)
        if verdicts is not None and all(example.completion is None for example in examples):
            return {**judged, **ended}  # rows that have gold alone
        near = generation_scores([example.answers or "" for example in examples], texts)
        further = reference_scores(*by_prompt(texts, examples), self.scores) if self.scores else {}
        return {**judged, **near, **further, **ended}

    def text_size(self, example: GenerationExample, features: Sequence[Feature]) -> TextSize | None:
        """Return the size of the completion; of one that is cut, in proportion to its tokens."""
        kept = sum(label != IGNORED for feature in features for label in feature.token_targets.get("labels", ()))
        if not kept or example.completion is None:
            return None
        lost = sum(Lost(*feature.info).completion for feature in features)
        whole = text_size([example.completion], kept)
        return TextSize(kept, *(number * kept / (kept + lost) for number in whole[1:]))

    def loss_scores(self, loss: float, size: TextSize | None) -> dict[str, float]:
        """Return the perplexity of the completions, their end tokens included: of a token, a word and a byte."""
        return {} if size is None else perplexities(loss, size)

    def rows_right(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[GenerationExample]
    ) -> list[bool] | None:
        """Return whether the verifier says so, or without one whether the text is the gold one, but for white space."""
        if not self._scores_texts:
            return None
        verdicts = self._verdicts(predictions, examples)
        if verdicts is not None and self.primary_metric != "exact_match":
            return [verdict.correct for verdict in verdicts]
        pairs = zip(predictions, examples, strict=True)
        return [any(same_text(one, said["text"]) for one in row.answers or [""]) for said, row in pairs]

    def primary_counts(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[GenerationExample]
    ) -> RowCounts | None:
        """Return accuracy or exact match as a mean over rows; for other metrics None."""
        if self.primary_metric not in ("accuracy", "exact_match"):
            return None
        return RowCounts(mean_from_sums, mean_counts(self.rows_right(predictions, examples) or []))

    def gold_lost(self, example: GenerationExample, features: Sequence[Feature]) -> int:
        """Return 1 where the completion has more tokens than are ever generated."""
        return int(self._scores_texts and any(Lost(*feature.info).not_generated for feature in features))

    def baselines(
        self, training: Sequence[GenerationExample], examples: Sequence[GenerationExample]
    ) -> dict[str, Sequence[dict[str, Any]]]:
        """Return the completion that is the most frequent in training."""
        common = Counter(example.completion for example in training).most_common(1)[0][0]
        return {"majority": [{"text": common}] * len(examples)}

    def elsewhere(self) -> str:
        """Return how prompts are made, for those who generate without this library."""
        system = f" with the system message {self.system!r}" if self.system is not None else ""
        how = f"as a user's message in the tokenizer's chat template{system}" if self.chat else (
            f"as it is, chats by the tokenizer's chat template{system}")  # fmt: skip
        ends = ", ".join(map(str, dict.fromkeys(self.end_tokens)))
        return f"A prompt goes in {how}. A text ends with the token {ends} (`generate(..., eos_token_id=[{ends}])`)."


def gold_of(example: GenerationExample, verifier: Verifier) -> Any:
    """Return what a verifier compares with: the row's gold, or what it reads in the completion.

    Raises:
        DataError: if there is neither.
    """
    if example.gold is not None:
        return example.gold
    if example.completion is None:
        raise DataError(f"{type(verifier).__name__}: the row has no gold and no completion. Give one of them.")
    return verifier.gold_in(example.completion)


def _begin(tokenizer: Any) -> list[int]:
    """Return the begin token, if the tokenizer puts it before a text."""
    empty = tokenizer("")["input_ids"]
    return [tokenizer.bos_token_id] if tokenizer.bos_token_id in empty[:1] else []


def _cut(prompt: list[int], room: int, *, keep: list[int]) -> list[int]:
    """Return the end of a prompt that is longer than `room`, behind the tokens `keep` if it begins with them."""
    if len(prompt) <= room:
        return prompt
    kept = keep if prompt[: len(keep)] == keep and len(keep) < room else []
    return [*kept, *prompt[len(prompt) - room + len(kept) :]]


def _tokens(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of texts, with none before or after."""
    encoded = tokenizer(whole_characters(list(texts)), add_special_tokens=False, verbose=False)
    return [list(map(int, ids)) for ids in encoded["input_ids"]]


def _ended(tokens: list[int], end: int) -> list[int]:
    """Return a completion with its end token, once."""
    return tokens if tokens[-1:] == [end] else [*tokens, end]
