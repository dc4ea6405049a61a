"""How is a model trained on a stream: what do its first rows tell, which batches does it give, what is refused?"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from math import ceil
from typing import Any

from reasoner.data.batching import Batches, ShareOfBatches
from reasoner.data.features import Batch
from reasoner.data.labels import NEVER_MET
from reasoner.data.streams import Stream, StreamedRows
from reasoner.errors import ConfigError, DataError, Problem, raise_if_any
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.methods.base import Method
from reasoner.notices import adding_to, say, say_totals
from reasoner.reports.run import Run
from reasoner.tasks.base import Task
from reasoner.training.callbacks import Callback
from reasoner.training.config import TrainingConfig
from reasoner.training.ranks import current

BUFFER = 1_000
"""Rows that are held, shuffled and sorted by length at a time; more where they are fewer than `LEAST_BATCHES`."""
LEAST_BATCHES = 16
EVALUATIONS = 10
"""How often validation is scored where `eval_steps` says nothing: the end of an epoch may never come."""
KEPT_PLACES = 8
"""Of how many buffers it is kept where they began: the trainer is a few batches behind the one that was read last."""
KEPT_BATCHES = 64
"""Of how many batches, and those of a step, it is kept where their rows stand, for the loss watch."""
STOPS = (
    "Training stops here: what was learned is in output_dir, if there is one, and once the row is right resume=True "
    "goes on from the last checkpoint there."
)
NOT_KNOWN = "it is none of those that were known when training began"
"""Why a label of a stream is unknown."""


def check_stream(splits: Mapping[str, Any], config: TrainingConfig) -> None:
    """Refuse, before anything is read, what cannot be done with a stream of training rows.

    Args:
        splits: the sources of the other splits.
        config: all settings.

    Raises:
        ConfigError: with what to do instead.
    """
    if config.max_steps is None:
        raise ConfigError("train is a stream, and nobody knows how many rows it has: give max_steps.")
    if splits.get("validation") is None:
        raise ConfigError("train is a stream, from which no validation split can be cut off: give one beside it.")
    for name, on, why in (
        ("balanced_sampling", config.balanced_sampling, "labels are drawn alike from all rows"),
        ("teacher", config.teacher is not None, "what it says is computed for all rows before training"),
        ("debias", config.debias is not None, "what the shortcut tells is computed for all rows before training"),
    ):
        if on:
            raise ConfigError(f"{name} does not go with a stream of training rows: {why}. Leave it out.")


def check_parts(settings: Mapping[str, Any], method: Method | None) -> None:
    """Refuse settings of the task, and methods, that must see all training rows.

    Raises:
        ConfigError: with what to do instead.
    """
    if settings.get("class_weights") == "balanced":
        raise ConfigError("class_weights='balanced' counts the labels of all training rows, and train is a stream. "
                          "Give the weights by name.")  # fmt: skip
    if settings.get("case_features", False) is None:
        raise ConfigError("case_features=None looks at all training words, and train is a stream. Give True or False.")
    if settings.get("document_context"):
        raise ConfigError("document_context needs all sentences of a document, and train is a stream. Leave it out.")
    if method is not None and type(method).begin_epoch is not Method.begin_epoch:
        raise ConfigError(f"{type(method).__name__} lets more weights learn with each epoch, and a stream may never "
                          "end its first. Take another method.")  # fmt: skip


def settings_for(config: TrainingConfig, rows: Sequence[Any]) -> TrainingConfig:
    """Return the settings, those of a stream with `eval_steps`; and say once what a stream means."""
    if not isinstance(rows, StreamedRows):
        return config
    say(f"train is a stream: its first {len(rows):,} rows were read to see what they hold, and what is said of train "
        "before training is said of them. Left out, since they need all training rows: label review, scores of what "
        "training showed and what not, and what caches keep of training rows.")  # fmt: skip
    if config.eval_steps is not None:
        return config
    steps = ceil((config.max_steps or 1) / EVALUATIONS)
    say(f"eval_steps={steps}: a tenth of max_steps, since nobody knows when an epoch of a stream ends.")
    return replace(config, eval_steps=steps)


def task_from(
    task_class: type[Task[Any, Any]],
    settings: Mapping[str, Any],
    splits: Mapping[str, Sequence[Any]],
    *,
    method: Method | None = None,
) -> Task[Any, Any]:
    """Return the task, with what it learns from the examples of all splits.

    Of a stream labels are those that the settings name; else those that its features declare; else those of its first
    rows, of validation and of test together.

    Args:
        task_class: the task.
        settings: what the person said of it.
        splits: the examples.
        method: which weights learn; with a stream not every one can be used.

    Raises:
        LabelError: if the labels cannot be used.
        ConfigError: see `check_parts`.
    """
    rows = splits.get("train")
    if not isinstance(rows, StreamedRows):
        return task_class.from_examples(splits, **settings)
    check_parts(settings, method)
    if why := task_class.needs_all_rows:
        raise ConfigError(
            f"{task_class.__name__} cannot be trained on a stream: {why}. Give the rows as a list or file."
        )
    if "labels" not in {item.name for item in fields(task_class)} or settings.get("labels"):
        return task_class.from_examples(splits, **settings)
    names = task_class.labels_named(rows.stream.label_names)
    if names:
        say(f"The labels are those that the stream's features name: {', '.join(names)}.")
        return task_class.from_examples(splits, **{**settings, "labels": names})
    others = [split for split in splits if split != "train"]
    task = task_class.from_examples({"train": [row for part in splits.values() for row in part]}, **settings)
    if labels := getattr(task, "labels", ()):
        say(f"The labels are those of the first {len(rows):,} rows of train and all of {' and '.join(others)}: "
            f"{', '.join(labels)}. A row with another one would stop training.")  # fmt: skip
    return task


@dataclass(frozen=True)
class _Place:
    """Where a buffer begins in a pass."""

    epoch: int
    batches: int = 0
    """How many came before in this pass."""
    rows: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    """What was cut or left out before, by the message that says it."""


class StreamBatches:
    """The training batches of a stream, see `EpochBatches`: an epoch is one pass over it, and gives every row once.

    Rows are read, encoded, and made into shuffled batches of like length as `Batches` makes them, a buffer at a time:
    so many rows are in memory, and within so many the order is another one. How many batches a pass has is not known
    before its end: till then the length is that of the whole training, which is the first epoch if no pass ends.
    Of several ranks each reads all rows, and gives its share of each batch, None where that is nothing.

    Args:
        stream: the rows.
        predictor: encodes them.
        config: for the size of batches, the seed, and the number of steps.
    """

    def __init__(self, stream: Stream, predictor: Predictor, config: TrainingConfig) -> None:
        self.stream, self.predictor, self.config = stream, predictor, config
        self.keep_together, self.ranks = predictor.task.keep_together, current()
        self._size = size = config.per_device_train_batch_size * self.ranks.number
        self.buffer = size * max(LEAST_BATCHES, ceil(BUFFER / size))
        """Rows of a buffer."""
        self.epoch = 0
        self.rows = 0
        """The most that were read in a pass so far."""
        self.counted: Counter[str] = Counter()
        self._lengths: dict[int, int] = {}  # of the last passes that came to their end (made ahead, one may be running)
        self._places: deque[_Place] = deque(maxlen=KEPT_PLACES)
        self._where: deque[dict[int, str]] = deque(maxlen=KEPT_BATCHES + config.gradient_accumulation_steps)
        self._features = 0  # how many have got a number

    def __len__(self) -> int:
        """Return how many batches the pass before this one had; in the first pass how many batches training takes."""
        steps = self.config.max_steps or 1
        return self._lengths.get(self.epoch - 1) or steps * self.config.gradient_accumulation_steps

    def __iter__(self) -> Iterator[Batch | None]:
        return self.after(0)

    def after(self, number: int) -> Iterator[Batch | None]:
        """Yield the batches of this pass but the first `number`, reading on from the last buffer that is known before.

        Raises:
            DataError: if a row cannot be used, or there is none.
        """
        try:
            yield from self._after(number)
        except DataError as error:
            problems = [replace(one, what=one.what.replace(NEVER_MET, NOT_KNOWN)) for one in error.problems]
            if problems:
                problems[-1] = replace(problems[-1], remedy=f"{problems[-1].remedy} {STOPS}")
            raise type(error)(problems or f"{error} {STOPS}") from error

    def _after(self, number: int) -> Iterator[Batch | None]:
        place = self._last_before(number)
        counted = Counter(place.counted)
        if self.epoch - 1 in self._lengths and not number:
            say(f"The stream ended after {self.rows:,} rows, before max_steps: it is read again, as another epoch.")
        for rows in self.stream.rows(self.buffer, epoch=self.epoch, skip=place.rows):
            self._places.append(place)
            read = place.rows + len(rows)
            self.rows = max(self.rows, read)
            data = self._encoded(rows, counted)
            if self.epoch == 0:
                self.counted = counted
            batches, first = self._batches(data, place), self._features
            self._features += len(batches.lengths)
            for indexes in batches.plan()[max(0, number - place.batches) :]:
                yield self._share(batches, indexes, data, first)
            place = _Place(self.epoch, place.batches + len(batches), read, _whole_numbers(counted))
            del rows, data, batches  # before the next ones are made
        if not place.batches:
            what = f"a pass over the stream gave no row to train on (rows read: {place.rows:,})"
            raise DataError([Problem(self.stream.name, what, "It must be possible to read it again from its beginning, "
                                     "and rows must have gold.", code="empty_split")])  # fmt: skip
        before = {epoch: length for epoch, length in self._lengths.items() if epoch == self.epoch - 1}
        self._lengths = before | {self.epoch: place.batches}

    def where(self, batch: Batch) -> list[str]:
        """Return where the row of each feature of a batch stands; of the batches that were made last."""
        known = {index: where for places in self._where for index, where in places.items()}
        return [known.get(index, self.stream.name) for index in batch.feature_index]

    def state_dict(self) -> dict[str, Any]:
        """Return where the last buffers begin and what was counted, as JSON values."""
        return {
            "places": [asdict(place) for place in self._places],
            "lengths": list(self._lengths.items()),
            "rows": self.rows,
            "counted": _whole_numbers(self.counted),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it back: `after` then reads on from there."""
        self._places = deque((_Place(**place) for place in state["places"]), maxlen=KEPT_PLACES)
        self._lengths, self.rows, self.counted = dict(state["lengths"]), state["rows"], Counter(state["counted"])

    def _last_before(self, number: int) -> _Place:
        """Return the last buffer that is known to begin at or before a batch of this pass."""
        known = [place for place in self._places if place.epoch == self.epoch and place.batches <= number]
        return max(known, key=lambda place: place.rows, default=_Place(self.epoch))

    def _encoded(self, rows: Sequence[Any], counted: Counter[str]) -> Encoded:
        """Check and encode rows, and count what is dropped or cut."""
        task, limits = self.predictor.task, {"max_length": self.predictor.max_length, "stride": self.predictor.stride}
        with adding_to(counted):
            examples = self.stream.examples(rows)
            raise_if_any(task.problems(examples))
            read = list(task.in_context(examples, whole=True))
            return Encoded(examples, task.encode(read, self.predictor.tokenizer, **limits) if read else [])

    def _batches(self, data: Encoded, place: _Place) -> Batches:
        batches = self.predictor.batches(
            data,
            batch_size=self._size,
            tokens_per_batch=self.config.tokens_per_batch and self.config.tokens_per_batch * self.ranks.number,
            shuffle=True,
            seed=self.config.seed,
        )
        batches.epoch = self.epoch * 1_000_003 + place.rows // self.buffer  # another order in each buffer of each pass
        return batches

    def _share(self, batches: Batches, indexes: list[int], data: Encoded, first: int) -> Batch | None:
        """Return what this rank has of a batch, its features numbered from `first` on, as those of no other buffer."""
        if self.ranks.number > 1:
            indexes = ShareOfBatches(batches, self.ranks.index, self.ranks.number).own(indexes)
        if not indexes:
            return None
        batch = batches.collate(indexes)
        batch.feature_index = [first + index for index in indexes]
        places = [data.examples[batches.example_of[index]].where for index in indexes]
        self._where.append(dict(zip(batch.feature_index, places, strict=True)))
        return batch


def _whole_numbers(counted: Mapping[str, Any]) -> dict[str, int]:
    return {message: number for message, number in counted.items() if isinstance(number, int)}


class StreamPlace(Callback):
    """Keeps for a checkpoint where in the stream training is, and writes into the record how many rows it has read."""

    def __init__(self, batches: StreamBatches, run: Run) -> None:
        self.batches, self.run = batches, run

    def on_evaluate(self, trainer: Any, metrics: dict[str, Any]) -> None:
        """Write down the rows: the model may be saved now."""
        self.run.rows["train"] = self.batches.rows

    def on_train_end(self, trainer: Any) -> None:
        """Write down the rows, and say what was left out or cut of them."""
        self.run.rows["train"] = self.batches.rows
        say_totals(self.batches.counted, "train: ")

    def state_dict(self) -> dict[str, Any]:
        """Return the place."""
        return self.batches.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self.batches.load_state_dict(state)
