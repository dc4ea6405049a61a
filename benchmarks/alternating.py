"""How do several ways of doing the same work compare? Runs them in turn, each in its own process, and prints a table.

A script that uses this says what one side does in one round (a dict of JSON values); here it is started again, once for
each side and round, with `--side` and `--round`. In each round every side runs once, and each round begins with another
side, so that none is always first. Ratios are taken within a round: what slows the machine for a while slows both.

Finished runs are kept as JSON lines in `--output`, and are not run again with equal settings and equal sources.
This process imports neither torch nor reasoner: on Linux a child's peak memory begins at what its parent holds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = "reasoner"
NOT_SETTINGS = {"sides", "rounds", "output", "side", "round"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of the table: what it is called, where its value stands in a run, and how it is written."""

    title: str
    key: str
    form: str = ".2f"
    mean: bool = False
    """Mean ± standard deviation, in place of median (least to greatest)."""


def add_arguments(parser: argparse.ArgumentParser, sides: Sequence[str], *, rounds: int = 5) -> None:
    """Add what every script takes."""
    parser.add_argument("--sides", nargs="+", choices=sides, metavar="SIDE", help=f"some of: {', '.join(sides)}")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--threads", type=int, default=2, help="of each run")
    parser.add_argument("--output", type=Path, default=Path("output") / f"{Path(sys.argv[0]).stem}.jsonl")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)


def answer(arguments: argparse.Namespace, run: Callable[[argparse.Namespace], Row]) -> None:
    """Do one run in this process, and print what came out as the last line."""
    import torch

    torch.set_num_threads(arguments.threads)
    print(json.dumps(run(arguments)), flush=True)


def run_all(
    arguments: argparse.Namespace, sides: Sequence[str], *, needs: Mapping[str, str] | None = None
) -> list[Row]:
    """Run what is not done yet of all sides and rounds.

    Args:
        arguments: of the script; what `add_arguments` added among them.
        sides: in the order of the table.
        needs: side -> the package that it needs; one that is not installed is skipped, and said.

    Returns:
        One dict a run, with `side`, `round` and `machine`.
    """
    key = _settings(arguments)
    running = [side for side in sides if _installed(side, (needs or {}).get(side))]
    for number in range(arguments.rounds):
        shift = number % max(1, len(running))
        for side in running[shift:] + running[:shift]:
            if (side, number) in {(row["side"], row["round"]) for row in _kept(arguments.output, key)}:
                continue
            values = start(side, number, arguments.threads)
            if values is None:
                running.remove(side)
                continue
            _keep(arguments.output, {"key": key, "side": side, "round": number, "machine": machine(), **values})
    rounds = range(arguments.rounds)
    return [row for row in _kept(arguments.output, key) if row["round"] in rounds and row["side"] in sides]


def _settings(arguments: argparse.Namespace) -> Row:
    """Return what a kept run must have been made with to stand for one that would be made now."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]):
        digest.update(path.read_bytes())
    settings = {name: str(value) for name, value in vars(arguments).items() if name not in NOT_SETTINGS}
    return {**settings, "script": Path(sys.argv[0]).name, "sources": digest.hexdigest()[:12]}


def _installed(side: str, package: str | None) -> bool:
    if package is None or importlib.util.find_spec(package.replace("-", "_")):
        return True
    print(f"{side}: skipped, {package} is not installed. Install it: pip install {package}", flush=True)
    return False


def start(side: str, number: int, threads: int) -> Row | None:
    """Start this script again for one run; return its values, or None where a peer failed."""
    command = [sys.executable, *sys.argv, "--side", side, "--round", str(number)]
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if side.startswith(OURS):
        raise SystemExit(f"{done.stderr}\n{side}, round {number}: exit code {done.returncode}")
    print(f"{side}: left out, it ended with exit code {done.returncode}: {last}", flush=True)
    return None


def _keep(path: Path, row: Row) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    hidden = {"key", "machine", "side", "round"}
    shown = {name: value for name, value in row.items() if name not in hidden and not isinstance(value, list)}
    print(f"{row['side']}, round {row['round']}: {shown}", flush=True)


def _kept(path: Path, key: Row) -> list[Row]:
    """Return the runs of these settings that were finished."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if row["key"] == key]


def machine() -> dict[str, str]:
    """Return what a time depends on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    packages = {name: version(name) for name in ("torch", "transformers")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(cores),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **packages,
    }


def machine_line(rows: Sequence[Row], threads: int) -> str:
    """Return where and when the runs were made; several values where the runs differ."""
    found = {name: "/".join(sorted({row["machine"][name] for row in rows})) for name in machine()}
    devices = sorted({row["device"] for row in rows if row.get("device", "cpu") != "cpu"})
    where = f"{', '.join(devices)}; " if devices else ""
    return (
        f"Machine: {where}{found['processor']}, {found['cores']} cores, {threads} threads a run. {found['date']}. "
        f"Python {found['python']}, torch {found['torch']}, transformers {found['transformers']}."
    )


def table(rows: Sequence[Row], columns: Sequence[Column], *, timed: str, sides: Sequence[str], ours: str = OURS) -> str:
    """Return a markdown table, a line a side: median (least to greatest) of each column, and how often our time fits.

    Args:
        rows: what `run_all` gave.
        columns: what is shown.
        timed: the seconds that ratios are taken of, pair by pair within a round.
        sides: in the order of the table.
        ours: what the others are compared with.
    """
    lines = [["side", "runs", *(column.title for column in columns), f"time, {ours} = 1"]]
    for side in sides:
        runs = [row for row in rows if row["side"] == side]
        if runs:
            cells = [summary([run.get(column.key) for run in runs], column.form, column.mean) for column in columns]
            lines.append([side, str(len(runs)), *cells, summary(ratios(rows, side, timed, ours), ".2f")])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios(rows: Sequence[Row], side: str, key: str, ours: str = OURS) -> list[float]:
    """Return a side's value divided by ours, for each round that has both."""
    own = {row["round"]: row[key] for row in rows if row["side"] == ours and row.get(key)}
    found = [row for row in rows if row["side"] == side and row["round"] in own and row.get(key)]
    return [row[key] / own[row["round"]] for row in found]


def summary(values: Sequence[Any], form: str, mean: bool = False) -> str:
    """Return median (least to greatest), or mean ± deviation, of the values that there are."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if mean and len(known) > 1:
        return f"{statistics.mean(known):{form}} ± {statistics.stdev(known):{form}}"
    middle, least, greatest = statistics.median(known), min(known), max(known)
    if f"{least:{form}}" == f"{greatest:{form}}":
        return f"{middle:{form}}"
    return f"{middle:{form}} ({least:{form}} to {greatest:{form}})"


def unequal(rows: Sequence[Row], key: str, *, ours: str = OURS) -> list[str]:
    """Return a line for each side whose `key` is not ours in the same round: where work was not equal."""
    own = {row["round"]: row.get(key) for row in rows if row["side"] == ours}
    found: dict[str, str] = {}
    for row in rows:
        mine = own.get(row["round"])
        if mine is not None and row.get(key) is not None and row[key] != mine:
            found.setdefault(row["side"], f"Not equal: {row['side']} has {key} {row[key]}, {ours} {mine}.")
    return list(found.values())
