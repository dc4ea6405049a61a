"""How does trl get our rows? Its trainers, with our tokens of prompts and answers, and our texts for rewards."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from reasoner.data.completions import GenerationExample
from reasoner.errors import ConfigError
from reasoner.reinforcement.subject import Subject
from reasoner.tasks.generation import gold_of
from reasoner.verifiers.base import as_verifier

Reward = Callable[[str, GenerationExample], float]


def grpo_trainer(subject: Subject, reward: Reward, arguments: dict[str, Any]) -> Any:
    """Return trl's trainer, which gets our tokens of the prompts, and our texts of what it generates."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    examples, task, tokenizer = subject.splits["train"], subject.predictor.task, subject.predictor.tokenizer
    asked = [ids for ids, _ in subject.tokens([replace(example, completion=None) for example in examples])]
    shown = [tokenizer.decode(ids) for ids in asked]
    tokens = dict(zip(shown, asked, strict=True))

    class Trainer(GRPOTrainer):
        def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return [tokens[prompt] for prompt in prompts], None, {}

    def rewards(completion_ids: list[list[int]], index: list[int], **others: Any) -> list[float]:
        read = task.read_records([[ids] for ids in completion_ids], tokenizer)
        return [float(reward(one["text"], examples[place])) for (one,), place in zip(read, index, strict=True)]

    rows = Dataset.from_dict({"prompt": shown, "index": list(range(len(shown)))})
    if "_tokenize_prompts" not in vars(GRPOTrainer):
        raise ConfigError("This version of trl makes tokens of prompts in another way. Install trl 1.16.")
    return _made(subject, Trainer, GRPOConfig, arguments, train_dataset=rows, reward_funcs=rewards)


def dpo_trainer(subject: Subject, arguments: dict[str, Any]) -> Any:
    """Return trl's trainer, which gets our tokens of prompts and answers."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    examples = subject.splits["train"]
    chosen = subject.tokens(examples)
    rejected = subject.tokens([replace(example, completion=example.rejected) for example in examples])
    pairs = zip(chosen, rejected, strict=True)
    rows = Dataset.from_list(
        [{"prompt_ids": ids, "chosen_ids": good, "rejected_ids": bad} for (ids, good), (_, bad) in pairs]
    )

    class Trainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *others: Any, **named: Any) -> Any:
            return dataset

    if "_prepare_dataset" not in vars(DPOTrainer):
        raise ConfigError("This version of trl makes tokens of pairs in another way. Install trl 1.16.")
    plain = subject.predictor.model.added is None
    before = {"ref_model": deepcopy(subject.trained)} if plain else {}
    return _made(subject, Trainer, DPOConfig, arguments, train_dataset=rows, **before)


def _made(subject: Subject, trainer_class: Any, config_class: Any, arguments: dict[str, Any], **parts: Any) -> Any:
    """Return a trainer of trl with a bar of our kind.

    Raises:
        ConfigError: if it does not take a setting.
    """
    from tqdm.auto import tqdm
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.bar = tqdm(total=state.max_steps, unit="step")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            told = {key: logs[key] for key in ("loss", "reward", "rewards/accuracies") if key in (logs or {})}
            self.bar.update(state.global_step - self.bar.n)
            self.bar.set_postfix(told)

        def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.bar.close()

    try:
        config = config_class(**arguments)
        trainer = trainer_class(
            model=subject.trained, args=config, processing_class=deepcopy(subject.predictor.tokenizer),
            callbacks=[Bar()], **parts,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trl refuses these settings: {error}") from error
    trainer.remove_callback(PrinterCallback)
    return trainer


def verified(subject: Subject) -> Reward:
    """Return the verifier's reward as a function of a text and its row."""
    verifier = as_verifier(getattr(subject.predictor.task, "verifier", None) or {})

    def reward(text: str, example: GenerationExample) -> float:
        return verifier(text, gold_of(example, verifier)).reward

    return reward
