"""How do requests that come together run together?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from reasoner.errors import ConfigError, DataError
from reasoner.evaluation import Encoded
from reasoner.inference import Predictor
from reasoner.notices import collect, muted
from reasoner.serving.requests import RefusedError

logger = logging.getLogger("reasoner")


class Answer(NamedTuple):
    """What came of a request."""

    predictions: list[Any]
    notices: list[str]
    """What was cut, say."""


class _Job(NamedTuple):
    examples: list[Any]
    finished: Callable[[Any], Any]
    future: Future[Answer]


class Batcher:
    """One thread that runs the model, on the rows of all requests that wait when it is free.

    A request that comes alone waits for nothing. An example's prediction does not depend on the others', by the
    contract of tasks; what a request's own rows are to each other (sentences of a document) is settled within it.

    Args:
        predictor: the model.
        rows: that are run together at most, as far as requests are not larger.
        waiting: requests that may wait or run.
    """

    def __init__(self, predictor: Predictor, *, rows: int, waiting: int) -> None:
        self.predictor, self.rows, self.most = predictor, rows, waiting
        self.waiting = 0
        """Requests that wait or run."""
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock, self._closed = Lock(), False
        self._thread = Thread(target=self._work, name="reasoner-service", daemon=True)
        self._thread.start()

    def submit(self, examples: Sequence[Any], finished: Callable[[Any], Any]) -> Future[Answer]:
        """Let examples of one request wait for the model.

        Args:
            examples: see `Predictor.examples`.
            finished: see `Predictor.finisher`.

        Raises:
            RefusedError: if too many wait, or the service is stopping.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                raise RefusedError(503, "The service is stopping.")
            if self.waiting >= self.most:
                raise RefusedError(503, f"{self.waiting} requests are waiting. Try again in a moment.")
            self.waiting += 1
            future.add_done_callback(self._done)
            self._queue.put(_Job(list(examples), finished, future))
        return future

    def close(self) -> None:
        """Answer what waits, take nothing more, and end the thread."""
        with self._lock:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _done(self, future: Future[Answer]) -> None:
        with self._lock:
            self.waiting -= 1

    def _work(self) -> None:
        going = True
        while going:
            jobs, going = self._together()
            self._run([job for job in jobs if job.future.set_running_or_notify_cancel()])

    def _together(self) -> tuple[list[_Job], bool]:
        """Return the requests to run now, and whether more are to come; it waits for the first."""
        jobs: list[_Job] = []
        rows = 0
        while rows < self.rows:
            try:
                job = self._queue.get(block=not jobs)
            except Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
            rows += len(job.examples)
        return jobs, True

    def _run(self, jobs: Sequence[_Job]) -> None:
        encoded = [(job, *found) for job in jobs if (found := self._encoded(job)) is not None]
        whole = Encoded(
            [example for _, data, _ in encoded for example in data.examples],
            [group for _, data, _ in encoded for group in data.features],
        )
        try:
            remaining = iter(self.predictor.predict_encoded(whole) if whole.examples else [])
        except Exception as error:
            if len(encoded) == 1:
                self._fail(encoded[0][0], error)
            else:  # whichever it was, the others are not to suffer
                for job, _, _ in encoded:
                    self._run([job])
            return
        for job, data, notices in encoded:
            predictions = list(islice(remaining, len(data.examples)))
            try:
                job.future.set_result(Answer([job.finished(one) for one in predictions], notices))
            except Exception as error:
                self._fail(job, error)

    def _encoded(self, job: _Job) -> tuple[Encoded, list[str]] | None:
        try:
            with muted(), collect() as notices:
                return self.predictor.encode(job.examples), notices
        except Exception as error:
            self._fail(job, error)
            return None

    def _fail(self, job: _Job, error: Exception) -> None:
        """Answer with what is wrong with the request; what is wrong with us is logged, and not told."""
        if isinstance(error, (DataError, ConfigError)):
            job.future.set_exception(RefusedError(422, str(error)))
            return
        logger.error("A request failed.", exc_info=error)
        job.future.set_exception(RefusedError(500, "The model failed on this request; the service's log says why."))
