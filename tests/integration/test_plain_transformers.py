"""Does plain transformers load what `fine_tune` writes, with the same logits, for every architecture and task?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from task_cases import CASES, FIVE, Case, assert_close

import reasoner
from reasoner.metrics.entities import spans
from tiny import ARCHITECTURES

Outputs = list[dict[str, torch.Tensor]]
EXTRAS = ("offset_mapping", "special_tokens_mask")


@pytest.mark.parametrize(
    ("architecture", "name"),
    [(architecture, name) for architecture in ARCHITECTURES for name in FIVE]
    + [("bert", "several labels"), ("roberta", "a number")],
)
def test_plain_transformers_loads_the_folder(
    architecture: str, name: str, lively_models: Callable[[str], Path], tmp_path: Path
) -> None:
    case = CASES[name]
    data = {"train": case.splits["train"], "validation": case.splits["validation"]}
    settings = {"max_steps": 2, "learning_rate": 3e-3, "evaluate_before": False, "use_cpu": True}
    result = reasoner.fine_tune(lively_models(architecture), data, task=case.task, output_dir=tmp_path, **settings)

    plain, report = getattr(transformers, case.auto_class).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert type(plain) is type(result.model)
    _assert_config(tmp_path, case)

    encoded = _encoded(case, transformers.AutoTokenizer.from_pretrained(tmp_path))
    assert [_inputs(encoding) for encoding in encoded] == _as_the_library_encodes(case, result)
    outputs, ours = (_outputs(model, encoded) for model in (plain.eval(), result.model.eval()))
    for theirs, own in zip(outputs, ours, strict=True):
        assert theirs.keys() == own.keys()
        for key, value in theirs.items():
            torch.testing.assert_close(value, own[key], rtol=0, atol=1e-5)
    everything = torch.cat([value.flatten() for output in outputs for value in output.values()])
    assert everything.std() > 0.01  # were they alike, they would be equal whatever was loaded

    predictions = result.predict(case.inputs)
    for prediction, read in zip(predictions, _read_off(case, outputs, encoded), strict=True):
        _assert_holds(read, prediction)
    assert_close(reasoner.load(tmp_path, use_cpu=True).predict(case.inputs), predictions)


def _texts(case: Case) -> list[tuple[str, ...]]:
    """The texts or pairs that the model reads, one a sequence."""
    texts: list[tuple[str, ...]] = []
    for value in case.inputs:
        if case.task == "ner":
            texts.append((value if isinstance(value, str) else " ".join(value),))
        elif case.task == "multiple_choice":
            first = " ".join(filter(None, (value.get("context"), value["question"])))
            texts += [(first, choice) for choice in value["choices"]]
        elif isinstance(value, dict):
            names = ("question", "context") if case.task == "qa" else ("premise", "hypothesis")
            texts.append(tuple(value[name] for name in names))
        else:
            texts.append((value,) if isinstance(value, str) else value)
    return texts


def _encoded(case: Case, tokenizer: Any) -> list[Any]:
    wanted = {f"return_{name}": True for name in ("offsets_mapping", "special_tokens_mask")}
    return [tokenizer(*texts, **wanted) for texts in _texts(case)]


def _inputs(encoding: Any) -> dict[str, list[int]]:
    return {key: value for key, value in encoding.items() if key not in EXTRAS}


def _as_the_library_encodes(case: Case, result: reasoner.Result) -> list[dict[str, list[int]]]:
    predictor = result.predictor
    examples = [predictor.task.example_from_input(value) for value in case.inputs]
    return [feature.inputs for group in predictor.encode(examples).features for feature in group]


@torch.inference_mode()
def _outputs(model: Any, encoded: Sequence[Any]) -> Outputs:
    """The logits of each sequence alone, without the dimension of the batch (and of the choices)."""
    leading = (1, 1) if "MultipleChoice" in type(model).__name__ else (1,)
    outputs = []
    for encoding in encoded:
        inputs = {key: torch.tensor(value).view(*leading, -1) for key, value in _inputs(encoding).items()}
        outputs.append({key: value[0] for key, value in model(**inputs).items() if key.endswith("logits")})
    return outputs


def _assert_config(folder: Path, case: Case) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if case.labels:
        assert config["id2label"] == {str(index): label for index, label in enumerate(case.labels)}
        assert config["label2id"] == {label: index for index, label in enumerate(case.labels)}
    kinds = {"several labels": "multi_label_classification", "a number": "regression"}
    if case in (CASES["several labels"], CASES["a number"]):
        assert config["problem_type"] == kinds["several labels" if case.labels else "a number"]


# ---------------------------------------------------------------- what a person would read off the logits by hand


def _read_off(case: Case, outputs: Outputs, encoded: Sequence[Any]) -> list[Any]:
    if case.task == "ner":
        texts = [texts[0] for texts in _texts(case)]
        return [_entities(*parts, case.labels) for parts in zip(texts, outputs, encoded, strict=True)]
    if case.task == "qa":
        contexts = [texts[1] for texts in _texts(case)]
        return [_answer(*parts) for parts in zip(contexts, outputs, encoded, strict=True)]
    if case.task == "multiple_choice":
        remaining = iter(outputs)
        groups = [torch.cat([next(remaining)["logits"] for _ in value["choices"]]) for value in case.inputs]
        return [{"choice": int(group.argmax()), "scores": group.softmax(0).tolist()} for group in groups]
    logits = [output["logits"] for output in outputs]
    if case is CASES["a number"]:
        return [{"value": value.item()} for value in logits]
    if case is CASES["several labels"]:
        return [{"scores": dict(zip(case.labels, value.sigmoid().tolist(), strict=True))} for value in logits]
    scores = [dict(zip(case.labels, value.softmax(0).tolist(), strict=True)) for value in logits]
    return [{"label": max(row, key=row.__getitem__), "scores": row} for row in scores]


def _entities(text: str, output: dict[str, torch.Tensor], encoding: Any, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The entities of a text whose words stand between spaces; a last full stop is a word too."""
    words = text.removesuffix(".").split()
    starts = [sum(len(word) + 1 for word in words[:index]) for index in range(len(words))]
    ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
    if text.endswith("."):
        starts, ends = [*starts, len(text) - 1], [*ends, len(text)]
    tags = []
    for start in starts:
        first = next(index for index, (_, end) in enumerate(encoding["offset_mapping"]) if end > start)
        tags.append(labels[int(output["logits"][first].argmax())])
    return [{"entity_group": span.type, "start": starts[span.start], "end": ends[span.end - 1]} for span in spans(tags)]


