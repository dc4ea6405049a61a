"""One table a kind: a name -> the class that stands behind it, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from reasoner.errors import ConfigError, suggestion

TABLES: dict[str, dict[str, str | type]] = {
    "task": {
        "ner": "reasoner.tasks.ner:NER",
        "nested_ner": "reasoner.tasks.nested_ner:NestedNER",
        "nli": "reasoner.tasks.nli:NLI",
        "classification": "reasoner.tasks.classification:Classification",
        "qa": "reasoner.tasks.qa:QuestionAnswering",
        "multiple_choice": "reasoner.tasks.multiple_choice:MultipleChoice",
        "generation": "reasoner.tasks.generation:Generation",
        "relation": "reasoner.tasks.relation:Relation",
        "link_prediction": "reasoner.tasks.link_prediction:LinkPrediction",
        "response_ranking": "reasoner.tasks.response_ranking:ResponseRanking",
        "several_tasks": "reasoner.tasks.several:SeveralTasks",
        "intent_and_slots": "reasoner.tasks.intent_and_slots:IntentAndSlots",
    },
    "head": {
        "token_classification": "reasoner.heads.token_classification:TokenClassificationHead",
        "crf": "reasoner.heads.crf:CRFHead",
        "span": "reasoner.heads.span:SpanHead",
        "sequence_classification": "reasoner.heads.sequence_classification:SequenceClassificationHead",
        "question_answering": "reasoner.heads.question_answering:QuestionAnsweringHead",
        "multiple_choice": "reasoner.heads.multiple_choice:MultipleChoiceHead",
        "causal_lm": "reasoner.heads.causal_lm:CausalLMHead",
        "seq2seq_lm": "reasoner.heads.seq2seq_lm:Seq2SeqLMHead",
        "bi_encoder": "reasoner.heads.bi_encoder:BiEncoderHead",
        "several": "reasoner.heads.several:SeveralHead",
        "likelihood": "reasoner.heads.likelihood:LikelihoodHead",
        "entailment": "reasoner.heads.entailment:EntailmentHead",
        "similarity": "reasoner.heads.similarity:SimilarityHead",
        "sentence": "reasoner.heads.sentence:SentenceHead",
        "cloze": "reasoner.heads.cloze:ClozeHead",
    },
    "method": {
        "full": "reasoner.methods.full:Full",
        "head": "reasoner.methods.head:HeadOnly",
        "freeze": "reasoner.methods.freeze:Freeze",
        "top-k": "reasoner.methods.top_k:TopK",
        "gradual": "reasoner.methods.gradual:GradualUnfreezing",
        "bitfit": "reasoner.methods.bitfit:BitFit",
        "adapter": "reasoner.methods.adapter:Adapter",
        "lora": "reasoner.methods.lora:LoRA",
        "ia3": "reasoner.methods.ia3:IA3",
        "prefix": "reasoner.methods.prefix:Prefix",
        "prompt": "reasoner.methods.prompt:Prompt",
    },
    "verifier": {
        "number": "reasoner.verifiers.number:Number",
        "choice": "reasoner.verifiers.choice:Choice",
        "exact": "reasoner.verifiers.exact:Exact",
        "json": "reasoner.verifiers.json:Json",
        "code": "reasoner.verifiers.code:Code",
        "reasoning_gym": "reasoner.verifiers.reasoning_gym:ReasoningGym",
    },
}
"""Other libraries add lines by `register_*`, or by an entry point in the group `reasoner.<kind>s`."""


def register_task(name: str, task: str | type) -> None:
    """Make `task="name"` mean a class of yours, or the string `"module:Class"`."""
    _register("task", name, task)


def register_head(name: str, head: str | type) -> None:
    """Make `head="name"` mean a class of yours, or the string `"module:Class"`."""
    _register("head", name, head)


def register_method(name: str, method: str | type) -> None:
    """Make `method="name"` mean a class of yours, or the string `"module:Class"`."""
    _register("method", name, method)


def register_verifier(name: str, verifier: str | type) -> None:
    """Make `verifier="name"` mean a class of yours, or the string `"module:Class"`."""
    _register("verifier", name, verifier)


def resolve(kind: str, name: str) -> type[Any]:
    """Return the class registered as `name`.

    Raises:
        ConfigError: if nothing is registered under this name (the nearest known name is suggested), or what is
            registered cannot be imported.
    """
    target = _target(kind, name)
    if target is None:
        raise ConfigError(
            f"There is no {kind} named '{name}'. {suggestion(name, [*TABLES[kind], *_entry_points(kind)])} "
            f"If it is yours, import the module that calls register_{kind} first."
        )
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The {kind} '{name}' is registered as {target}, which cannot be imported: {error}"
        ) from error


def name_of(kind: str, cls: type) -> str:
    """Return the name under which a class is registered.

    Raises:
        ConfigError: if it is not registered: a saved folder could not be read again.
    """
    path, table = f"{cls.__module__}:{cls.__qualname__}", TABLES[kind]
    for known in (lambda: table, lambda: _entry_points(kind)):  # these are looked up on the disk
        for name, target in known().items():
            if (target is cls or target == path) and table.get(name, target) == target:
                return name
    raise ConfigError(
        f"{cls.__name__} is not registered. Call reasoner.register_{kind}('a-name', {cls.__name__}) first."
    )


def _register(kind: str, name: str, target: str | type) -> None:
    known = _target(kind, name)
    if known is not None and _path(known) != _path(target):
        raise ConfigError(f"The {kind} name '{name}' is taken by {_path(known)}. Choose another name.")
    TABLES[kind][name] = target


def _path(target: str | type) -> str:
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def _target(kind: str, name: str) -> str | type | None:
    return TABLES[kind].get(name) or _entry_points(kind).get(name)


def _entry_points(kind: str) -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=f"reasoner.{kind}s")}
