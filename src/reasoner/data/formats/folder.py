"""Which files of a folder are the splits?"""

from __future__ import annotations

import re
from pathlib import Path

from reasoner import notices
from reasoner.data.formats.parallel import is_parallel
from reasoner.errors import DataError, Problem, raise_if_any

SPLITS = ("train", "validation", "test")
ALIASES = {"dev": "validation", "val": "validation", "valid": "validation"}
"""Other names of splits."""

_WORD = re.compile(rf"(?<![a-z])({'|'.join((*SPLITS, *ALIASES))})(?:set)?(?![a-z])")
_NO_DATA = ("readme", "license", "licence")


def find_splits(folder: Path) -> dict[str, Path]:
    """Return the file of each split: the one with the split's name as a separate part of its own name.

    `dev.txt`, `emerging.test.annotated`, `wnut17train.conll`, `devset.csv` are found, and folders of parallel files
    (`formats.parallel`); hidden files, READMEs, licences and other folders are not looked at, and files that name no
    split are left out and said.

    Raises:
        DataError: naming each split for which there are several files, each file that names several splits, or the
            folder that has no split's file.
    """
    found: dict[str, list[Path]] = {}
    problems, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower().startswith(_NO_DATA):
            continue
        if not path.is_file() and not is_parallel(path):
            continue
        splits = sorted({ALIASES.get(word, word) for word in _WORD.findall(path.name.lower())})
        if len(splits) > 1:
            what = f"its name names several splits: {', '.join(splits)}"
            problems.append(Problem(path.name, what, 'Rename it, or give {"train": path, …} in place of the folder.'))
        elif splits:
            found.setdefault(splits[0], []).append(path)
        else:
            others.append(path.name)
    for split, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            remedy = 'Leave one, or give {"train": path, …} in place of the folder.'
            problems.append(Problem(str(folder), f"holds several files for the split {split}: {names}", remedy))
    raise_if_any(problems)
    if not found:
        remedy = "Name its files for their splits, such as train.jsonl, dev.jsonl and test.jsonl."
        raise DataError([Problem(str(folder), "holds no file that is named for a split", remedy)])
    if others:
        notices.say(f"{folder.name}: not read, since their names name no split: {', '.join(others)}.")
    return {split: found[split][0] for split in SPLITS if split in found}
