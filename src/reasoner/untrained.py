"""What does a model know of a task before any training: asked as it is, or with a few solved examples before it?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.asking import SHOTS, Asking, Untrained, scored_splits
from reasoner.data.examples import examples_from_rows
from reasoner.data.prompts import LIKELIHOOD
from reasoner.data.sources import read_splits
from reasoner.notices import collect
from reasoner.preparation import names_of_sources
from reasoner.result import Result
from reasoner.tasks.base import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def zero_shot(
    model: str | Path | PreTrainedModel,
    data: Any,
    *,
    task: str | Task[Any, Any],
    by: str | None = None,
    template: str | None = None,
    words: Mapping[str, str] | None = None,
    correction: str | None = None,
    domain: str | None = None,
    share_prefix: bool = True,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    tokens_per_batch: int | None = None,
    use_cpu: bool = False,
) -> Result:
    """Let a model choose among choices or labels, without training.

    Args:
        model: as in `fine_tune`; None: the embedded MiniLM, a sentence encoder.
        data: rows with gold: splits as in `fine_tune` (those of training are not scored, unless there are no others),
            or one source, which is called "test".
        task: a name ("multiple_choice", "nli", "classification", "relation") or a `Task`.
        by: "likelihood" (a decoder: which choice, or which label's word, follows the prompt?), "entailment" (a model
            that was tuned for inference: does the text entail what is said of it?), "similarity" (a sentence encoder:
            what is nearest to the text?) or "cloze" (a masked language model: what fills the gap?). None: what the
            model is for, which is said.
        template: the text that asks, or by entailment and similarity what is said of a row, with fields in braces; see
            `data.prompts.Prompt`. None: the task's own.
        words: what stands for each label; for those that are not named, and with None, the task's own.
        correction: by likelihood "sum", "token", "byte" or "prior"; see `heads.likelihood.LikelihoodHead`. By cloze
            "sum" or "token". None: "byte", and "token".
        domain: for "prior", what stands before an answer where nothing is asked. None: the template's last line, if
            that has no field.
        share_prefix: False: by likelihood run each choice whole. The scores are the same, and it takes longer.
        columns: as in `fine_tune`.
        tokenizer: as in `fine_tune`.
        max_length: tokens of a sequence, its choice included. None: what the model takes, at most 2,048.
        tokens_per_batch: as in `TrainingConfig`; a row with its choices that is larger is a batch of its own. None:
            2,048, and more where all rows begin with the same solved examples, which are run once a batch.
        use_cpu: also where there is a GPU.

    Returns:
        A `Result`: scores under the names of the splits, `predict`, `evaluate`, `compare`, `report`, `save`.

    Raises:
        ConfigError: if the model cannot be asked so, the task chooses nothing, or a setting cannot be used.
        DataError: if the data cannot be used.

    Examples:
        >>> import reasoner
        >>> rows = reasoner.synthetic.multiple_choice_pack(train=4, validation=2, test=2)["test"]
        >>> result = reasoner.zero_shot("model.gguf", rows, task="multiple_choice")  # doctest: +SKIP
    """
    settings = Asking(by=by, template=template, words=words, correction=correction, domain=domain,
                         share_prefix=share_prefix, max_length=max_length, tokens_per_batch=tokens_per_batch,
                         use_cpu=use_cpu)  # fmt: skip
    return _of_data(model, data, task, settings, columns, tokenizer)


def few_shot(
    model: str | Path | PreTrainedModel,
    data: Any,
    *,
    task: str | Task[Any, Any],
    by: str = LIKELIHOOD,
    shots: int = SHOTS,
    choose: str = "random",
    seed: int = 0,
    template: str | None = None,
    words: Mapping[str, str] | None = None,
    correction: str | None = None,
    domain: str | None = None,
    share_prefix: bool = True,
    columns: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    tokens_per_batch: int | None = None,
    use_cpu: bool = False,
) -> Result:
    """Let a model choose as `zero_shot` does, with a few solved examples out of the training rows.

    By likelihood a decoder sees them in each prompt, and nothing is trained. Where a prompt is too long, whole examples
    are left out, and their number is said.

    Args:
        model: as in `zero_shot`.
        data: splits, with "train" among them and at least one other.
        task: as in `zero_shot`.
        by: "likelihood", or "setfit": a sentence encoder is tuned on the solved examples by the library of this name
            (the extra `setfit`); see `contrastive`. For classification with one label, nli and relation; of what
            follows it takes `shots`, "random" and "balanced", `seed`, `columns`, `max_length`, `tokens_per_batch` and
            `use_cpu`.
        shots: how many solved examples.
        choose: "random": drawn once, the same for all rows; "balanced": drawn so that all labels are shown as often
            (but for one); "nearest": for each row those whose words are most like its own (cosine of TF-IDF), the
            nearest last, next to what is asked.
        seed: of the draw, and of the order.
        template: as in `zero_shot`, like all that follows.
        words: see there.
        correction: see there.
        domain: see there.
        share_prefix: see there.
        columns: see there.
        tokenizer: see there.
        max_length: see there.
        tokens_per_batch: see there.
        use_cpu: see there.

    Raises:
        ConfigError: as `zero_shot` does, or if there are not as many training rows, or no labels to balance.
        DataError: if the data cannot be used.
    """
    settings = Asking(few=True, by=by, shots=shots, choose=choose, seed=seed, template=template, words=words,
                         correction=correction, domain=domain, share_prefix=share_prefix, max_length=max_length,
                         tokens_per_batch=tokens_per_batch, use_cpu=use_cpu)  # fmt: skip
    return _of_data(model, data, task, settings, columns, tokenizer)


def _of_data(
    model: Any,
    data: Any,
    task: str | Task[Any, Any],
    settings: Asking,
    columns: Mapping[str, Any] | None,
    tokenizer: Any,
) -> Result:
    with collect() as notices:
        asked = Untrained.of(model, task, settings, tokenizer)
        splits = read_splits(data, columns=columns)
        examples = examples_from_rows(splits, type(asked.task).schema(asked.task.settings()))
        return asked.result(examples, names_of_sources(data, list(scored_splits(examples))), notices)
