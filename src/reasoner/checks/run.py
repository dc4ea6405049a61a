"""Which checks are made, and in which order are their findings told?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from reasoner.checks.checkpoints import check_head, check_precision
from reasoner.checks.duplicates import check_duplicates, check_leakage
from reasoner.checks.findings import ERROR, NOTE, WARNING, Finding
from reasoner.checks.labels import check_labels, check_tags
from reasoner.checks.lengths import check_lengths
from reasoner.checks.nli_labels import check_nli_labels
from reasoner.checks.reading import refused_rows, repaired_rows
from reasoner.checks.report import CheckReport
from reasoner.checks.shortcuts import check_shortcuts
from reasoner.checks.subject import Subject
from reasoner.checks.tokenizers import check_tokenizer
from reasoner.checks.trial import try_out

CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    check_labels,
    check_tags,
    check_lengths,
    check_duplicates,
    check_leakage,
    check_shortcuts,
    check_tokenizer,
    check_precision,
    check_head,
)
"""Those that do not run the model."""


def run_checks(subject: Subject, *, run_model: bool = True) -> CheckReport:
    """Make all checks, and return what they found, the worst first.

    Args:
        subject: what is checked.
        run_model: also probe the checkpoint's NLI head, and run two batches forward and backward.
    """
    rows = {split: len(examples) for split, examples in subject.examples.items()}
    findings = [*refused_rows(subject.record.problems), *repaired_rows(subject.record, rows)]
    for check in CHECKS:
        findings += check(subject)
    estimate: dict[str, Any] = {}
    if run_model:
        findings += check_nli_labels(subject)
        estimate, found = try_out(subject)
        findings += found
    findings.sort(key=lambda finding: (ERROR, WARNING, NOTE).index(finding.severity))
    return CheckReport(findings=findings, rows=rows, estimate=estimate)
