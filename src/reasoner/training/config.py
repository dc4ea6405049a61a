"""Every setting of a training run, with its default and what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, Self

from reasoner.errors import ConfigError, suggestion

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("linear", "cosine", "constant")
ON_DIVERGENCE = ("stop", "halve")
DEBIAS_FORMS = ("product", "focal")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings of a run. Names are those of transformers' TrainingArguments where the meaning is equal."""

    num_train_epochs: int = 3
    """Passes over the training data."""
    max_steps: int | None = None
    """Optimiser steps in all; when given, it rules and epochs are as many as it takes."""
    per_device_train_batch_size: int = 16
    """Sequences a batch (multiple choice: questions a batch)."""
    per_device_eval_batch_size: int = 64
    """Sequences a batch in evaluation and prediction."""
    tokens_per_batch: int | None = None
    """Instead of the two sizes above: as many sequences as fit so that sequences x the longest of them is at most this
    many tokens. A sequence (multiple choice: a question) that is larger is a batch of its own."""
    balanced_sampling: bool = False
    """Draw the rows of an epoch so that each label is seen alike: rows of rare labels several times, of common ones not
    all (Buda et al., 2018, "A systematic study of the class imbalance problem"). An epoch keeps its number of rows. A
    row with several labels counts as the rarest of them."""
    augmentation: int = 0
    """How many edited copies of each training row are learned as well, each with one small edit that leaves what is
    right as it is (Ribeiro et al., 2020; see docs/robustness.md): an epoch is as much longer. 0: none."""
    augmentation_edits: Sequence[str] | None = None
    """Names of the edits; None: all of them. Only with `augmentation` or `consistency`."""
    consistency: float = 0.0
    """Read each row beside an edited copy of it, another one in each epoch; learn both, and add this times the
    divergence between what is predicted of them to the loss ("example consistency" of Zheng et al., 2021,
    https://arxiv.org/abs/2106.08226; 1 to 5). A step takes twice the time. 0: no such copies."""
    counterfactuals: bool = False
    """Learn beside each training row what a small change makes of it after which another label is right for certain
    (Kaushik et al., 2020, https://arxiv.org/abs/1909.12434; see docs/behaviour.md for the changes)."""
    gradient_accumulation_steps: int = 1
    """Batches an optimiser step; the gradient is that of one large batch."""
    learning_rate: float | None = None
    """The highest learning rate; None: the method's rule for the model's width, which is said."""
    layer_decay: float | None = None
    """Each layer learns at this times the rate of the layer above it, the top one at this times `learning_rate`, the
    embeddings the slowest (Howard & Ruder, 2018; Clark et al., 2020: 0.8 to 0.9). None: all alike."""
    head_learning_rate: float | None = None
    """The highest learning rate of the head, and of the pooler that feeds it; None: `learning_rate`."""
    reinitialize_layers: int = 0
    """How many of the top layers begin from random weights, and the pooler with them (Zhang et al., 2021: 1 to 5 of 12
    for a few thousand rows)."""
    optim: str = "adamw"
    """"adamw" (Loshchilov & Hutter, 2019) or "sgd" (momentum and decoupled weight decay: SGDW of the same paper)."""
    sgd_momentum: float = 0.9
    """Momentum of "sgd"."""
    adam_beta1: float = 0.9
    """Decay of AdamW's mean of gradients."""
    adam_beta2: float = 0.999
    """Decay of AdamW's mean of squared gradients."""
    adam_epsilon: float = 1e-8
    """Added to AdamW's denominator."""
    weight_decay: float = 0.01
    """Decoupled; never applied to biases and norms."""
    lr_scheduler_type: str = "linear"
    """"linear" or "cosine" down to 0, or "constant"; each after the warm-up."""
    warmup_steps: float = 0.1
    """Steps over which the learning rate rises from 0; below 1: the share of all steps."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm; 0: never."""
    dropout: float | None = None
    """Probability in the model's dropout layers; None: the checkpoint's own, or the method's (`BitFit`: 0)."""
    r_drop: float = 0.0
    """Run each batch twice with other dropout, and add this times the divergence between both predictions to the loss
    (R-Drop: Wu et al., 2021, https://arxiv.org/abs/2106.14448; 0.5 to 5). A step takes twice the time. 0: once."""
    adversarial_epsilon: float = 0.0
    """Move the embedded tokens of each sequence this far along their gradient, and add the loss of another pass on them
    (Miyato et al., 2017, https://arxiv.org/abs/1605.07725; 0.1 to 2). A step takes twice the time. 0: no such pass."""
    teacher: Any = None
    """A tuned model whose probabilities this one learns beside the gold labels: a folder that this library wrote, or a
    `Result` (Hinton et al., 2015, https://arxiv.org/abs/1503.02531). What it says of the training rows is computed once
    (and kept, within `frozen_cache_mb` and `frozen_cache_disk_mb`). None: the gold labels alone."""
    distillation_weight: float | None = None
    """The teacher's share of the loss, from 0 to 1; the gold labels have the rest. None: 0.5. Only with `teacher`."""
    distillation_temperature: float | None = None
    """What the logits of both models are divided by before the teacher's probabilities are learned: above 1 the labels
    that it thinks improbable count more. None: 2. Only with `teacher`."""
    debias: str | None = None
    """Train against a shortcut, so that less is learned of what it tells already: the name of a part of the input
    (`Task.partial_inputs`, such as "hypothesis only") or of a few numbers of a row (`Task.shallow_features`, such as
    "word overlap"). Models of the shortcut alone come first, on half of the rows each. See docs/robustness.md."""
    debias_form: str | None = None
    """"product": the shortcut's log-probabilities are added to the model's in the loss (product of experts: Clark et
    al., 2019, https://arxiv.org/abs/1909.03683; He et al., 2019, https://arxiv.org/abs/1908.10763). "focal": rows count
    less whose label the shortcut tells (Karimi Mahabadi et al., 2020, https://arxiv.org/abs/1909.06321, section 3.2).
    None: "product". Only with `debias`."""
    debias_strength: float | None = None
    """"product": what the shortcut's log-probabilities are multiplied by. "focal": the power of 1 - its probability of
    the right label that a row is weighed by. None: 1 and 2, as in the papers. Only with `debias`."""
    language_modeling_weight: float = 0.0
    """Also predict tokens of the batch's own texts, and add this times the mean loss of that to the task's mean loss
    (Radford et al., 2018: 0.5; Chronopoulou et al., 2019, https://arxiv.org/abs/1902.10547). The checkpoint must have
    an output layer over the vocabulary, as what `pretrain` writes has. A step takes twice the time. 0: no text."""
    fast_dropout: bool = True
    """On the CPU, draw 16 random bits for each value that dropout may set to zero: less than half the time, and
    the probability is `dropout` to within 2**-17. False: PyTorch's own dropout, with its random numbers."""
    ema_decay: float | None = None
    """Score and keep, not the weights of one step, but their exponential moving average with this decay, such as 0.99
    (Polyak & Juditsky, 1992; Tarvainen & Valpola, 2017): it reaches back over about 1 / (1 - decay) steps. It
    takes the memory of the weights once more. None: the weights as they are."""
    average_checkpoints: int | None = None
    """At the end, score the mean of the weights of this many of the best evaluations, and keep it if it is no worse
    than the best of them (Vaswani et al., 2017; Izmailov et al., 2018). They stay in memory. None: the best alone."""
    eval_steps: int | None = None
    """Optimiser steps between evaluations; None: one at the end of each epoch."""
    patience: int | None = None
    """Evaluations without improvement after which training stops; None: never. The best weights are kept either way."""
    min_delta: float = 0.0
    """By how much the score must be better than the best to count as improvement for `patience`."""
    refit: bool = False
    """Once the best weights are known, train anew on the training and the validation rows together, up to the same
    share of the steps, and keep that model. Scores on validation, temperature and thresholds remain those of the first,
    and nothing but a test split says how good the second is. Twice the time and more. Not with a stream."""
    max_forgetting: float | None = None
    """With `after` and `protect`: stop when the score on old rows has fallen by more than this (0.02: two points of F1
    or accuracy), and keep the best model before that; the first to count is the old model itself. None: never."""
    complete_labels: bool = False
    """With `after`, of NER: entities of types that the old model knows, and that no new training row has, are marked in
    the new rows by the old model, and learned; in validation rows their words are not scored. False: that they are none
    is learned."""
    evaluate_before: bool = True
    """Score the model before training as well, so that the report can say what training gave."""
    validation_share: float = 0.1
    """How much of the training data is cut off for validation when no validation split is given."""
    max_length: int | None = None
    """Tokens a sequence; None: what the model takes, at most 512."""
    stride: int | None = None
    """Tokens that neighbouring windows of a long text share; None: a quarter of `max_length`."""
    seed: int = 42
    """Of the new head's weights, of the order of the data, of dropout, and of a cut validation split."""
    full_determinism: bool = False
    """Run deterministic kernels alone, so that two runs on one GPU are equal bit for bit as well (on a CPU they are
    without it), and stop where an operation has none. It costs time. See docs/nothing_lost.md for what is promised."""
    bf16: bool | None = None
    """Compute in bfloat16 where that is safe (autocast); None: on a CUDA device that has it. Weights stay float32.
    Where a processor gains by it, `check` says how much."""
    packing: bool | None = None
    """Run batches with much padding without it: the same outputs and gradients for less work. None: where the
    architecture allows it; True: likewise, and say it if not; False: never."""
    gradient_checkpointing: bool = False
    """Keep no activations inside the network's layers for the backward pass, but compute them again: the same gradient
    with less memory and more time (MiniLM, 16 rows of 256 tokens, CPU: 1.2 GiB a step, not 2.1, and 1.25 the time)."""
    torch_compile: bool | None = None
    """Compile the network (`torch.compile`). None: on CUDA, if more than ten minutes of steps are left after the first
    ones, and for good only if it turns out faster, which is said. True: from the first step; on the CPU
    `fast_dropout` is then off. Not where what frozen layers give is kept."""
    fsdp: bool = False
    """Of several processes, let each hold its part of weights, gradients and optimiser (fully sharded data parallel):
    for a model whose training does not fit into one device. Slower where it does. See docs/ranks.md."""
    use_cpu: bool = False
    """Stay on the CPU even if a CUDA device is there."""
    logging_steps: int = 10
    """Optimiser steps between rows of the history."""
    on_divergence: str = "stop"
    """What happens at the first loss or gradient that is not finite: "stop" with an error that names step, rows and
    parameter; or "halve": go back to the last good weights (kept every `logging_steps`) at half the learning rate."""
    checkpoint_steps: int | None = None
    """With `output_dir`: optimiser steps between checkpoints, from which `resume=True` goes on. None: one in ten
    minutes, so that a run that is shorter writes none; Ctrl-C and SIGTERM write one all the same. They take about four
    times the room of the weights that learn, and are removed when the run has ended well."""
    keep_checkpoints: int = 1
    """How many of the newest are kept, for when one is damaged."""
    frozen_cache_mb: int = 2048
    """With frozen lower layers (methods "head", "freeze"): megabytes of memory for what they give for each row, which
    is then computed once. If more is needed, a temporary file takes it (see below). 0: none in memory."""
    frozen_cache_disk_mb: int = 16384
    """Megabytes that this file may have. 0: no file; both 0: they run anew in each epoch."""
    feature_cache: str | None = None
    """A folder that keeps what tokenising gave, in Arrow files named by their content: a second run with the same rows,
    tokenizer, task, `max_length` and `stride` reads them, and tokenises nothing. None: of more than
    1,000 rows features are in a temporary file, which goes at the end."""
    disable_tqdm: bool = False
    """Show no progress bar; there is none either when the output is no terminal and no notebook."""

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise ConfigError(" ".join(problems))

    @classmethod
    def from_overrides(cls, config: Self | None, overrides: dict[str, Any]) -> Self:
        """Return `config`, or the defaults, with some fields changed.

        Raises:
            ConfigError: if a name is unknown (the near one is suggested) or a value makes no sense.
        """
        known = [item.name for item in fields(cls)]
        unknown = [name for name in overrides if name not in known]
        if unknown:
            raise ConfigError(
                " ".join(f"There is no setting named '{name}'. {suggestion(name, known)}" for name in unknown)
            )
        return replace(config or cls(), **overrides)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values; of a teacher in memory the name of what it was tuned from."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        if self.teacher is not None:
            run = getattr(self.teacher, "run", None)
            values["teacher"] = str(self.teacher) if run is None else f"{run.model}, {run.method}"
        return values

    @property
    def distillation(self) -> tuple[float, float]:
        """The teacher's share of the loss, and the temperature."""
        weight, temperature = self.distillation_weight, self.distillation_temperature
        return 0.5 if weight is None else weight, 2.0 if temperature is None else temperature

    @property
    def debiasing(self) -> tuple[str, float]:
        """How the shortcut is used, and how strongly."""
        form, strength = self.debias_form or "product", self.debias_strength
        return form, (2.0 if form == "focal" else 1.0) if strength is None else float(strength)

    def _problems(self) -> list[str]:
        return [
            f"{name} is {getattr(self, name)!r}; it must be {wanted}."
            for names, wanted, holds in _RULES
            for name in names.split()
            if not holds(getattr(self, name))
        ]


