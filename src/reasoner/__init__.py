"""Fine-tune pretrained transformers on reasoning tasks: read, check, train, score, save, predict.

Nothing heavy is imported until it is used: the names below are loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "check": "reasoner.api",
    "fine_tune": "reasoner.api",
    "load": "reasoner.api",
    "load_together": "reasoner.api",
    "read_rows": "reasoner.api",
    "shortcuts": "reasoner.meter",
    "robustness": "reasoner.invariance",
    "bias": "reasoner.fairness",
    "heuristics": "reasoner.behaviour.cases",
    "contrast": "reasoner.behaviour.contrast_sets",
    "checklist": "reasoner.behaviour.checking",
    "checklist_cases": "reasoner.behaviour.checking",
    "drift": "reasoner.drifting",
    "explain": "reasoner.explanations",
    "compare": "reasoner.experiments.variants",
    "search": "reasoner.experiments.hyperparameters",
    "read_settings": "reasoner.experiments.settings",
    "teach": "reasoner.experiments.teaching",
    "zero_shot": "reasoner.untrained",
    "few_shot": "reasoner.untrained",
    "pretrain": "reasoner.pretraining",
    "Pretraining": "reasoner.pretraining",
    "perplexity": "reasoner.likelihood",
    "sentence_pairs": "reasoner.data.pairs",
    "dpo": "reasoner.reinforcement.functions",
    "grpo": "reasoner.reinforcement.functions",
    "KnowledgeGraph": "reasoner.graphs.store",
    "Triple": "reasoner.graphs.triples",
    "extract_triples": "reasoner.graphs.triples",
    "Reranker": "reasoner.graphs.reranking",
    "rerank": "reasoner.graphs.reranking",
    "Samples": "reasoner.sampling",
    "sample": "reasoner.sampling",
    "register_head": "reasoner.registry",
    "register_method": "reasoner.registry",
    "register_task": "reasoner.registry",
    "register_verifier": "reasoner.registry",
    "Result": "reasoner.result",
    "CheckReport": "reasoner.checks.report",
    "Finding": "reasoner.checks.findings",
    "Comparison": "reasoner.comparison",
    "Review": "reasoner.review",
    "ShortcutReport": "reasoner.reports.shortcuts",
    "RobustnessCard": "reasoner.reports.robustness",
    "Edit": "reasoner.edits.catalog",
    "BiasReport": "reasoner.reports.bias",
    "HeuristicsReport": "reasoner.reports.heuristics",
    "ContrastEdit": "reasoner.edits.changing",
    "ContrastReport": "reasoner.reports.contrast",
    "ChecklistReport": "reasoner.reports.checklist",
    "DriftReport": "reasoner.reports.drift",
    "Explanation": "reasoner.reports.explanation",
    "WordGroup": "reasoner.edits.groups",
    "Leaderboard": "reasoner.reports.leaderboard",
    "SearchResult": "reasoner.reports.trials",
    "Teaching": "reasoner.reports.teaching",
    "TrainingConfig": "reasoner.training.config",
    "Trainer": "reasoner.training.trainer",
    "Callback": "reasoner.training.callbacks",
    "Task": "reasoner.tasks.base",
    "PartialInput": "reasoner.tasks.base",
    "TaskHead": "reasoner.heads.base",
    "LossSum": "reasoner.losses",
    "Example": "reasoner.data.examples",
    "Feature": "reasoner.data.features",
    "Batch": "reasoner.data.features",
    "NER": "reasoner.tasks.ner",
    "NestedNER": "reasoner.tasks.nested_ner",
    "NLI": "reasoner.tasks.nli",
    "Classification": "reasoner.tasks.classification",
    "QuestionAnswering": "reasoner.tasks.qa",
    "MultipleChoice": "reasoner.tasks.multiple_choice",
    "Generation": "reasoner.tasks.generation",
    "LinkPrediction": "reasoner.tasks.link_prediction",
    "ResponseRanking": "reasoner.tasks.response_ranking",
    "SeveralTasks": "reasoner.tasks.several",
    "IntentAndSlots": "reasoner.tasks.intent_and_slots",
    "Relation": "reasoner.tasks.relation",
    "Method": "reasoner.methods.base",
    "Full": "reasoner.methods.full",
    "HeadOnly": "reasoner.methods.head",
    "Freeze": "reasoner.methods.freeze",
    "TopK": "reasoner.methods.top_k",
    "GradualUnfreezing": "reasoner.methods.gradual",
    "BitFit": "reasoner.methods.bitfit",
    "Adapter": "reasoner.methods.adapter",
    "LoRA": "reasoner.methods.lora",
    "IA3": "reasoner.methods.ia3",
    "Prefix": "reasoner.methods.prefix",
    "Prompt": "reasoner.methods.prompt",
    "Replay": "reasoner.protections",
    "EWC": "reasoner.protections",
    "LwF": "reasoner.protections",
    "OwnAdapter": "reasoner.protections",
    "ReasonerError": "reasoner.errors",
    "DataError": "reasoner.errors",
    "LabelError": "reasoner.errors",
    "ConfigError": "reasoner.errors",
    "CheckpointError": "reasoner.errors",
    "DivergedError": "reasoner.errors",
    "NotEnoughMemoryError": "reasoner.errors",
    "RankError": "reasoner.errors",
}
_MODULES = ("heads", "losses", "metrics", "synthetic", "tasks", "testing", "verifiers")

__all__ = [*_EXPORTS, *_MODULES]  # noqa: PLE0604

if TYPE_CHECKING:
    from reasoner import heads, losses, metrics, synthetic, tasks, testing, verifiers
    from reasoner.api import check, fine_tune, load, load_together, read_rows
    from reasoner.behaviour.cases import heuristics
    from reasoner.behaviour.checking import checklist, checklist_cases
    from reasoner.behaviour.contrast_sets import contrast
    from reasoner.checks.findings import Finding
    from reasoner.checks.report import CheckReport
    from reasoner.comparison import Comparison
    from reasoner.data.examples import Example
    from reasoner.data.features import Batch, Feature
    from reasoner.data.pairs import sentence_pairs
    from reasoner.drifting import drift
    from reasoner.edits.catalog import Edit
    from reasoner.edits.changing import ContrastEdit
    from reasoner.edits.groups import WordGroup
    from reasoner.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DivergedError,
        LabelError,
        NotEnoughMemoryError,
        RankError,
        ReasonerError,
    )
    from reasoner.experiments.hyperparameters import search
    from reasoner.experiments.settings import read_settings
    from reasoner.experiments.teaching import teach
    from reasoner.experiments.variants import compare
    from reasoner.explanations import explain
    from reasoner.fairness import bias
    from reasoner.graphs.reranking import Reranker, rerank
    from reasoner.graphs.store import KnowledgeGraph
    from reasoner.graphs.triples import Triple, extract_triples
    from reasoner.heads.base import TaskHead
    from reasoner.invariance import robustness
    from reasoner.likelihood import perplexity
    from reasoner.losses import LossSum
    from reasoner.meter import shortcuts
    from reasoner.methods.adapter import Adapter
    from reasoner.methods.base import Method
    from reasoner.methods.bitfit import BitFit
    from reasoner.methods.freeze import Freeze
    from reasoner.methods.full import Full
    from reasoner.methods.gradual import GradualUnfreezing
    from reasoner.methods.head import HeadOnly
    from reasoner.methods.ia3 import IA3
    from reasoner.methods.lora import LoRA
    from reasoner.methods.prefix import Prefix
    from reasoner.methods.prompt import Prompt
    from reasoner.methods.top_k import TopK
    from reasoner.pretraining import Pretraining, pretrain
    from reasoner.protections import EWC, LwF, OwnAdapter, Replay
    from reasoner.registry import register_head, register_method, register_task, register_verifier
    from reasoner.reinforcement.functions import dpo, grpo
    from reasoner.reports.bias import BiasReport
    from reasoner.reports.checklist import ChecklistReport
    from reasoner.reports.contrast import ContrastReport
    from reasoner.reports.drift import DriftReport
    from reasoner.reports.explanation import Explanation
    from reasoner.reports.heuristics import HeuristicsReport
    from reasoner.reports.leaderboard import Leaderboard
    from reasoner.reports.robustness import RobustnessCard
    from reasoner.reports.shortcuts import ShortcutReport
    from reasoner.reports.teaching import Teaching
    from reasoner.reports.trials import SearchResult
    from reasoner.result import Result
    from reasoner.review import Review
    from reasoner.sampling import Samples, sample
    from reasoner.tasks.base import PartialInput, Task
    from reasoner.tasks.classification import Classification
    from reasoner.tasks.generation import Generation
    from reasoner.tasks.intent_and_slots import IntentAndSlots
    from reasoner.tasks.link_prediction import LinkPrediction
    from reasoner.tasks.multiple_choice import MultipleChoice
    from reasoner.tasks.ner import NER
    from reasoner.tasks.nested_ner import NestedNER
    from reasoner.tasks.nli import NLI
    from reasoner.tasks.qa import QuestionAnswering
    from reasoner.tasks.relation import Relation
    from reasoner.tasks.response_ranking import ResponseRanking
    from reasoner.tasks.several import SeveralTasks
    from reasoner.training.callbacks import Callback
    from reasoner.training.config import TrainingConfig
    from reasoner.training.trainer import Trainer
    from reasoner.untrained import few_shot, zero_shot


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return import_module(f"reasoner.{name}")
    raise AttributeError(f"module 'reasoner' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS, *_MODULES])
