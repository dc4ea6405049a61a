"""The service as an application: its routes, what they answer, and how it says so (OpenAPI)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import ClientDisconnect

from reasoner.errors import ConfigError, DataError
from reasoner.evaluation import plain
from reasoner.preparation import versions
from reasoner.result import Result
from reasoner.serving.batching import Answer, Batcher
from reasoner.serving.limits import ServiceLimits
from reasoner.serving.page import PAGE_HEADERS, page, row_of_form
from reasoner.serving.requests import Asked, RefusedError, check_sizes, read_body, read_request
from reasoner.serving.schema import inputs_of, request_schema

AGAIN = {"Retry-After": "1"}
REFUSALS = {
    400: "The body is no JSON.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    422: "An input has another form, or is too large, or there are too many.",
    500: "The model failed.",
    503: "Too many requests wait, or it took too long, or the service is stopping.",
}


class Service:
    """A model, its limits, and what waits for it. The methods are the routes."""

    def __init__(self, result: Result, limits: ServiceLimits) -> None:
        self.result, self.predictor, self.limits = result, result.predictor, limits
        self.kinds = inputs_of(self.predictor.task)
        self.batcher: Batcher | None = None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the model's thread while the application runs; at its end answer what waits."""
        self.batcher = Batcher(self.predictor, rows=self.limits.rows, waiting=self.limits.waiting)
        yield
        await asyncio.to_thread(self.batcher.close)

    async def health(self) -> Response:
        """Say whether requests are taken, and how many wait."""
        run, batcher = self.result.run, self._running()
        return JSONResponse(
            {"status": "ok", "task": run.task, "labels": list(run.labels), "waiting": batcher.waiting},
        )

    async def predict(self, request: Request) -> Response:
        """Predict for one input, or for a list of them."""
        try:
            asked = read_request(await self._body(request), self.limits)
            answer = await self._answer(asked)
            predictions: Any = plain(answer.predictions)
            said = {"notices": answer.notices} if answer.notices else {}
            return JSONResponse({"predictions": predictions[0] if asked.single else predictions, **said})
        except RefusedError as error:
            return JSONResponse(
                {"detail": str(error)}, status_code=error.status, headers=AGAIN if error.status == 503 else None
            )

    async def show(self) -> Response:
        """Show the page with an empty form."""
        return HTMLResponse(page(self.result.run, self.kinds), headers=PAGE_HEADERS)

    async def show_prediction(self, request: Request) -> Response:
        """Show the page with the prediction for what was filled in."""
        status, filled, values = 200, {}, {}
        try:
            body = await self._body(request)
            try:
                filled = dict(
                    parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=64)
                )
            except ValueError as error:
                raise RefusedError(400, f"The form cannot be read: {error}.") from None
            row = row_of_form(filled, self.kinds)
            answer = await self._answer(Asked([row], True, {}))
            values = {"row": row, "prediction": plain(answer.predictions[0]), "notices": answer.notices}
        except RefusedError as error:
            status, values = error.status, {"problem": str(error)}
        shown = page(self.result.run, self.kinds, filled=filled, **values)
        return HTMLResponse(shown, status_code=status, headers=PAGE_HEADERS)

    async def _body(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await read_body(request.stream(), request.headers.get("content-length"), self.limits)
        except ClientDisconnect:
            raise RefusedError(400, "The body ended before it was whole.") from None
        except TimeoutError:
            raise RefusedError(408, f"The body did not come within {self.limits.seconds:g} s.") from None

    async def _answer(self, asked: Asked) -> Answer:
        examples, finished = await asyncio.to_thread(self._read, asked)
        if not examples:
            return Answer([], [])
        waiting = asyncio.wrap_future(self._running().submit(examples, finished))
        try:
            return await asyncio.wait_for(waiting, self.limits.seconds)
        except TimeoutError:
            raise RefusedError(503, f"No answer within {self.limits.seconds:g} s. Try again, or send less.") from None

    def _read(self, asked: Asked) -> tuple[list[Any], Callable[[Any], Any]]:
        """Return the examples of a request, checked as the task does, and what finishes their predictions."""
        check_sizes(asked.inputs, self.kinds, self.limits)
        try:
            finished = self.predictor.finisher(**{"min_confidence": None, "coverage": None, **asked.options})
            return list(self.predictor.examples(asked.inputs)), finished
        except (ConfigError, DataError) as error:
            raise RefusedError(422, str(error)) from None

    def _running(self) -> Batcher:
        assert self.batcher is not None, "the application was not started"
        return self.batcher


def build_app(result: Result, limits: ServiceLimits) -> FastAPI:
    """Return the application; see `make_app`."""
    service = Service(result, limits)
    app = FastAPI(
        title=f"reasoner: {result.run.task}",
        description="Send inputs to /predict; try the model in a browser at /.",
        version=versions()["reasoner"],
        lifespan=service.lifespan,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
    )
    coverage = bool(service.predictor.conformal_scores)
    schema = request_schema(service.kinds, rows=limits.rows, coverage=coverage)
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": said, "content": {"application/json": {"schema": _DETAIL}}}
        for status, said in REFUSALS.items()
    }
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    responses[200] = {"description": "The predictions", "content": {"application/json": {"schema": _ANSWER}}}
    app.add_api_route("/predict", service.predict, methods=["POST"], openapi_extra=body, responses=responses)
    app.add_api_route("/health", service.health, methods=["GET"])
    app.add_api_route("/", service.show, methods=["GET"], include_in_schema=False)
    app.add_api_route("/", service.show_prediction, methods=["POST"], include_in_schema=False)
    return app


_DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
_ANSWER = {
    "type": "object",
    "properties": {
        "predictions": {"description": "One for one input, a list for a list, as `predict` gives them."},
        "notices": {"type": "array", "items": {"type": "string"}, "description": "What was cut, say."},
    },
    "required": ["predictions"],
}
