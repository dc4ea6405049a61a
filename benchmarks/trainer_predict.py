"""How does one predict and evaluate with transformers' Trainer, down to entities and labels?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import transformers
import workload
from datasets import Dataset


class Predicting:
    """`Trainer.predict` on tokenised rows, with its logits decoded.

    Args:
        task: "ner" or "nli".
        folder: of the model.
        batch_size: `per_device_eval_batch_size`.
    """

    def __init__(self, task: str, folder: Path, *, batch_size: int) -> None:
        auto_class = getattr(transformers, workload.AUTO_CLASS[task])
        self.task, self.length = task, workload.MAX_LENGTH[task]
        self.tokenizer = workload.load_tokenizer(str(folder))
        self.network = auto_class.from_pretrained(folder)
        self.names = [self.network.config.id2label[number] for number in range(self.network.config.num_labels)]
        kind = (
            transformers.DataCollatorForTokenClassification if task == "ner" else transformers.DataCollatorWithPadding
        )
        with TemporaryDirectory() as output:
            settings = transformers.TrainingArguments(
                output_dir=output,
                per_device_eval_batch_size=batch_size,
                use_cpu=True,
                report_to="none",
                disable_tqdm=True,
            )
            self.trainer = transformers.Trainer(
                self.network, settings, data_collator=kind(self.tokenizer), processing_class=self.tokenizer
            )

    def predict(self, inputs: list[Any]) -> list[Any]:
        """Return for each text its entities, or for each pair its label."""
        if self.task == "nli":
            premises, hypotheses = ([row[name] for row in inputs] for name in ("premise", "hypothesis"))
            encoded = self.tokenizer(premises, hypotheses, truncation=True, max_length=self.length)
            probabilities = self._probabilities(dict(encoded))
            return [self.names[number] for number in probabilities.argmax(-1)]
        encoded = self.tokenizer(inputs, truncation=True, max_length=self.length, return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")
        if "labels" not in encoded:  # the collator for tokens pads labels, and wants some
            encoded["labels"] = [[-100] * len(row) for row in encoded["input_ids"]]
        probabilities = self._probabilities(dict(encoded))
        return [self._entities(probabilities[row], encoded.word_ids(row), offsets[row]) for row in range(len(inputs))]

    def _probabilities(self, columns: dict[str, Any]) -> Any:
        logits = self.trainer.predict(Dataset.from_dict(columns)).predictions
        powers = numpy.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)  # (rows, labels) or (rows, length, labels)

    def _entities(self, probabilities: Any, words: list[int | None], offsets: Any) -> tuple[tuple[str, int, int], ...]:
        """Return entities by the first sub-word of each word, as the pipeline's strategy "first" does."""
        found: list[dict[str, Any]] = []
        best, previous, last_type = probabilities.argmax(-1), None, ""
        for position, word in enumerate(words):
            if word is None:
                continue
            start, end = offsets[position]
            if word == previous:
                if last_type:
                    found[-1]["end"] = end
                continue
            previous, name = word, self.names[best[position]]
            begins, kind = name[0] == "B", name[2:]
            if kind and kind == last_type and not begins:
                found[-1]["end"] = end
                found[-1]["scores"].append(float(probabilities[position].max()))
            elif kind:
                scores = [float(probabilities[position].max())]
                found.append({"type": kind, "start": start, "end": end, "scores": scores})
            last_type = kind
        for entity in found:
            entity["score"] = sum(entity["scores"]) / len(entity["scores"])
        return tuple((entity["type"], entity["start"], entity["end"]) for entity in found)

    def evaluate(self, rows: list[dict[str, Any]]) -> float:
        """Return F1 over entities by seqeval, or accuracy."""
        if self.task == "nli":
            gold = [row["label"] for row in rows]
            return sum(a == b for a, b in zip(gold, self.predict(rows), strict=True)) / len(rows)
        from seqeval.metrics import f1_score

        words = [row["tokens"] for row in rows]
        encoded = self.tokenizer(words, is_split_into_words=True, truncation=True, max_length=self.length)
        labels = [[-100] * len(row) for row in encoded["input_ids"]]
        best = self._probabilities({**encoded, "labels": labels}).argmax(-1)
        predicted = [["O"] * len(row) for row in words]
        for number, tags in enumerate(predicted):
            for position, word in reversed(list(enumerate(encoded.word_ids(number)))):  # the first sub-word stays
                if word is not None:
                    tags[word] = self.names[best[number][position]]
        return float(f1_score([row["ner_tags"] for row in rows], predicted))