def _answer(context: str, output: dict[str, torch.Tensor], encoding: Any) -> dict[str, Any]:
    """The best span of at most 30 tokens of the context, found by trying all."""
    start_logits, end_logits = output["start_logits"].tolist(), output["end_logits"].tolist()
    offsets, sides = encoding["offset_mapping"], encoding.sequence_ids()
    inside = [token for token, (start, end) in enumerate(offsets) if sides[token] == 1 and context[start:end].strip()]
    score, first, last = max(
        (start_logits[a] + end_logits[b], -a, b) for a in inside for b in inside if a <= b < a + 30
    )
    answer = context[offsets[-first][0] : offsets[last][1]].strip()  # some tokenizers count a space to the next word
    start = context.index(answer, offsets[-first][0])
    no_answer = torch.tensor(start_logits[0] + end_logits[0] - score).sigmoid().item()
    return {"n_best": [{"start": start, "end": start + len(answer), "answer": answer}], "no_answer_score": no_answer}


def _assert_holds(expected: Any, prediction: Any) -> None:
    """Assert that `prediction` says all that `expected` says; of a ranking only the first is compared."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            _assert_holds(value, prediction[key][:1] if key == "n_best" else prediction[key])
    elif isinstance(expected, list):
        assert len(expected) == len(prediction)
        for value, predicted in zip(expected, prediction, strict=True):
            _assert_holds(value, predicted)
    else:
        assert prediction == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)
