"""Generation: how does a text go on, or a chat? Completions are learned, and scored against generated ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from reasoner.data.chat import ASSISTANT, SYSTEM, USER, Message, chat_text, end_of_turn, read_messages
from reasoner.data.examples import Example, MissingColumnError, RowError, column, text_column
from reasoner.data.features import Feature
from reasoner.data.windows import whole_characters
from reasoner.errors import ConfigError, DataError
from reasoner.losses import IGNORED
from reasoner.metrics.counting import RowCounts, mean_counts, mean_from_sums
from reasoner.metrics.generation import generation_scores, perplexity, same_text
from reasoner.networks import check_decoder
from reasoner.notices import count
from reasoner.tasks.base import Splits, Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

METRICS = ("exact_match", "f1", "loss", "perplexity")


class Lost(NamedTuple):
    """What a length limit takes from a row, in tokens."""

    prompt: int
    """Cut off its beginning."""
    completion: int
    """Cut off its end, the end token among them."""
    not_generated: int
    """Of the completion, more than are ever generated."""


@dataclass(frozen=True, kw_only=True)
class GenerationExample(Example):
    """A prompt, or the messages of a chat, and what comes after it."""

    aliases = {
        "prompt": ("question", "source", "query"),
        "completion": ("answer", "target", "response", "output"),
        "messages": ("conversations",),
    }
    kept_together = "rows of equal prompts"

    prompt: str = ""
    """Text to go on with; empty where there are messages."""
    messages: tuple[Message, ...] = ()
    """The chat before the answer; in files the answer is its last message, or stands in `completion`."""
    completion: str | None = None
    """What is learned: how the text goes on, or the assistant's answer; None at prediction."""

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any], *, where: str) -> Self:
        """Make an example of a row: `prompt` and `completion`, texts or messages; or `messages`."""
        given = column(columns, "messages", cls, default=None)
        if given is not None:
            *messages, last = read_messages(given)
            if last.role != ASSISTANT:
                raise RowError(f"the last message is the {last.role}'s, so that there is no answer to learn",
                               'Let messages end with {"role": "assistant", ...}, or leave the row out.')  # fmt: skip
            if not messages:
                raise RowError("the answer is the only message", "Give the message that it answers before it.")
            return cls(messages=tuple(messages), completion=last.content, where=where)
        try:
            prompt = column(columns, "prompt", cls)
        except MissingColumnError as error:
            raise MissingColumnError(error.what + ", and there are no messages", error.remedy) from None
        if isinstance(prompt, (list, tuple)):
            answer = column(columns, "completion", cls)
            if isinstance(answer, (list, tuple)):
                answer = read_messages(answer)[-1].content
            completion = text_column({"completion": answer}, "completion", cls)
            return cls(messages=read_messages(prompt), completion=completion, where=where)
        return cls(
            prompt=text_column(columns, "prompt", cls),
            completion=text_column(columns, "completion", cls),
            where=where,
        )

    @property
    def texts(self) -> dict[str, str]:
        """The prompt; of a chat its messages, each after its role."""
        chat = "\n".join(f"{message.role}: {message.content}" for message in self.messages)
        return {"prompt": chat or self.prompt}

    @property
    def label(self) -> str | None:
        """The completion: checks look for rows of one prompt that differ in it."""
        return self.completion

    @property
    def group(self) -> str:
        """The same prompt must not stand on both sides of a split."""
        return self.texts["prompt"].casefold()


