"""What mkdocs does beside its own work: README as the first page, pages of the API, links that leave docs/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "benchmarks/RESULTS.md": "results.md"}
"""Pages that stand elsewhere in the repository, and where they are on the site."""
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
OPTIONS = """\
    options:
      show_root_heading: true
      show_root_full_path: false
      heading_level: 2
"""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand elsewhere, those of the API, and every file that a page links to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=_rehomed((ROOT / source).read_text("utf-8"), source, page)))
    for name, text in _api_pages().items():
        files.append(File.generated(config, name, content=text))
    for path in sorted(_linked_files()):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of pages in docs/ lead to where things are on the site."""
    source = page.file.src_uri
    return markdown if page.file.generated_by else _rehomed(markdown, f"docs/{source}", source)


def _rehomed(text: str, source: str, page: str) -> str:
    """Return a page whose links, written for the repository, hold on the site."""

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = match[1].partition("#")
        path = _resolved(source, target)
        if (ROOT / path).is_dir():
            return f"] ({path})"
        home = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")
        up = "../" * page.count("/")
        return f"]({up}{home}{mark}{anchor})"

    return LINK.sub(moved, text)


def _resolved(source: str, target: str) -> str:
    """Return the path in the repository that a link of a page leads to."""
    parts: list[str] = []
    for part in (PurePosixPath(source).parent / target).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _linked_files() -> set[str]:
    """Return the files outside docs/ that pages link to and that are no pages themselves."""
    found = set()
    for page in [*PAGES, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]:
        for match in LINK.finditer((ROOT / page).read_text("utf-8")):
            found.add(_resolved(page, match[1].partition("#")[0]))
    return {path for path in found - PAGES.keys() if not path.startswith("docs/") and (ROOT / path).is_file()}


def _api_pages() -> dict[str, str]:
    """Return the pages of the API: all that `reasoner` exports, functions and classes on one page each."""
    import reasoner

    exported = {name: getattr(reasoner, name) for name in reasoner.__all__}
    modules = {name: thing for name, thing in exported.items() if isinstance(thing, ModuleType)}
    classes = {name: thing for name, thing in exported.items() if isinstance(thing, type)}
    functions = {name: exported[name] for name in exported.keys() - modules.keys() - classes.keys()}
    apart = tuple(f"reasoner.{name}" for name in modules)  # what stands on a page of its own stands there alone
    classes = {name: thing for name, thing in classes.items() if not thing.__module__.startswith(apart)}
    pages = {"functions": _described(functions), "classes": _described(classes)}
    pages |= {name: _module_page(module) for name, module in modules.items()}
    return {f"api/{name}.md": f"# reasoner: {name}\n\n{text}" for name, text in pages.items()}


def _module_page(module: ModuleType) -> str:
    """Return what a module exports; of a package that exports nothing, what is in its modules."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return _described({name: getattr(module, name) for name in names})
    if not hasattr(module, "__path__"):
        return _described({name: thing for name, thing in vars(module).items() if _is_its_own(name, thing, module)})
    inside = sorted(item.name for item in iter_modules(module.__path__, f"{module.__name__}."))
    parts = [import_module(name) for name in inside]
    return "\n".join(
        _described({name: thing for name, thing in vars(part).items() if _is_its_own(name, thing, part)})
        for part in parts
    )


def _is_its_own(name: str, thing: Any, module: ModuleType) -> bool:
    public = not name.startswith("_") and (isinstance(thing, type) or callable(thing))
    return public and getattr(thing, "__module__", None) == module.__name__


def _described(things: Mapping[str, Any]) -> str:
    """Return for each function or class where mkdocstrings finds its docstring."""
    order = sorted(things, key=str.lower)
    return "\n".join(f"::: {things[name].__module__}.{name}\n{OPTIONS}" for name in order)
