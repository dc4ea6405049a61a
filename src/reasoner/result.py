"""What `fine_tune` and `load` give back: the scores, and a model that predicts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reasoner.added import PeftAdded
from reasoner.comparison import Comparison, check_same_gold, check_same_task, compare
from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import ONE_SOURCE, read_splits
from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.publishing import check_base, upload
from reasoner.reports.run import Run
from reasoner.review import LabelRecord, Review
from reasoner.storage import load_folder, save_folder
from reasoner.training.engine import choose_device


def load_result(
    folder: str | Path, *, use_cpu: bool = False, batch_size: int = 64, base_model: str | Path | None = None
) -> Result:
    """Do what `reasoner.load` does; see there."""
    predictor, run = load_folder(folder, base_model=base_model, batch_size=batch_size)
    predictor.model.to(choose_device(use_cpu))
    predictor.model.pack(padding_side=predictor.tokenizer.padding_side)
    return Result(predictor, run)


@dataclass(frozen=True, repr=False)
class Result:
    """A trained model with the record of its training. Printing it, or showing it in a notebook, shows the report."""

    predictor: Predictor
    run: Run
    label_record: LabelRecord | None = field(default=None, compare=False)
    """What training said of each row's label, for `review`; None in a model that was loaded, or trained on a stream."""

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Scores by "before", "train", "validation" and "test"; see `Run.metrics`."""
        return self.run.metrics

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that training logged; see `Run.history`."""
        return self.run.history

    @property
    def model(self) -> Any:
        """The transformers model, with the task's head where the head is the architecture's own.

        After "lora", "ia3", "prefix" and "prompt" it is peft's model, with that one inside.
        """
        model = self.predictor.model
        return model.added.peft if isinstance(model.added, PeftAdded) else model.network

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.predictor.tokenizer

    def predict(self, inputs: Any, *, min_confidence: float | None = None, coverage: float | None = None) -> Any:
        """Return the prediction for one input, for a list of inputs a list, for an iterator of inputs an iterator.

        A list is a list of inputs, and so is an iterator (a generator, say); anything else is one input. What an input
        is depends on the task: `ner` a string, or words (a tuple; a list inside a list of inputs), or a dict with
        `text` or `tokens` and a `document` (for `NER(document_context=...)`; in an iterator its sentences must follow
        each other); `nli` a dict with premise and hypothesis, or a pair; `classification` a string or a pair; `qa` a
        dict with question and context; `multiple_choice` a dict with question, choices and perhaps context;
        `generation` a string or a dict with prompt, or with messages.

        All inputs of a list are checked before the model runs. With an iterator memory stays flat however long it is:
        it is read 1,000 inputs at a time, when the first of their predictions is asked for, and a wrong input is
        refused when they are read.

        Scores and probabilities are the calibrated ones: the logits are divided by the temperature that was fitted on
        validation and is stored with the model (`run.calibration["temperature"]`; plain transformers gives them as they
        were before). Which label, span or answer is predicted does not depend on it.

        Label sets are split conformal prediction (Angelopoulos and Bates, 2021, https://arxiv.org/abs/2107.07511): the
        promise is one on average over new rows from where validation came from, not for each row or each label, and it
        is close rather than exact, because validation also chose the weights and the temperature. (Measured on SNLI,
        with 1,000 rows for the threshold: over ten splits sets for 0.9 held the right label of 0.903 of 1,000 other
        rows, 0.888 to 0.921; see benchmarks/calibration.py.) A set may be empty: then no label is as probable as right
        labels usually are.

        Args:
            inputs: one, a list, or an iterator.
            min_confidence: leave unanswered what the model is less sure of: label, choice or answer is None, and
                `"abstained"` says so; `ner` leaves out the entities below it. `plot_calibration` shows what it costs.
            coverage: add `"label_set"`, the labels (indexes of choices) that cannot be ruled out, the likeliest first,
                so that this share of the sets holds the right one; for `nli`, `multiple_choice` and `classification`
                with one label.

        Raises:
            DataError: if an input has another form; of a list or an iterator its position is said, counted from 0.
            ConfigError: if `min_confidence` or `coverage` is out of range, or the task has no such thing.
        """
        return self.predictor.predict(inputs, min_confidence=min_confidence, coverage=coverage)

    def evaluate(self, data: Any, *, columns: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the scores on further data with gold: a path, list of dicts, DataFrame or Dataset; or splits of them.

        Raises:
            DataError: if a row cannot be used, or holds a label that the model does not know.
        """
        splits = examples_from_rows(read_splits(data, columns=columns, alone=ONE_SOURCE), _schema(self))
        metrics = {
            split: self.predictor.evaluate_examples(examples, name=split).metrics for split, examples in splits.items()
        }
        return next(iter(metrics.values())) if list(metrics) in (["train"], [ONE_SOURCE]) else metrics

    def compare(self, other: Result, data: Any, *, columns: dict[str, Any] | None = None) -> Comparison:
        """Score another model and this one on the same rows, and say how surely they differ.

        In what is returned `before` is the other's score and `after` this one's: rows that are "fixed" are wrong with
        the other and right with this.

        Args:
            other: another result for the same task and the same labels.
            data: rows with gold, as `evaluate` takes them; one split.
            columns: as in `fine_tune`.

        Raises:
            ConfigError: if the two are not for the same task and labels, or `data` has several splits.
            DataError: if a row cannot be used, or holds a label that the models do not know.
        """
        check_same_task(other.predictor.task, self.predictor.task)
        splits = examples_from_rows(read_splits(data, columns=columns, alone=ONE_SOURCE), _schema(other, self))
        if len(splits) != 1:
            raise ConfigError(f"compare takes one split, and the data has {', '.join(splits)}. Give one of them.")
        ((name, examples),) = splits.items()
        before, after = (each.predictor.evaluate_examples(examples, name=name) for each in (other, self))
        check_same_gold(other.predictor.task, self.predictor.task, examples)
        return compare(self.predictor.task, before, after, examples)

    def review(self, n: int = 50) -> Review:
        """Return the training rows whose labels training disagreed with most, for a person to look at.

        Each batch's own forward pass gave the figures, so they cost nothing; they are kept in memory only. For tasks
        with one label a text or a word: `classification`, `nli`, `ner`. In a list of 5% of the rows there are about as
        many good rows that are hard as wrong labels: look before you change one.

        Args:
            n: how many rows, the worst first.

        Returns:
            A list of dicts; see `review.Review`. Printing it shows it, and `to_jsonl(path)` writes it to a file.

        Raises:
            ConfigError: if the model was loaded or trained on a stream, or its head has no labels that could be wrong.
        """
        if self.label_record is None:
            raise ConfigError("What training said of its rows is not here: this model was loaded, and that was kept in "
                              "memory only; or it was trained on a stream, whose rows are not kept. Call review() on "
                              "what fine_tune gives for rows, and write it with to_jsonl.")  # fmt: skip
        return self.label_record.review(n)

    def report(self) -> str:
        """Return scores before and after, by type, and what was done, as text of 80 columns."""
        from reasoner.reports.tables import report_text

        return report_text(self.run)

    def plot(self, path: str | Path | None = None) -> Any:
        """Return the learning curve as a matplotlib figure; with a path, write it as PNG as well.

        Raises:
            ConfigError: if matplotlib is not installed (the extra `plots`), or there was no training.
        """
        from reasoner.reports.plots import learning_curve, save_learning_curve

        if not self.run.history:
            raise ConfigError("There is no history to plot.")
        if path is not None:
            save_learning_curve(self.run, path)
        return learning_curve(self.run)

    def plot_calibration(self, path: str | Path | None = None) -> Any:
        """Return a matplotlib figure: how often the model is right when it is so sure, and what abstaining gains.

        On the left a reliability diagram, on the right the share of wrong answers by the share that is answered. With a
        path, it is written as PNG as well.

        Raises:
            ConfigError: if matplotlib is not installed (the extra `plots`), or the task has no confidences.
        """
        from reasoner.reports.plots import calibration_plot, save_calibration_plot

        if path is not None:
            save_calibration_plot(self.run, path)
        return calibration_plot(self.run)

    def merge(self) -> Result:
        """Return the same model with what LoRA or IA3 learned folded into its weights: a plain one, saved as such.

        Its outputs are the same but for rounding. This result stays as it is.

        Raises:
            ConfigError: if the method added nothing, or what cannot be folded in (adapters, prefixes, prompts).
        """
        return replace(self, predictor=replace(self.predictor, model=self.predictor.model.merged()))

    def save(self, folder: str | Path) -> None:
        """Write the model, its tokenizer, the record of the run and the model card into a folder.

        Raises:
            CheckpointError: if the folder cannot be written.
        """
        save_folder(folder, self.predictor, self.run)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a model tuned with reasoner",
        endpoint: str | None = None,
    ) -> str:
        """Write the model into a repository of the Hugging Face Hub: what `save` writes, the model card among it.

        Weights go as safetensors. Paths of this machine are reduced to their last part in what is written.

        Args:
            repo_id: such as "you/your-model"; it is made if there is none.
            private: whether a new repository is; None: as your organisation has it.
            token: None: of `hf auth login`, or HF_TOKEN.
            revision: a branch, made if need be; None: main.
            commit_message: of the one commit.
            endpoint: of another Hub; None: HF_ENDPOINT, or huggingface.co.

        Returns:
            The address of the repository.

        Raises:
            CheckpointError: if the Hub refuses or is not reached, or the model cannot be saved.
            ConfigError: if only what a method added is saved, and its base model is a folder of this machine.
        """
        from reasoner.reports.card import without_folders

        if (base := self.predictor.model.base) is not None:
            check_base(base["name"])
        with TemporaryDirectory(prefix="reasoner-") as folder:
            save_folder(folder, self.predictor, without_folders(self.run))
            settings: dict[str, Any] = {"private": private, "token": token, "revision": revision}
            return upload(Path(folder), repo_id, message=commit_message, endpoint=endpoint, **settings)

    def __repr__(self) -> str:
        return self.report()

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import report_html

        return report_html(self.run)


def _schema(*results: Result) -> type[Any]:
    """Return the schema for rows that all these models read: that of the one that asks for most."""
    tasks = [result.predictor.task for result in results]
    return max((task.schema(task.settings()) for task in tasks), key=lambda schema: len(schema.__mro__))
