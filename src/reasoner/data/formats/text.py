"""How do a file's bytes become text and lines, with nothing replaced and nothing guessed?"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from pathlib import Path

from reasoner.errors import DataError, Problem, raise_if_any

GZIP_MARK = b"\x1f\x8b"
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # UTF-32-LE begins like UTF-16-LE

_LINE_END = re.compile(r"\r\n|\n|\r")
_LINE_END_BYTES = re.compile(rb"\r\n|\n|\r")
_SAVE_AS_UTF8 = "Save the file as UTF-8, or convert it: iconv -f {encoding} -t UTF-8 OLD > NEW."


def read_bytes(path: Path) -> bytes:
    """Return what the file holds, decompressed if it is gzip-compressed.

    Raises:
        DataError: if there is no such file, it is a folder, it cannot be opened, or its compression is broken.
    """
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir fails for a name that is too long)
        raise _error(str(path), "is a folder, a file is needed", "Name one of its files.")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _error(str(path), "there is no such file", f"It was looked for in {path.absolute().parent}.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise _error(str(path), f"cannot be opened ({error})", "Check the name and the permissions.") from None
    if content.startswith(GZIP_MARK):
        return _decompress(content, path.name)
    if path.suffix.lower() == ".gz" and content:
        raise _error(path.name, "is named .gz but is not gzip-compressed", "Rename it, or compress it again.")
    return content


def _decompress(content: bytes, source: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _error(source, f"is broken gzip data ({error})", "Compress or download the file again.") from None


def decode(content: bytes, source: str) -> str:
    """Return UTF-8 bytes as text, without a byte order mark.

    Raises:
        DataError: with one problem for each line that is not UTF-8 or holds a NUL byte; or if the file's mark says
            that it is UTF-16 or UTF-32.
    """
    if content.startswith(WIDE_MARKS):
        raise _error(source, "is UTF-16 or UTF-32, not UTF-8", _SAVE_AS_UTF8.format(encoding="UTF-16"))
    content = content.removeprefix(codecs.BOM_UTF8)
    raise_if_any(_nul_problems(content, source))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(_encoding_problems(content, source)) from None


def split_lines(text: str) -> list[str]:
    r"""Return the lines of `text`, parted at `\n`, `\r\n` and `\r` alone.

    `str.splitlines` also parts at U+0085, U+2028 and others, which are characters of a text and no ends of lines.
    """
    return _LINE_END.split(text)


def _nul_problems(content: bytes, source: str) -> list[Problem]:
    if b"\0" not in content:
        return []
    remedy = "Remove it; a file with many of them is often UTF-16, to be saved as UTF-8."
    return [
        Problem(f"{source}, line {number}", f"holds a NUL byte (at byte {line.index(0) + 1} of the line)", remedy)
        for number, line in enumerate(_LINE_END_BYTES.split(content), start=1)
        if b"\0" in line
    ]


def _encoding_problems(content: bytes, source: str) -> list[Problem]:
    """Return one problem for each line that is not UTF-8: its first wrong byte, counted in characters."""
    problems = []
    for number, line in enumerate(_LINE_END_BYTES.split(content), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            column = len(line[: error.start].decode("utf-8")) + 1
            what = f"is not UTF-8 (byte 0x{line[error.start]:02x} at column {column})"
            problems.append(Problem(f"{source}, line {number}", what, _SAVE_AS_UTF8.format(encoding="CP1252")))
    return problems


def _error(where: str, what: str, remedy: str) -> DataError:
    return DataError([Problem(where, what, remedy)])
