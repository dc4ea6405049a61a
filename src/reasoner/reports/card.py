"""What does whoever finds the model folder need to know: the model card, in the form of the Hugging Face Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from reasoner.reports.layout import Facts, Table, cell
from reasoner.reports.run import Run
from reasoner.reports.tables import (
    last_part,
    notes,
    overview,
    score_tables,
    scores_on,
    title,
    training_facts,
)

PIPELINE_TAGS = {
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForMultipleChoice": "multiple-choice",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text-generation",
}
INPUTS = {
    "ner": '"Ada Lovelace was born in London."',
    "nested_ner": '"She works at the University of Oslo."',
    "nli": '{"premise": "Two dogs run.", "hypothesis": "An animal moves."}',
    "classification": '"The text to classify."',
    "qa": '{"question": "Where was Ada born?", "context": "Ada was born in London."}',
    "generation": '{"prompt": "Three and four are"}',
    "multiple_choice": '{"question": "What barks?", "choices": ["a cat", "a dog"]}',
}
_LIBRARIES = {"adapter_config.json": "peft", "bottlenecks.safetensors": "reasoner"}
"""Who reads a file that holds what was added to a base model."""
_HUB_ID = re.compile(r"(?P<owner>[\w-][\w.-]*)/[\w-][\w.-]*")
_OLD_HUB_ID = re.compile(r"(gpt2|distilgpt2|[a-z0-9]+(-[a-z0-9]+)*-(base|small|large)(-[a-z0-9]+)*)")
_USUAL_FOLDERS = {"models", "model", "out", "output", "outputs", "runs", "checkpoints", "data", "tmp", "home", "shared"}
# At least one folder and a last part. Not after a letter ("and/or") or a colon ("https://").
_PATH = re.compile(r"(?<![\w/:])(?:~|\.{1,2}|[A-Za-z]:)?[\\/](?:[^\s\\/'\":,;()]+[\\/])+([^\s\\/'\":,;()]*)")
_MARKUP = re.compile(r"[\\`*\[\]<>|#~$&]|(?<!\w)_|_(?!\w)")


def model_card(
    run: Run, *, auto_class: str | None = None, kept_apart: str | None = None, elsewhere: Sequence[str] = ()
) -> str:
    """Return the text of the folder's README.md: a YAML header, then sections in Markdown.

    The form is that of https://huggingface.co/docs/hub/model-cards. Paths are reduced to their last part, so that the
    card tells nothing of the machine it was written on.

    Args:
        run: the record.
        auto_class: the transformers class that loads the folder, such as `"AutoModelForTokenClassification"`; None:
            the head has layers of its own, which plain transformers does not know.
        kept_apart: the file that holds what the method added to the base model; None: the folder has all weights.
        elsewhere: what else must be known where the folder is used without this library.
    """
    base_model = run.model if _is_hub_id(run.model) else None
    run = _without_folders(run)
    sections = [
        _section(title(run), [_introduction(run)]),
        _section("Scores", _scores(run), level=2),
        _section("How it was trained", _training(run), level=2),
        _section("Data", _data(run), level=2),
        _section("How to use it", [*_usage(run, auto_class, kept_apart), *elsewhere], level=2),
        _section("Limits", [_list(_limits(run))], level=2),
    ]
    return "\n\n".join([_header(run, base_model, auto_class, kept_apart), *sections]) + "\n"


def _header(run: Run, base_model: str | None, auto_class: str | None, kept_apart: str | None) -> str:
    """Return the YAML header. Strings are written as JSON, which YAML reads, so that no name can break it."""
    library = "transformers" if auto_class else "reasoner"
    lines = [f"library_name: {_LIBRARIES.get(kept_apart or '', library)}"]
    if auto_class in PIPELINE_TAGS:
        lines.append(f"pipeline_tag: {PIPELINE_TAGS[auto_class]}")
    if base_model:
        lines.append(f"base_model: {_quoted(base_model)}")
    lines += ["tags:", *(f"- {_quoted(tag)}" for tag in dict.fromkeys(["reasoner", run.task]))]
    lines += ["metrics:", *(f"- {_quoted(name)}" for name in _metric_names(run))]
    return "\n".join(["---", *lines, "---"])


def _metric_names(run: Run) -> list[str]:
    """Return the primary metric and the other scores: numbers that are neither losses, counts nor speeds."""
    scores = scores_on(run, run.compared_split) or scores_on(run, "validation")
    others = [name for name, value in scores.items() if isinstance(value, float)]
    unwanted = re.compile(r"(^|_)loss$|_per_second$|_threshold$")
    return list(dict.fromkeys([run.primary_metric, *(name for name in others if not unwanted.search(name))]))


def _introduction(run: Run) -> str:
    labels = f" Its labels: {', '.join(map(_escaped, run.labels))}." if run.labels else ""
    return (
        f"A model for the task `{run.task}`: {_escaped(run.model)}, fine-tuned with `reasoner` "
        f"by the method `{run.method}`.{labels}"
    )


def _scores(run: Run) -> list[str]:
    tables = score_tables(run)
    if not tables:
        return ["It has not been scored."]
    first, *further = tables
    explained = [_escaped(note) for note in notes(run)]
    blocks = [f"{_escaped(first.title)}:", _markdown(first), *explained]
    for table in further:
        blocks += [f"### {_escaped(table.title)}", _markdown(table)]
    return blocks


def _training(run: Run) -> list[str]:
    shown = ("method", "parameters", "weights on disk", "taught again", "old data")
    facts = [*(fact for fact in overview(run) if fact[0].startswith(shown)), *training_facts(run)]
    blocks = [_facts(facts)]
    settings = [(name, _setting(value)) for name, value in run.config.items() if value is not None]
    if settings:
        blocks += ["### Settings", _markdown(Table("", ("setting", "value"), settings))]
    if run.versions:
        blocks.append("Versions: " + ", ".join(f"{name} {number}" for name, number in run.versions.items()) + ".")
    return blocks


def _data(run: Run) -> list[str]:
    splits = list(dict.fromkeys([*run.rows, *run.sources]))
    rows = [(split, cell(run.rows.get(split)), run.sources.get(split, "-")) for split in splits]
    blocks = [_markdown(Table("", ("split", "rows", "source"), rows))] if rows else []
    if run.notices:
        blocks += ["### What was dropped, repaired, inferred or set by rule", _list(map(_escaped, run.notices))]
    return blocks or ["Nothing was recorded."]


def _usage(run: Run, auto_class: str | None, kept_apart: str | None) -> list[str]:
    example = INPUTS.get(run.task, "...")
    own = _code(["import reasoner", "", 'result = reasoner.load("this-folder")', f"print(result.predict({example}))"])
    if kept_apart is not None:
        return [own, *_usage_beside_base(run, auto_class, kept_apart)]
    if auto_class is None:
        return [
            own,
            "The head has layers of its own, in `head.safetensors`: plain transformers loads the backbone alone, "
            "with `AutoModel`.",
        ]
    plain = _code(
        [
            f"from transformers import {auto_class}, AutoTokenizer",
            "",
            'tokenizer = AutoTokenizer.from_pretrained("this-folder")',
            f'model = {auto_class}.from_pretrained("this-folder")',
        ]
    )
    return [own, "Or with transformers alone:", plain]


def _usage_beside_base(run: Run, auto_class: str | None, kept_apart: str) -> list[str]:
    """Return what to say where the folder holds what was added to a base model."""
    where = f"The folder holds what was added to {_escaped(run.model)}, and not that model: it must be at hand as well."
    if _LIBRARIES.get(kept_apart) != "peft" or auto_class is None:
        return [f"{where} Only `reasoner` puts them together."]
    lines = [
        "from peft import PeftModel",
        f"from transformers import AutoConfig, {auto_class}, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("this-folder")',
        'config = AutoConfig.from_pretrained("this-folder")',
        f'base = {auto_class}.from_pretrained("the-base-model", config=config)',
        'model = PeftModel.from_pretrained(base, "this-folder")',
    ]
    return [where, "Or with transformers and peft alone:", _code(lines)]


def _limits(run: Run) -> list[str]:
    calibrated = run.calibration.get("temperature", 1) != 1
    limits = [
        "The scores hold for the data above; on text of another domain, time or language expect others, mostly lower.",
        f"They come from {_runs(run)}; another seed gives other scores, the more so the smaller the data.",
        "The probabilities are calibrated on validation rows by a temperature that `reasoner` applies, and plain "
        "transformers does not."
        if calibrated
        else "The probabilities are not calibrated: a score of 0.9 need not be right nine times in ten.",
        "Errors and biases of the pretrained model and of the labels are learned as well.",
        "No licence is stated here: those of the pretrained model and of the data apply.",
    ]
    if length := run.config.get("max_length"):
        limits.insert(3, f"It reads at most {length} tokens at once; longer inputs are cut, or read in windows.")
    return limits


def _runs(run: Run) -> str:
    return f"the best of {len(run.seeds)} runs on validation" if len(run.seeds) > 1 else "one run"


def _without_folders(run: Run) -> Run:
    """Return the record with every path reduced to its last part: in names, sources, settings and sentences."""
    sources = {split: _reduced(source) for split, source in run.sources.items()}
    paths = [path for path in (run.model, *run.sources.values()) if re.search(r"[\\/]", path) and not _is_hub_id(path)]

    def in_sentence(text: str) -> str:
        for path in sorted(paths, key=len, reverse=True):  # known paths first: they may hold spaces
            text = text.replace(path, last_part(path))
        return _PATH.sub(lambda match: match[1] or last_part(match[0]), text)

    return replace(
        run,
        model=_reduced(run.model),
        method=in_sentence(run.method),
        sources=sources,
        config={name: in_sentence(value) if isinstance(value, str) else value for name, value in run.config.items()},
        notices=[in_sentence(notice) for notice in run.notices],
    )


def _reduced(name: str) -> str:
    return name if _is_hub_id(name) or "://" in name else last_part(name)


def _is_hub_id(name: str) -> bool:
    """Whether a name looks like `owner/name`, or like one of the Hub's old ids without owner, and not like a folder.

    The class name that stands for a model given as an object is none: it is not known where that came from.
    """
    if match := _HUB_ID.fullmatch(name):
        return match["owner"].lower() not in _USUAL_FOLDERS
    return _OLD_HUB_ID.fullmatch(name) is not None


def _section(heading: str, blocks: Sequence[str], *, level: int = 1) -> str:
    return "\n\n".join([f"{'#' * level} {_escaped(heading)}", *blocks])


def _markdown(table: Table) -> str:
    aligned = [":--", *("--:" for _ in table.columns[1:])]
    lines = [[_escaped(text) for text in table.columns], aligned]
    for row in table.rows:
        cells = [_escaped(text) for text in row]
        if row[0] == table.marked:
            cells = [f"**{cells[0]}** \\*", *(f"**{text}**" if text else "" for text in cells[1:])]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _facts(facts: Facts) -> str:
    return _list(f"{name}: {_escaped(text)}" for name, text in facts)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


def _setting(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """Return the text on one line, with what Markdown or HTML would read as markup made plain."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
