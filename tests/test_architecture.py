"""Does the source keep the rules of the house: imports go down, files stay short, every registered name is there?"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

import reasoner
from reasoner.registry import TABLES

SOURCE = Path(__file__).resolve().parents[1] / "src" / "reasoner"

ROWS = (
    (
        "api",
        "behaviour",
        "drifting",
        "experiments",
        "explanations",
        "fairness",
        "graphs",
        "invariance",
        "labelling",
        "meter",
        "neighbours",
        "reinforcement",
        "serving",
        "testing",
        "untrained",
    ),
    ("asking", "continuing", "likelihood", "onnx_models", "pretraining", "sampling", "tuning"),
    ("contrastive", "recipes", "recording", "refitting"),
    ("debiasing", "distillation", "origins", "preparation", "previous", "result", "resuming", "seeds"),
    (
        "calibration",
        "checks",
        "comparison",
        "edits",
        "frozen",
        "joint",
        "options",
        "review",
        "scored_rows",
        "storage",
        "whole_model",
    ),
    ("proof", "streaming", "vectors"),
    ("inference",),
    ("evaluation",),
    ("drawing", "encoding", "fingerprints", "language_model", "model"),
    ("reports", "synthetic", "tasks"),
    ("frozen_parts", "heads", "layerwise"),
    ("data", "generating", "methods", "networks", "prefixes", "protections", "training", "verifiers"),
    (
        "added",
        "base_model",
        "chains",
        "execution",
        "logit_places",
        "losses",
        "metrics",
        "packing",
        "publishing",
        "registry",
    ),
    ("errors", "notices", "untrusted"),
)
"""A room may import from the rows below its own, never from its own row or above."""
KEPT_APART = {
    "tasks": {"heads", "methods", "training"},  # a task knows no optimiser; it names its head by a string
    "heads": {"methods", "metrics", "training"},
    "methods": {"losses", "metrics"},
    "training": {"metrics", "registry"},  # the trainer sees a loss and a callable that scores, nothing else
    "reports": {"data", "heads", "methods", "training", "losses", "registry"},  # a report reads a record
    "synthetic": {"heads", "data", "methods", "training", "losses", "metrics", "registry"},
}
"""Rooms that lie below, and that a room still has no business with."""

READERS_OF_THE_VERSION = {"reasoner.preparation"}
"""`import reasoner` would be a way round the order: only this module does it."""

LONGEST_FILE = 400
LONGER_FILES: dict[str, int] = {}
"""Files that may be longer, and how long; this list may only shrink."""
LONGEST_FUNCTION = 40
BANNED = re.compile(r"torch\.load\b|\bpickle\b|trust_remote_code\s*=\s*True")


class Import(NamedTuple):
    """A module of ours that imports another one of ours."""

    importer: str
    imported: str
    line: int
    at_top: bool


# --- what the source says -------------------------------------------------------------------------------------------


def files(source: Path) -> dict[str, Path]:
    """Return the path of each module by its dotted name."""
    named = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports(source: Path) -> list[Import]:
    """Return all imports of our modules by our modules, those for type checkers left out."""
    modules = files(source)
    found = []
    for importer, path in modules.items():
        tree = ast.parse(path.read_text("utf-8"))
        top = {id(node) for node in _at_module_level(tree)}
        for node in _running(tree):
            for name in _names(node, modules):
                found.append(Import(importer, name, node.lineno, id(node) in top))
    return found


def _running(tree: ast.AST) -> Iterator[ast.stmt]:
    """Give every import statement that runs, at whatever depth."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and re.search(r"\bTYPE_CHECKING$", ast.unparse(node.test)):
            for alternative in node.orelse:
                yield from _running(ast.Module([alternative], []))
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from _running(node)


