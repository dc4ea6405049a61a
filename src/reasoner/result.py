"""What `fine_tune` and `load` give back: the scores, and a model that predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoner.data.examples import examples_from_rows
from reasoner.data.sources import read_splits
from reasoner.errors import ConfigError
from reasoner.inference import Predictor
from reasoner.reports.run import Run


@dataclass(frozen=True, repr=False)
class Result:
    """A trained model with the record of its training. Printing it, or showing it in a notebook, shows the report."""

    predictor: Predictor
    run: Run

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
        """The transformers model, with the task's head where the head is the architecture's own."""
        return self.predictor.model.network

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.predictor.tokenizer

    def predict(self, inputs: Any) -> Any:
        """Return the prediction for one input, or for a list of inputs a list of predictions.

        A list is a list of inputs; anything else is one input. What an input is depends on the task: `ner` a string, or
        words (a tuple; a list inside a list of inputs); `nli` a dict with premise and hypothesis, or a pair;
        `classification` a string or a pair; `qa` a dict with question and context; `multiple_choice` a dict with
        question, choices and perhaps context.

        Raises:
            DataError: if an input has another form.
        """
        return self.predictor.predict(inputs)

    def evaluate(self, data: Any, *, columns: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the scores on further data with gold: a path, list of dicts, DataFrame or Dataset; or splits of them.

        Raises:
            DataError: if a row cannot be used, or holds a label that the model does not know.
        """
        splits = examples_from_rows(read_splits(data, columns=columns), self.predictor.task.Example)
        metrics = {
            split: self.predictor.evaluate_examples(examples, name=split).metrics for split, examples in splits.items()
        }
        return metrics["train"] if list(metrics) == ["train"] else metrics

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

    def save(self, folder: str | Path) -> None:
        """Write the model, its tokenizer, the record of the run and the model card into a folder.

        Raises:
            CheckpointError: if the folder cannot be written.
        """
        from reasoner.storage import save_folder

        save_folder(folder, self.predictor, self.run)

    def __repr__(self) -> str:
        return self.report()

    def _repr_html_(self) -> str:
        from reasoner.reports.notebook import report_html

        return report_html(self.run)
