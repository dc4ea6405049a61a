"""The public functions: GRPO learns from what a verifier says of texts, DPO from which of two answers is preferred."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.comparison import compare
from reasoner.data.completions import PreferenceExample, QuestionExample
from reasoner.errors import ConfigError, DivergedError
from reasoner.methods.base import Method
from reasoner.notices import collect
from reasoner.reinforcement.subject import Subject, lent, score, subject_of
from reasoner.reinforcement.trainers import Reward, dpo_trainer, grpo_trainer, verified
from reasoner.result import Result
from reasoner.tasks.generation import Generation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OURS = {"logging_steps", "logging_strategy"}
"""Settings of trl's that are not the caller's."""


def grpo(
    model: str | Path | PreTrainedModel,
    data: Any,
    *,
    task: Generation,
    reward: Reward | None = None,
    method: str | Method = "lora",
    max_steps: int = 100,
    n: int = 8,
    prompts_per_step: int = 4,
    temperature: float = 1.0,
    learning_rate: float | None = None,
    max_length: int | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    use_cpu: bool = False,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    **settings: Any,
) -> Result:
    """Train a decoder on what a verifier says of the texts that it generates: no completion is shown.

    Group relative policy optimisation (Shao et al., 2024, https://arxiv.org/abs/2402.03300) by trl's `GRPOTrainer`. A
    step draws `n` texts for each of some prompts; those with a greater reward than the mean of their prompt become more
    probable. Where all texts of a prompt have one reward there is nothing to learn: begin with a model that is right
    now and then, tuned by `fine_tune`, say.

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`, but completions may be missing; a column `gold` is for the verifier. Validation and
            test rows, if there are any, are scored before and after; none are cut off.
        task: its verifier gives the rewards (`Verdict.reward`), its `max_new_tokens` holds for the texts.
        reward: instead of the verifier's, a function of a text and its row.
        method: "lora" or "full", or such an object.
        max_steps: steps of the optimizer.
        n: texts for each prompt, 2 or more.
        prompts_per_step: different prompts in a step.
        temperature: of the softmax from which tokens are drawn.
        learning_rate: at the first step, falling to 0; None: a tenth of the method's rule.
        max_length: as in `fine_tune`.
        seed: of order and draws.
        output_dir: where the model is saved at the end.
        use_cpu: stay on the CPU even if a CUDA device is there.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        settings: fields of trl's `GRPOConfig`, such as `beta=0.04` or `loss_type="dr_grpo"`; they hold against ours.

    Returns:
        A result like that of `fine_tune`. Rows of its history have the mean `reward`, and `metrics["train"]` those of
        the first and last tenth of the steps (`reward_begin`, `reward_end`).

    Raises:
        ConfigError: if trl is not installed, or a setting makes no sense.
        DataError: if a row cannot be used, or its gold not be read; all are listed.
        DivergedError: if the loss becomes NaN or infinite.
    """
    if n < 2 or prompts_per_step < 1 or max_steps < 1 or not temperature > 0:
        raise ConfigError("grpo: give n of 2 or more, prompts_per_step and max_steps of 1 or more, and a temperature "
                          "above 0.")  # fmt: skip
    if reward is None and task.verifier is None:
        raise ConfigError("grpo: nothing gives rewards. Give Generation(verifier=...), or a function as reward.")
    with collect() as notices:
        subject = subject_of(model, data, QuestionExample, task, method, use_cpu, max_length, seed, columns, tokenizer)
        ours = {
            "max_steps": max_steps, "per_device_train_batch_size": n, "gradient_accumulation_steps": prompts_per_step,
            "num_generations": n, "temperature": temperature, "max_completion_length": task.max_new_tokens,
            "learning_rate": subject.rate(learning_rate), "seed": seed,
        }  # fmt: skip

        def make(arguments: dict[str, Any]) -> Any:
            return grpo_trainer(subject, reward or verified(subject), arguments)

        return _learned(subject, make, {**ours, **settings}, {"reward": "reward"}, output_dir, notices)


def dpo(
    model: str | Path | PreTrainedModel,
    data: Any,
    *,
    task: Generation | None = None,
    method: str | Method = "lora",
    num_train_epochs: float = 1.0,
    max_steps: int | None = None,
    batch_size: int = 8,
    beta: float = 0.1,
    learning_rate: float | None = None,
    max_length: int | None = None,
    seed: int = 0,
    output_dir: str | Path | None = None,
    use_cpu: bool = False,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    **settings: Any,
) -> Result:
    """Train a decoder on pairs of answers, of which one is preferred.

    Direct preference optimisation (Rafailov et al., 2023, https://arxiv.org/abs/2305.18290) by trl's `DPOTrainer`.

    Args:
        model: as in `fine_tune`.
        data: as in `fine_tune`: rows with `prompt` (a text or messages), `chosen` and `rejected`, such as
            `Samples.preference_rows` gives. Validation and test rows, if there are any, are scored before and after
            against `chosen`; none are cut off.
        task: how prompts are made; None: `Generation()`.
        method: "lora" or "full", or such an object.
        num_train_epochs: passes over the rows.
        max_steps: instead of that, steps of the optimizer.
        batch_size: pairs in a step.
        beta: how much a change of the model costs.
        learning_rate: at the first step, falling to 0; None: a tenth of the method's rule.
        max_length: as in `fine_tune`.
        seed: of the order.
        output_dir: where the model is saved at the end.
        use_cpu: stay on the CPU even if a CUDA device is there.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        settings: fields of trl's `DPOConfig`, such as `loss_type=["ipo"]`; they hold against ours.

    Returns:
        A result like that of `fine_tune`. Rows of its history have as `preferred` the share of pairs of which the
        chosen answer has become more probable than the rejected one, compared with the model before.

    Raises:
        ConfigError: if trl is not installed, or a setting makes no sense.
        DataError: if a row cannot be used; all are listed.
        DivergedError: if the loss becomes NaN or infinite.
    """
    with collect() as notices:
        subject = subject_of(
            model, data, PreferenceExample, task or Generation(), method, use_cpu, max_length, seed, columns, tokenizer
        )
        ours = {
            "num_train_epochs": num_train_epochs, "max_steps": max_steps or -1, "beta": beta, "seed": seed,
            "per_device_train_batch_size": batch_size, "learning_rate": subject.rate(learning_rate),
            "max_length": subject.predictor.max_length,
        }  # fmt: skip

        def make(arguments: dict[str, Any]) -> Any:
            return dpo_trainer(subject, arguments)

        return _learned(subject, make, {**ours, **settings}, {"rewards/accuracies": "preferred"}, output_dir, notices)


def _learned(
    subject: Subject, make: Callable[[dict[str, Any]], Any], settings: Mapping[str, Any], names: Mapping[str, str],
    output_dir: str | Path | None, notices: list[str],
) -> Result:  # fmt: skip
    """Score, let trl train, score again, and save.

    Args:
        subject: what is trained.
        make: makes trl's trainer of its arguments.
        settings: fields of its config.
        names: what of trl's log goes into the history, and under which names.
        output_dir: where the model is saved.
        notices: what was said, for the record.
    """
    if kept := sorted(OURS & settings.keys()):
        raise ConfigError(f"{', '.join(kept)}: each step is logged, for the history of the result. Leave it out.")
    if output_dir is not None:
        _ = subject.predictor.model.base  # refuses now what could not be saved later
    run, split = subject.run, subject.scored
    before = score(subject, split, "before") if split else None
    with tempfile.TemporaryDirectory() as folder, lent(subject), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # trl's, of transformers' names
        arguments = {
            "output_dir": folder, "use_cpu": subject.predictor.device.type == "cpu", "bf16": False, "fp16": False,
            "gradient_checkpointing": False, "disable_dropout": True, "logging_steps": 1, "save_strategy": "no",
            "report_to": [], "disable_tqdm": True, "dataloader_pin_memory": False, **settings,
        }  # fmt: skip
        trainer = make(arguments)
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    run.config = {name: value for name, value in settings.items() if isinstance(value, (str, int, float, bool, list))}
    run.history = _history(trainer.state.log_history, names)
    run.metrics["train"] = _facts(run.history, seconds, list(names.values()))
    if split and before is not None:
        after = score(subject, split, split)
        run.comparison = compare(subject.predictor.task, before, after, subject.splits[split]).to_dict()
    run.notices = list(notices)
    result = Result(subject.predictor, run)
    if output_dir is not None:
        result.save(output_dir)
    return result


def _history(log: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of trl's log in our form.

    Raises:
        DivergedError: if a loss is not finite.
    """
    rows = []
    for row in log:
        if "loss" not in row:
            continue
        if not math.isfinite(row["loss"]):
            raise DivergedError(f"The loss is {row['loss']} in step {row['step']}. Lower the learning_rate.",
                                step=row["step"])  # fmt: skip
        told = {ours: float(row[theirs]) for theirs, ours in names.items() if theirs in row}
        rows.append({"step": row["step"], "epoch": row["epoch"], "split": "train", "loss": float(row["loss"]),
                     "learning_rate": float(row["learning_rate"]), **told})  # fmt: skip
    return rows


def _facts(history: Sequence[Mapping[str, Any]], seconds: float, names: Sequence[str]) -> dict[str, Any]:
    """Return how training went: for each name its mean over the first and the last tenth of the steps."""
    tenth = max(1, len(history) // 10)
    means = {
        f"{name}_{place}": sum(row[name] for row in part) / len(part)
        for name in names
        for place, part in (("begin", history[:tenth]), ("end", history[-tenth:]))
    }
    last = history[-1]
    return {"loss": last["loss"], "seconds": seconds, "steps": last["step"], "epochs": last["epoch"], **means}
