"""What is trained by rewards or preferences: rows, a model whose weights a method has marked, and the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from reasoner.base_model import model_source
from reasoner.comparison import write_scores
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError, DataError
from reasoner.evaluation import Evaluation
from reasoner.inference import Predictor
from reasoner.losses import IGNORED
from reasoner.methods.base import Method
from reasoner.networks import check_decoder
from reasoner.notices import say
from reasoner.preparation import as_method, build_predictor, names_of_sources
from reasoner.recording import record_of
from reasoner.registry import name_of
from reasoner.reports.run import Run
from reasoner.tasks.generation import Generation
from reasoner.training.config import TrainingConfig

METHODS = ("full", "lora")


@dataclass(frozen=True)
class Subject:
    """What is trained, on what."""

    predictor: Predictor
    splits: Mapping[str, Sequence[Any]]
    method: Method
    run: Run

    @property
    def trained(self) -> Any:
        """The network as trl takes it: peft's model where the method is peft's."""
        model = self.predictor.model
        return model.network if model.added is None else model.added.peft

    @property
    def scored(self) -> str | None:
        """The split that is scored before and after."""
        return next((name for name in ("test", "validation") if name in self.splits), None)

    def rate(self, given: float | None) -> float:
        """Return the learning rate."""
        if given is not None:
            return given
        rate = self.method.learning_rate(self.predictor.model.network.config.hidden_size) / 10
        say(f"Learning rate {rate:.2g}, a tenth of the rule of {type(self.method).__name__}.")
        return rate

    def tokens(self, examples: Sequence[Any]) -> list[tuple[list[int], list[int]]]:
        """Return for each row the tokens of its prompt, and those of its completion."""
        found = []
        for feature in self.predictor.encode(examples).features:
            (one,) = feature
            ids = [int(token) for token in one.inputs["input_ids"]]
            gold = sum(int(label) != IGNORED for label in one.token_targets.get("labels", ()))
            found.append((ids[: len(ids) - gold], ids[len(ids) - gold :]))
        return found


def subject_of(
    model: Any, data: Any, schema: type[Any], task: Generation, method: str | Method, use_cpu: bool,
    max_length: int | None, seed: int, columns: Mapping[str, Any] | None, tokenizer: Any,
) -> Subject:  # fmt: skip
    """Read the rows, load the model, mark what learns, and begin the record."""
    if not find_spec("trl"):
        raise ConfigError("grpo and dpo need trl. Install it: pip install 'reasoner-ft[rl]'.")
    method = as_method(method)
    if name_of("method", type(method)) not in METHODS:
        raise ConfigError(f"grpo and dpo train by {' or '.join(METHODS)}, not by {method!r}. Give one of them.")
    splits = examples_from_rows(read_splits(data, columns=columns), schema)
    if "train" not in splits:
        raise DataError(f"There is no train split, only {', '.join(splits)}. Give {{'train': ...}}.")
    config = TrainingConfig(use_cpu=use_cpu, max_length=max_length, seed=seed)
    made = Generation.from_examples(splits, **task.settings())
    predictor = build_predictor(model_source(model), made, config=config, tokenizer=tokenizer)
    check_decoder(predictor.model.network.config, "grpo and dpo")
    method.apply(predictor.model)
    run = record_of(
        model, predictor, splits, method=repr(method), sources=names_of_sources(data, list(splits)), config={}
    )
    run.versions["trl"] = version("trl")
    return Subject(predictor, splits, method, run)


def score(subject: Subject, split: str, name: str) -> Evaluation:
    """Score a split, and write that into the record under a name."""
    examples = subject.splits[split]
    evaluation = subject.predictor.evaluate_examples(examples, name=split)
    write_scores(subject.run, name, subject.predictor.task, evaluation, examples)
    return evaluation


@contextmanager
def lent(subject: Subject) -> Iterator[None]:
    """Let trl have the network inside the block; what it changes beside the weights is put back after."""
    model, task = subject.predictor.model, subject.predictor.task
    network: Any = model.network
    generation, pad = network.generation_config, network.config.pad_token_id
    network.generation_config = deepcopy(generation)
    network.generation_config.eos_token_id = list(getattr(task, "end_tokens", ()))
    try:
        yield
    finally:
        network.generation_config, network.config.pad_token_id = generation, pad
        if "ref" in getattr(subject.trained, "peft_config", ()):
            subject.trained.delete_adapter("ref")
        model.to(subject.predictor.device)
        model.eval()
