"""What does a request ask for, and is it refused?"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from reasoner.errors import near_name
from reasoner.serving.limits import ServiceLimits

_HALF = re.compile("[\ud800-\udfff]")
OPTIONS = ("min_confidence", "coverage")
DRAINED = 16
"""A body that is too large is read on up to so many times the limit, and thrown away: a client that still sends would
not read the answer."""


class RefusedError(Exception):
    """A request that is not answered: the status code, and a sentence for whoever sent it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Asked(NamedTuple):
    """What a request asks for."""

    inputs: list[Any]
    single: bool
    """Whether it was one input, and no list of them."""
    options: dict[str, float]
    """Of `predict`."""


async def read_body(chunks: AsyncIterator[bytes], declared: str | None, limits: ServiceLimits) -> bytes:
    """Return the body of a request.

    Args:
        chunks: as they come.
        declared: the header Content-Length.
        limits: of the service.

    Raises:
        RefusedError: if it is too large.
    """
    most = limits.body_bytes
    kept, size = bytearray(), 0
    if not (declared and declared.isdecimal() and int(declared) > DRAINED * most):
        async for chunk in chunks:
            size += len(chunk)
            if size <= most:
                kept += chunk
            elif size > DRAINED * most:
                break
        if size <= most:
            return bytes(kept)
    raise RefusedError(413, f"The body has more than {most:,} bytes. Send fewer rows at a time.")


def read_request(body: bytes, limits: ServiceLimits) -> Asked:
    """Return what a body asks for, its sizes checked.

    Raises:
        RefusedError: if it is no JSON, has another form, or asks for too much.
    """
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        what = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise RefusedError(400, f"The body is no JSON that can be read: {what}.") from None
    if not isinstance(content, dict) or "inputs" not in content:
        raise RefusedError(422, 'The body is no object with "inputs". Send {"inputs": one input, or a list of them}.')
    known = ("inputs", *OPTIONS)
    if unknown := [name for name in content if name not in known]:
        raise RefusedError(422, f"'{unknown[0]:.40}' is unknown. {near_name(unknown[0], known)}".strip())
    options = {name: content[name] for name in OPTIONS if content.get(name) is not None}
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RefusedError(422, f"{name} is {value!r:.40}. Give a number.")
    inputs = content["inputs"]
    single = not isinstance(inputs, list)
    return Asked([inputs] if single else inputs, single, options)


def check_sizes(inputs: list[Any], kinds: Mapping[str, str], limits: ServiceLimits) -> None:
    """Refuse inputs that are too many or too large, or hold characters that are none.

    Args:
        inputs: of a request.
        kinds: what an input holds; see `schema.inputs_of`.
        limits: of the service.

    Raises:
        RefusedError: with the position of the input.
    """
    if len(inputs) > limits.rows:
        raise RefusedError(422, f"The request has {len(inputs):,} inputs, more than {limits.rows}. Send several.")
    many = [name for name, kind in kinds.items() if kind.removesuffix("?") == "choices"]
    for position, value in enumerate(inputs):
        texts = _texts(value)
        size = sum(map(len, texts))
        if size > limits.characters:
            raise RefusedError(
                422, f"input {position}: its texts have {size:,} characters, more than {limits.characters:,}. Cut it."
            )
        if any(map(_HALF.search, texts)):
            raise RefusedError(422, f"input {position}: a text holds half of a surrogate pair. Send whole characters.")
        for name in many:
            given = value.get(name) if isinstance(value, dict) else None
            if isinstance(given, list) and len(given) > limits.choices:
                raise RefusedError(422, f"input {position}: {name} has {len(given):,} items, more than "
                                        f"{limits.choices}.")  # fmt: skip


def _texts(value: Any) -> list[str]:
    """Return all texts of a JSON value, names among them."""
    found, left = [], [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            left += [*item, *item.values()]
        elif isinstance(item, list):
            left += item
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON's")
