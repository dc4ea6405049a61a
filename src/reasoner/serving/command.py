"""The command `reasoner`: `reasoner serve FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields

from reasoner.errors import ReasonerError
from reasoner.serving.limits import ServiceLimits


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: of the command line; None: those of the process.
    """
    given = vars(_parser().parse_args(arguments))
    try:
        from reasoner.serving.functions import load_any, serve

        limits = ServiceLimits(**{item.name: given[item.name] for item in fields(ServiceLimits)})
        result = load_any(given["folder"], quantized=given["quantized"], threads=given["threads"])
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            serve(result, host=given["host"], port=given["port"], limits=limits)
    except ReasonerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasoner", description="Models that were tuned with reasoner.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shows = argparse.ArgumentDefaultsHelpFormatter
    about = "serve a model by HTTP, with a page to try it"
    command = commands.add_parser("serve", help=about, description=about, formatter_class=shows)
    command.add_argument("folder", help="that fine_tune, save or export_onnx wrote")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on")
    command.add_argument("--port", type=int, default=8000, help="0: any that is free")
    command.add_argument("--quantized", action="store_true", help="the ONNX file with weights of 8 bits")
    command.add_argument("--threads", type=int, help="of an ONNX model for one run")
    for item in fields(ServiceLimits):
        kind = float if item.name == "seconds" else int
        option = f"--{item.name.replace('_', '-')}"
        command.add_argument(option, type=kind, default=item.default, help="the most that a request may have or take")
    return parser