@dataclass(frozen=True, kw_only=True)
class Generation(Task[GenerationExample, dict[str, Any]]):
    """A decoder goes on with a prompt, or answers in a chat. Of a row its completion alone is learned.

    A prompt is tokenised alone, and so is its completion: what training sees is what stands there when a text is
    generated. Prompts get `max_length` less `max_new_tokens` tokens, in training as in use.
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
    metric: str = "exact_match"
    """What early stopping goes by: "exact_match", "f1", or "loss" or "perplexity". With these two evaluation generates
    nothing, and is as fast as a pass over the rows."""
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
        if self.metric not in METRICS:
            raise ConfigError(f"Generation(metric={self.metric!r}): give one of {', '.join(METRICS)}.")

    @property
    def primary_metric(self) -> str:
        """`metric`."""
        return self.metric

    @classmethod
    def from_examples(cls, splits: Splits[GenerationExample], **settings: Any) -> Self:
        """Make the task.

        Raises:
            ConfigError: if a system message is given and no row is a chat.
        """
        task = cls(**settings)
        examples = [example for part in splits.values() for example in part]
        if task.system is not None and not task.chat and examples and not any(item.messages for item in examples):
            raise ConfigError("Generation(system=...): the rows are prompts, and stand as they are. Give chat=True to "
                              "make messages of them, or leave system out.")  # fmt: skip
        return task

    def fitted_to(self, config: PreTrainedConfig, tokenizer: Any) -> Self:
        """Return the task with the tokens that end a completion and an answer.

        Raises:
            ConfigError: if the model is no decoder, or its tokenizer has no end token.
        """
        check_decoder(config)
        answer_end = end_of_turn(tokenizer)
        return replace(self, end_tokens=[int(tokenizer.eos_token_id), answer_end])

    def head_arguments(self) -> dict[str, Any]:
        """Return how to generate, and whether what is generated is scored."""
        return {
            "end_tokens": list(self.end_tokens),
            "max_new_tokens": self.max_new_tokens,
            "sampling_temperature": self.temperature,
            "num_samples": self.num_samples,
            "generate_gold": self._scores_texts,
        }

    @property
    def _scores_texts(self) -> bool:
        return self.metric not in ("loss", "perplexity")

    def example_from_input(self, value: Any) -> GenerationExample:
        """Accept a string, `{"prompt"}` (text or messages) or `{"messages"}`."""
        if isinstance(value, str):
            value = {"prompt": value}
        given = next((value[name] for name in ("messages", "prompt") if name in value), None) if isinstance(
            value, Mapping) else None  # fmt: skip
        try:
            if isinstance(given, str):
                return GenerationExample(prompt=text_column({"prompt": given}, "prompt", GenerationExample))
            if isinstance(given, (list, tuple)):
                messages = read_messages(given)
                if messages[-1].role == ASSISTANT:
                    raise RowError("the last message is the assistant's", "End with what it is to answer.")
                return GenerationExample(messages=messages)
        except RowError as error:
            raise DataError(f"{error.what}. {error.remedy}") from None
        raise DataError(f"generation predicts for a string, {{'prompt': ...}} or {{'messages': [{{'role': ..., "
                        f"'content': ...}}, ...]}}, not for {value!r:.60}.")  # fmt: skip

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
        texts, begins = [], []
        for example in examples:
            if self._is_chat(example):
                texts.append(chat_text(tokenizer, self._messages(example), where=example.where))
                begins.append([] if tokenizer.chat_template else begin)
            else:
                texts.append(example.prompt)
                begins.append(begin)
        return [[*first, *ids] for first, ids in zip(begins, _tokens(tokenizer, texts), strict=True)]

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
        """Return `exact_match` and `f1`, and as `finished` the share of texts that came to an end of their own."""
        if not self._scores_texts:
            return {}
        gold = [example.completion or "" for example in examples]
        finished = [prediction["finished"] for prediction in predictions if "finished" in prediction]
        shares = {"finished": sum(finished) / len(finished)} if finished else {}
        return {**generation_scores(gold, [prediction["text"] for prediction in predictions]), **shares}

    def loss_scores(self, loss: float) -> dict[str, float]:
        """Return the perplexity of a token of the completions."""
        return {"perplexity": perplexity(loss)}

    def rows_right(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[GenerationExample]
    ) -> list[bool] | None:
        """Return whether the text is the gold one, but for white space."""
        if not self._scores_texts:
            return None
        pairs = zip(predictions, examples, strict=True)
        return [same_text(example.completion or "", prediction["text"]) for prediction, example in pairs]

    def primary_counts(
        self, predictions: Sequence[dict[str, Any]], examples: Sequence[GenerationExample]
    ) -> RowCounts | None:
        """Return exact match as a mean over rows; for other metrics None."""
        if self.metric != "exact_match":
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
