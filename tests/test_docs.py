"""Does what the documentation says hold: every block of Python runs, page by page, and the site is built?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
CODE = re.compile(r"^```python\n(?P<block>.*?)^```$|^<!-- first\n(?P<first>.*?)^-->$", re.MULTILINE | re.DOTALL)
"""Blocks, and what must be there before they run, such as files: in a comment that readers do not see."""
DECODER = '"SmolLM2-135M-Instruct.Q4_1.gguf"'
SHORTER = (
    (re.compile(r"max_steps=\d+"), "max_steps=2"),
    (re.compile(r"num_train_epochs=\d+"), "num_train_epochs=1"),
    (re.compile(r"n_trials=\d+"), "n_trials=2"),
    (re.compile(r"train=[3-9]\d\d, validation=\d+, test=\d+"), "train=32, validation=8, test=8"),
)
"""What runs less long here than on the page."""


def programs() -> dict[str, str]:
    """Return the blocks of each page in their order, as one program whose lines have the numbers of the page's."""
    found = {}
    for page in PAGES:
        text, lines = page.read_text("utf-8"), []
        for match in CODE.finditer(text):
            start = text.count("\n", 0, match.start()) + 1
            lines += [""] * (start - len(lines))
            lines += (match["block"] or match["first"]).splitlines()
        if lines:
            found[page.relative_to(ROOT).as_posix()] = "\n".join(lines)
    return found


PROGRAMS = programs()


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("page", PROGRAMS)
def test_blocks_of_the_page_run(
    page: str, tiny_models: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With tiny models in place of the packaged ones, and few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reasoner.base_model.embedded_model", lambda: tiny_models("bert"))
    (tmp_path / "a-large-model").symlink_to(tiny_models("bert"))
    text = PROGRAMS[page].replace(DECODER, repr(str(tiny_models("llama"))))
    for pattern, shorter in SHORTER:
        text = pattern.sub(shorter, text)
    exec(compile(text, page, "exec"), {"__name__": "__main__"})


def test_every_page_with_code_is_here():
    opened = {page.relative_to(ROOT).as_posix() for page in PAGES if "```py" in page.read_text("utf-8")}
    assert opened == PROGRAMS.keys() and len(opened) > 15


@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="what builds the site is not installed: [docs]")
def test_the_site_is_built_without_a_warning(tmp_path: Path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    page = (tmp_path / "site" / "api" / "functions" / "index.html").read_text("utf-8")
    assert "Fine-tune a pretrained model on a task" in page