def _at_module_level(tree: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes that run when the module is imported: all but the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_module_level(node)


def _names(node: ast.stmt, modules: dict[str, Path]) -> list[str]:
    """Return the modules of ours that an import statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return ["reasoner.(relative)"]
    ours = [name for name in names if name.split(".")[0] == "reasoner"]
    return sorted({name if name in modules else name.rpartition(".")[0] for name in ours})


def room(module: str) -> str:
    """Return the room of a module: `tasks` of `reasoner.tasks.ner`, "" of `reasoner` itself."""
    return module.split(".")[1] if "." in module else ""


def upward(source: Path) -> list[str]:
    """Return the imports that go up, or sideways, or into a room that is kept apart."""
    row_of = {name: number for number, row in enumerate(ROWS) for name in row}
    wrong = []
    for item in imports(source):
        above, below = room(item.importer), room(item.imported)
        if above == below or (below == "" and item.importer in READERS_OF_THE_VERSION):
            continue
        unknown = {above, below} - row_of.keys()
        if unknown or row_of[below] <= row_of[above] or below in KEPT_APART.get(above, ()):
            wrong.append(f"{item.importer}, line {item.line}, imports {item.imported}")
    return wrong


def cycles(source: Path) -> list[str]:
    """Return the cycles among modules that import each other when they are imported."""
    graph: dict[str, set[str]] = {name: set() for name in files(source)}
    for item in imports(source):
        if item.at_top and item.imported in graph:
            graph[item.importer].add(item.imported)
    found, state = [], dict.fromkeys(graph, "new")

    def visit(name: str, path: list[str]) -> None:
        state[name] = "open"
        for other in sorted(graph[name]):
            if state[other] == "open":
                found.append(" -> ".join([*path[path.index(other) :], other]))
            elif state[other] == "new":
                visit(other, [*path, other])
        state[name] = "done"

    for name in graph:
        if state[name] == "new":
            visit(name, [name])
    return found


def long_functions(source: Path) -> list[str]:
    """Return the functions with more lines than allowed, their documentation not counted."""
    return [
        f"{name}.{node.name}: {lines} lines"
        for name, path in files(source).items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := _lines(node)) > LONGEST_FUNCTION
    ]


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return _span(function) - (_span(first) if documented else 0)


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# --- the rules ------------------------------------------------------------------------------------------------------


def test_every_room_has_its_row():
    rooms = {room(module) for module in files(SOURCE)} - {""}
    assert rooms == {name for row in ROWS for name in row}


def test_imports_go_downward():
    assert upward(SOURCE) == []


def test_importing_the_package_imports_no_room():
    assert [item for item in imports(SOURCE) if item.importer == "reasoner"] == []


def test_rooms_named_in_strings_are_named_in_the_tables_alone():
    # import_module would be a way round the import order.
    users = [name for name, path in files(SOURCE).items() if "import_module" in path.read_text("utf-8")]
    assert users == ["reasoner", "reasoner.registry"]


def test_heads_know_of_data_what_a_batch_is_and_no_more():
    known = {
        item.imported for item in imports(SOURCE) if room(item.importer) == "heads" and room(item.imported) == "data"
    }
    assert known == {"reasoner.data.features"}


def test_no_import_cycles():
    assert cycles(SOURCE) == []


def test_no_long_files():
    lengths = {name: len(path.read_text("utf-8").splitlines()) for name, path in files(SOURCE).items()}
    too_long = {name: lines for name, lines in lengths.items() if lines > LONGER_FILES.get(name, LONGEST_FILE)}
    assert too_long == {}
    needless = {name for name in LONGER_FILES if lengths.get(name, 0) <= LONGEST_FILE}
    assert needless == set(), "these files are short now: take them off LONGER_FILES"


def test_no_long_functions():
    assert long_functions(SOURCE) == []


def test_every_file_begins_with_what_it_answers():
    silent = [name for name, path in files(SOURCE).items() if not re.match(r'"""\S.{10,}', path.read_text("utf-8"))]
    assert silent == []


def test_no_drawer_for_everything():
    assert [
        str(path) for path in SOURCE.rglob("*") if re.fullmatch(r"(utils?|helpers?|misc|common)(\.py)?", path.name)
    ] == []


def test_nothing_runs_code_that_came_with_a_model():
    found = [
        f"{name}, line {number}: {line.strip()}"
        for name, path in files(SOURCE).items()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if BANNED.search(line)
    ]
    assert found == []


# --- the tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in TABLES.items() for name in table])
def test_registered_names_resolve(kind: str, name: str):
    target = TABLES[kind][name]
    if not isinstance(target, str):  # another test registered a class of its own
        pytest.skip("registered by a test")
    module, _, attribute = target.partition(":")
    base = import_module(f"reasoner.{kind}s.base")
    assert issubclass(
        getattr(import_module(module), attribute), getattr(base, {"head": "TaskHead"}.get(kind, kind.title()))
    )


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_every_file_of_a_kind_has_its_line(kind: str):
    there = {path.stem for path in (SOURCE / f"{kind}s").glob("*.py")} - {"__init__", "base", "prompted"}
    prefix = f"reasoner.{kind}s."
    targets = [target for target in TABLES[kind].values() if isinstance(target, str)]
    listed = {target.removeprefix(prefix).partition(":")[0] for target in targets if target.startswith(prefix)}
    assert listed == there


def test_every_exported_name_resolves():
    missing = [name for name in reasoner.__all__ if not hasattr(reasoner, name)]
    assert missing == []
    assert set(reasoner.__all__) <= set(dir(reasoner))


def test_names_for_type_checkers_are_the_exported_ones():
    tree = ast.parse((SOURCE / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    named = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named == set(reasoner.__all__)


# --- what an import costs -------------------------------------------------------------------------------------------

HEAVY = [
    *("torch", "transformers", "datasets", "accelerate", "tqdm"),
    *("numpy", "scipy", "sklearn", "pandas", "matplotlib", "seqeval"),
]


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import reasoner", HEAVY),
        ("import reasoner; reasoner.synthetic.ner_pack(train=4, validation=2, test=2)", HEAVY),
        ("import reasoner; reasoner.TrainingConfig(seed=1); reasoner.register_head; reasoner.DataError", HEAVY),
        ("import reasoner; reasoner.metrics.entity_scores([['B-X']], [['B-X']])", ["torch", "transformers", "seqeval"]),
    ],
)
def test_importing_costs_little(code: str, heavy: list[str]):
    program = f"{code}\nimport sys\nprint(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- the rules can be broken ----------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small source tree that keeps the rules."""
    source = tmp_path / "reasoner"
    for name in ("data", "heads", "tasks", "training"):
        (source / name).mkdir(parents=True)
        (source / name / "__init__.py").write_text('"""A room."""\n')
    (source / "__init__.py").write_text('"""The package."""\n')
    (source / "errors.py").write_text('"""Errors."""\n')
    (source / "data" / "rows.py").write_text('"""Rows."""\nfrom reasoner.errors import DataError\n')
    (source / "data" / "files.py").write_text('"""Files."""\nfrom reasoner.data.rows import Row\n')
    assert upward(source) == cycles(source) == []
    return source


@pytest.mark.parametrize(
    "statement",
    [
        "from reasoner.training.trainer import Trainer",  # sideways: data and training are in one row
        "import reasoner.tasks.ner",  # upward
        "from reasoner import tasks",  # upward, the room as a whole
        "def f():\n    from reasoner.tasks import ner",  # upward, late
        "try:\n    import reasoner.tasks\nexcept ImportError:\n    pass",
        "from ..tasks import ner",  # relative imports are not used here at all
        "from reasoner.attic import thing",  # a room that has no row
        "from reasoner import fine_tune",  # by the lazy names of the package
        "import reasoner",
    ],
)
def test_an_upward_import_is_found(house: Path, statement: str):
    (house / "data" / "rows.py").write_text(f'"""Rows."""\n{statement}\n')
    (house / "tasks" / "ner.py").write_text('"""NER."""\n')
    assert len(upward(house)) == 1


def test_a_room_that_is_kept_apart_is_found(house: Path):
    (house / "training" / "config.py").write_text('"""Settings."""\n')
    (house / "tasks" / "ner.py").write_text('"""NER."""\nfrom reasoner.training.config import TrainingConfig\n')
    assert upward(house) == ["reasoner.tasks.ner, line 2, imports reasoner.training.config"]


def test_imports_for_type_checkers_do_not_count(house: Path):
    (house / "data" / "rows.py").write_text(
        '"""Rows."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from reasoner.tasks import ner\n'
    )
    assert upward(house) == cycles(house) == []


def test_a_cycle_is_found(house: Path):
    (house / "data" / "rows.py").write_text('"""Rows."""\nfrom reasoner.data.files import File\n')
    assert cycles(house) == ["reasoner.data.files -> reasoner.data.rows -> reasoner.data.files"]


def test_a_long_function_is_found(house: Path):
    body = "    pass\n" * LONGEST_FUNCTION
    (house / "errors.py").write_text(f'"""Errors."""\ndef long():\n    """Text.\n\n    More.\n    """\n{body}')
    assert long_functions(house) == ["reasoner.errors.long: 41 lines"]


def test_the_design_page_has_the_same_rows():
    page = (SOURCE.parents[1] / "docs" / "design.md").read_text("utf-8")
    rows = re.findall(r"^\| \d+ \| (.*?) \|", page, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == [set(row) for row in ROWS]


def test_no_two_test_files_have_one_name():
    """pytest imports them by their name alone."""
    names = [
        path.name for path in Path(__file__).parent.rglob("*.py") if path.name not in ("conftest.py", "__init__.py")
    ]
    assert sorted(names) == sorted(set(names))
