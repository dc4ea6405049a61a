"""Is an answer right? Each verifier reads the answer out of a text, and compares it with gold, or runs its tests."""

from __future__ import annotations

from reasoner.verifiers.base import Outcome, Verdict, Verifier
from reasoner.verifiers.choice import Choice
from reasoner.verifiers.code import Code, CodeTests
from reasoner.verifiers.exact import Exact
from reasoner.verifiers.json import Json
from reasoner.verifiers.number import Number
from reasoner.verifiers.reasoning_gym import ReasoningGym

__all__ = ["Choice", "Code", "CodeTests", "Exact", "Json", "Number", "Outcome", "ReasoningGym", "Verdict", "Verifier"]
