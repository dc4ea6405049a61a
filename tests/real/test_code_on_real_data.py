"""Do the reference programs of HumanEval and MBPP pass, and empty ones never?"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from reasoner.verifiers import Code, Outcome
from walls import runs_programs

pytestmark = runs_programs
WORKERS = 2


def _rows(path: Path) -> list[dict]:
    if not path.exists():
        pytest.skip(f"The real data has no {path}.")
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def humaneval(real_data: Path) -> list[dict]:
    return _rows(real_data / "code" / "humaneval" / "HumanEval.jsonl.gz")


def test_all_canonical_solutions_of_humaneval_pass(humaneval):
    verdicts = Code(allow_execution=True).verify(
        [row["canonical_solution"] for row in humaneval], humaneval, workers=WORKERS
    )
    failed = {row["task_id"]: verdict for row, verdict in zip(humaneval, verdicts, strict=True) if not verdict.correct}
    assert len(verdicts) == 164 and failed == {}


def test_solutions_in_fenced_blocks_pass(humaneval):
    texts = [f"Here it is:\n```python\n{row['prompt']}{row['canonical_solution']}\n```\nDone." for row in humaneval]
    assert Code(allow_execution=True).score(texts, humaneval, workers=WORKERS)["accuracy"] == 1


def test_no_empty_completion_of_humaneval_passes(humaneval):
    verdicts = Code(allow_execution=True).verify([""] * len(humaneval), humaneval, workers=WORKERS)
    assert sum(verdict.correct for verdict in verdicts) == 0
    assert {verdict.outcome for verdict in verdicts} <= {Outcome.WRONG, Outcome.UNPARSABLE}


def test_the_code_of_mbpp_passes_its_tests(real_data: Path):
    rows = _rows(real_data / "code" / "mbpp" / "mbpp.jsonl")[10:510]  # task_id 11-510: the test part
    verdicts = Code(allow_execution=True).verify([row["code"] for row in rows], rows, workers=WORKERS)
    failed = {
        row["task_id"]: verdict.reason for row, verdict in zip(rows, verdicts, strict=True) if not verdict.correct
    }
    assert failed == {}
