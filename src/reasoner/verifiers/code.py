"""Is the program right? It is run with its tests, behind walls, after `allow_execution=True`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reasoner.errors import DataError
from reasoner.execution import Limits, execute
from reasoner.execution.run import require_permission, require_walls
from reasoner.verifiers.base import Outcome, Verdict, Verifier

BLOCK = re.compile(r"```[ \t]*(?:python|py|python3)?[ \t]*\r?\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class CodeTests:
    """What a program must pass."""

    tests: str
    """Python source that raises an error if the program is wrong."""
    prompt: str = ""
    """The beginning of the program, which a completion goes on from."""
    entry_point: str = ""
    """The function that is asked for."""
    names: tuple[str, ...] = ()
    """Names that the program is asked to define and the tests mean, though builtins have them too."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CodeTests:
        """Make it from a row as HumanEval has it (`prompt`, `test`, `entry_point`), or MBPP (`test_list`, `code`).

        Raises:
            DataError: if the row is neither.
        """
        if {"prompt", "test", "entry_point"} <= row.keys():
            name = row["entry_point"]
            return cls(f"{row['test']}\n\ncheck({name})\n", row["prompt"], name, (name,))
        if "test_list" in row:
            setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
            names = _defined(row.get("code", ""))
            return cls("\n".join([setup, *row["test_list"]]), "", "", names)
        raise DataError(
            f"A row with columns {sorted(row)} holds no tests. Give columns prompt, test and entry_point (HumanEval), "
            "or test_list and code (MBPP)."
        )


@dataclass(frozen=True)
class Code(Verifier):
    """Runs a program with the tests of gold: a `CodeTests`, or a row from which it is made.

    The program is the last fenced block of the text that defines the entry point, else the last one; a text without a
    block is a completion, and stands after the prompt. What the walls are: docs/verifiers.md.

    Raises:
        ConfigError: without `allow_execution=True`, or where no program can be walled in.
    """

    allow_execution: bool = False
    """Whether programs may be run at all."""
    limits: Limits = field(default_factory=Limits)
    """Seconds and memory of one program."""

    def __post_init__(self) -> None:
        require_permission(self.allow_execution)
        require_walls()

    def parse(self, text: str) -> str | None:
        """Return the program in a text: its last fenced block, or all of it; None if there is none."""
        blocks: list[str] = BLOCK.findall(text)
        return (blocks[-1] if blocks else text).replace("\r\n", "\n") if text.strip() else None

    def parse_gold(self, gold: Any) -> CodeTests:
        """Return the tests."""
        return gold if isinstance(gold, CodeTests) else CodeTests.from_row(gold)

    def gold_in(self, solution: str) -> Any:
        """Refuse: a program says not how it is tested.

        Raises:
            DataError: always.
        """
        raise DataError("Code: a right program does not say how it is tested. Give the tests as gold.")

    def __call__(self, text: str, gold: Any) -> Verdict:
        """Run the program in a text with its tests."""
        expected = self.parse_gold(gold)
        program = self._program(text, expected)
        done = execute(
            program, expected.tests, names=expected.names, limits=self.limits, allow_execution=self.allow_execution
        )
        if not done.compiled:
            return Verdict(Outcome.UNPARSABLE, None, done.reason)
        outcome = Outcome.CORRECT if done.passed else Outcome.TIMED_OUT if done.timed_out else Outcome.WRONG
        return Verdict(outcome, program, done.reason)

    def _program(self, text: str, expected: CodeTests) -> str:
        blocks: list[str] = [block.replace("\r\n", "\n") for block in BLOCK.findall(text)]
        if not blocks:
            return expected.prompt + text.replace("\r\n", "\n")
        asked = re.compile(rf"^\s*(?:async\s+)?(?:def|class)\s+{re.escape(expected.entry_point)}\b", re.MULTILINE)
        whole = [block for block in blocks if expected.entry_point and asked.search(block)]
        if whole:  # the block is a program of its own, which may lean on the imports of the prompt
            return f"{_before(expected)}\n{whole[-1]}"
        return expected.prompt + blocks[-1]


def _before(expected: CodeTests) -> str:
    """Return what the prompt has before the function that it asks for: imports, and other functions."""
    found = re.search(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(expected.entry_point)}\b", expected.prompt, re.M)
    return expected.prompt[: found.start()] if found else ""


def _defined(program: str) -> tuple[str, ...]:
    """Return the names that a right program defines at its top."""
    try:
        body = ast.parse(program.replace("\r\n", "\n")).body
    except SyntaxError:
        return ()
    return tuple(node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))