def _number(holds: Callable[[float], bool]) -> Callable[[Any], bool]:
    """Return a check for finite numbers; True and False are none."""
    return lambda value: (
        isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and holds(value)
    )


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_teacher(value: Any) -> bool:
    named = isinstance(value, (str, Path)) and str(value) != ""
    return named or (hasattr(value, "predictor") and hasattr(value, "run"))


def _none_or(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


_COUNTS = "num_train_epochs per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps"
_LIMITS = "max_steps eval_steps patience tokens_per_batch checkpoint_steps"
_RULES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    (f"{_COUNTS} logging_steps keep_checkpoints", "an integer of at least 1", _whole(1)),
    (f"{_LIMITS} max_length", "None or an integer of at least 1", _none_or(_whole(1))),
    (
        "weight_decay warmup_steps max_grad_norm min_delta r_drop consistency adversarial_epsilon "
        "language_modeling_weight",
        "a number of at least 0",
        _number(lambda x: x >= 0),
    ),
    (
        "learning_rate head_learning_rate distillation_temperature debias_strength",
        "None or a number above 0",
        _none_or(_number(lambda x: x > 0)),
    ),
    ("distillation_weight", "None or from 0 to 1", _none_or(_number(lambda x: 0 <= x <= 1))),
    ("teacher", "None, a folder that this library wrote, or a Result", _none_or(_is_teacher)),
    ("debias", "None or the name of a shortcut", _none_or(lambda value: isinstance(value, str) and value != "")),
    ("debias_form", f"None or one of {', '.join(DEBIAS_FORMS)}", _none_or(DEBIAS_FORMS.__contains__)),
    ("max_forgetting", "None or a number of at least 0", _none_or(_number(lambda x: x >= 0))),
    ("layer_decay", "None or above 0 and at most 1", _none_or(_number(lambda x: 0 < x <= 1))),
    ("adam_epsilon", "a number above 0", _number(lambda x: x > 0)),
    ("adam_beta1 adam_beta2 sgd_momentum", "in [0, 1)", _number(lambda x: 0 <= x < 1)),
    ("dropout", "None or in [0, 1)", _none_or(_number(lambda x: 0 <= x < 1))),
    ("ema_decay", "None or above 0 and below 1", _none_or(_number(lambda x: 0 < x < 1))),
    ("average_checkpoints", "None or an integer of at least 2", _none_or(_whole(2))),
    ("validation_share", "between 0 and 1", _number(lambda x: 0 < x < 1)),
    ("stride", "None or an integer of at least 0", _none_or(_whole(0))),
    (
        "seed frozen_cache_mb frozen_cache_disk_mb reinitialize_layers augmentation",
        "an integer of at least 0",
        _whole(0),
    ),
    ("optim", f"one of {', '.join(OPTIMIZERS)}", OPTIMIZERS.__contains__),
    ("lr_scheduler_type", f"one of {', '.join(SCHEDULES)}", SCHEDULES.__contains__),
    ("on_divergence", f"one of {', '.join(ON_DIVERGENCE)}", ON_DIVERGENCE.__contains__),
    (
        "balanced_sampling counterfactuals complete_labels fast_dropout refit evaluate_before full_determinism fsdp "
        "use_cpu disable_tqdm gradient_checkpointing",
        "True or False",
        lambda value: isinstance(value, bool),
    ),
    ("bf16 packing torch_compile", "None, True or False", _none_or(lambda value: isinstance(value, bool))),
    (
        "augmentation_edits",
        "None or a list of names",
        _none_or(
            lambda value: (
                isinstance(value, (list, tuple)) and bool(value) and all(isinstance(name, str) for name in value)
            )
        ),
    ),
    (
        "feature_cache",
        "None or the path of a folder, as text",
        _none_or(lambda value: isinstance(value, str) and value != ""),
    ),
)
"""Settings, what they must be, and how that is seen: every setting has its rule."""
