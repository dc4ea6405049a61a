"""What the user calls to serve a model."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoner.errors import CheckpointError, ConfigError
from reasoner.notices import tell
from reasoner.onnx_models.functions import load_onnx
from reasoner.result import Result, load_result
from reasoner.serving.limits import ServiceLimits
from reasoner.storage import ONNX_FILE

if TYPE_CHECKING:
    from fastapi import FastAPI


def make_app(model: Result | str | Path, *, limits: ServiceLimits | None = None) -> FastAPI:
    """Return a model as an ASGI application (FastAPI), to be run by a server of your choice, in one process.

    `POST /predict` takes `{"inputs": one input, or a list of them}`, as `Result.predict` does, and perhaps
    `min_confidence` and `coverage`. `GET /health` says that it runs, `GET /openapi.json` what an input looks like, and
    `GET /` is a page to try the model. Requests that come while the model runs are run together next.

    Args:
        model: what `fine_tune`, `load` or `load_onnx` gave, or the folder of a model, as ONNX too.
        limits: what is refused; None: the usual ones.

    Raises:
        ConfigError: if the extra `serve` is not installed.
        CheckpointError: if the folder cannot be read.
    """
    if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise ConfigError(f"A service needs {', '.join(missing)}. Install it: pip install 'reasoner-ft[serve]'.")
    from reasoner.serving.app import build_app

    result = model if isinstance(model, Result) else load_any(model)
    return build_app(result, limits or ServiceLimits())


def serve(
    model: Result | str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: ServiceLimits | None = None,
) -> None:
    """Serve a model by HTTP until the process is told to end (Ctrl-C, SIGTERM); then answer what waits, and return.

    It knows no users and no encryption, and so listens to this machine alone unless told otherwise: in a network put it
    behind a server that has both.

    Args:
        model: as in `make_app`, which says what is served.
        host: the address to listen on.
        port: 0: any that is free; it is told.
        limits: as in `make_app`.

    Raises:
        ConfigError: if the extra `serve` is not installed, or the address cannot be listened on.
        CheckpointError: if the folder cannot be read.

    Example:
        >>> reasoner.serve("output/model", port=8000)  # doctest: +SKIP
    """
    limits = limits or ServiceLimits()
    app = make_app(model, limits=limits)
    with _listening(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        tell(f"Serving {app.title.removeprefix('reasoner: ')} on http://{shown}:{taken}. Ctrl-C ends it.")
        make_server(app, limits).run(sockets=[listener])


def make_server(app: Any, limits: ServiceLimits) -> Any:
    """Return uvicorn's server for an application."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,  # its own would close the handlers that the program has: logging.config clears them all
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=int(limits.seconds) + 1,
        )
    )


def load_any(folder: str | Path, *, quantized: bool = False, threads: int | None = None) -> Result:
    """Return the model of a folder, whether PyTorch's or ONNX.

    Args:
        folder: where it is.
        quantized: take the ONNX file with weights of 8 bits.
        threads: of an ONNX model.

    Raises:
        CheckpointError: if it cannot be read, or `quantized` is asked of a folder without ONNX files.
    """
    if (Path(folder) / ONNX_FILE).is_file():
        return load_onnx(folder, quantized=quantized, threads=threads)
    if quantized:
        raise CheckpointError(f"'{folder}' holds no ONNX model. Write one with export_onnx(..., quantized=True).")
    return load_result(folder)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{host}, port {port} cannot be listened on: {error}. Choose another port.") from error
