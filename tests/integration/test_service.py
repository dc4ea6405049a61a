"""Does a service answer as the model does, to many at once, and refuse what is too large or has no form?"""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES, assert_close

import reasoner
from tiny import build_tiny

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
QUICK = {"max_steps": 2, "evaluate_before": False, "use_cpu": True, "disable_tqdm": True, "learning_rate": 1e-3}
PAIR = {"premise": "A dog runs.", "hypothesis": "An animal moves."}


@contextmanager
def running(model: Any, **limits: Any) -> Iterator[int]:
    """Serve a model on a free port of this machine inside the block, and give the port."""
    from reasoner.serving.functions import _listening, make_server

    limited = reasoner.ServiceLimits(**limits)
    with _listening("127.0.0.1", 0) as listener:
        server = make_server(reasoner.make_app(model, limits=limited), limited)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def ask(port: int, body: Any, path: str = "/predict", method: str = "POST", **headers: str) -> tuple[int, Any]:
    """Send a request; return the status and the JSON, or the text, that came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, sent, headers)
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if "json" in response.headers["content-type"] else text
    finally:
        connection.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, reasoner.Result]:
    model = build_tiny("bert", tmp_path_factory.mktemp("tiny"))
    return {name: reasoner.fine_tune(model, CASES[name].splits, task=CASES[name].task, **QUICK) for name in CASES}


@pytest.fixture(scope="module")
def nli(models) -> Iterator[int]:
    """The port of an inference model."""
    with running(models["nli"], body_bytes=50_000, rows=8, characters=2_000) as port:
        yield port


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_task_answers_as_predict_does(name: str, models):
    inputs = [list(value) if isinstance(value, tuple) else value for value in CASES[name].inputs]
    with running(models[name]) as port:
        status, answer = ask(port, {"inputs": inputs})
        assert status == 200
        assert_close(answer["predictions"], models[name].predict(inputs))
        if not isinstance(inputs[0], list):
            assert_close(ask(port, {"inputs": inputs[0]})[1]["predictions"], models[name].predict(inputs[0]))
        assert ask(port, {"inputs": []})[1] == {"predictions": []}


def test_an_onnx_model_is_served(models, tmp_path: Path):
    pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
    reasoner.export_onnx(models["nli"], tmp_path / "onnx", CASES["nli"].splits)
    with running(tmp_path / "onnx") as port:
        assert_close(ask(port, {"inputs": [PAIR]})[1]["predictions"], models["nli"].predict([PAIR]))


def test_five_hundred_requests_from_sixteen_threads(models):
    texts = [f"{'Maria Silva works in Oslo, ' * (1 + place % 7)}said number {place}." for place in range(500)]
    expected = models["ner"].predict(texts)
    with running(models["ner"]) as port, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda text: ask(port, {"inputs": text}), texts))
        assert {status for status, _ in answers} == {200}
        assert_close([answer["predictions"] for _, answer in answers], expected)
        assert ask(port, None, "/health", "GET")[1]["waiting"] == 0


def test_options_of_predict(nli: int, models):
    asked = {"inputs": [PAIR], "min_confidence": 1.0, "coverage": 0.5}
    assert_close(ask(nli, asked)[1]["predictions"], models["nli"].predict([PAIR], min_confidence=1.0, coverage=0.5))


def test_what_was_cut_is_said_to_whom_it_concerns(nli: int):
    long = {"premise": "A dog runs. " * 100, "hypothesis": "It moves."}
    with ThreadPoolExecutor(2) as threads:
        cut, whole = threads.map(lambda value: ask(nli, {"inputs": [value]})[1], (long, PAIR))
    assert "1 texts are longer than max_length" in cut["notices"][0]
    assert "notices" not in whole


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{not json", 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b'{"inputs": NaN}', 400, "NaN"),
        (b'{"inputs": "\xff"}', 400, "no JSON"),
        (b'{"inputs": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400, "nested too deep"),
        (b"[1]", 422, '"inputs"'),
        ({"input": PAIR}, 422, '"inputs"'),
        ({"inputs": PAIR, "min_confidance": 0.5}, 422, "Did you mean 'min_confidence'"),
        ({"inputs": PAIR, "min_confidence": "high"}, 422, "Give a number"),
        ({"inputs": PAIR, "min_confidence": 2}, 422, "min_confidence is 2"),
        ({"inputs": PAIR, "coverage": 7}, 422, "coverage"),
        ({"inputs": [PAIR, {"premise": "A dog runs."}]}, 422, "input 1: nli predicts for"),
        ({"inputs": [PAIR, None]}, 422, "input 1: nli predicts for"),
        ({"inputs": 5}, 422, "input 0: nli predicts for"),
        ({"inputs": [PAIR] * 9}, 422, "9 inputs, more than 8"),
        ({"inputs": [{**PAIR, "premise": "long " * 500}]}, 422, "2,533 characters, more than 2,000"),
        (b'{"inputs": {"premise": "\\ud800", "hypothesis": "x"}}', 422, "surrogate"),
        ({"inputs": [{**PAIR, "premise": "x" * 60_000}]}, 413, "more than 50,000 bytes"),
        (b"x" * 2_000_000, 413, "more than 50,000 bytes"),
    ],
)
def test_what_is_refused(nli: int, body: Any, status: int, said: str):
    found, answer = ask(nli, body)
    assert (found, said in str(answer)) == (status, True), answer
    assert ask(nli, {"inputs": PAIR})[0] == 200


def test_a_body_without_a_length_is_limited_too(nli: int):
    connection = http.client.HTTPConnection("127.0.0.1", nli, timeout=30)
    body = iter([b"x" * 10_000] * 20)
    connection.request("POST", "/predict", body, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_choices_are_limited(models):
    with running(models["multiple_choice"], choices=3) as port:
        row = {"question": "What is red?", "choices": ["a", "b", "c", "d"]}
        status, answer = ask(port, {"inputs": [row]})
        assert (status, answer["detail"]) == (422, "input 0: choices has 4 items, more than 3.")


class _Slow:
    """A predictor that takes its time."""

    def __init__(self, predictor: Any) -> None:
        self.predictor, self.free, self.sizes = predictor, threading.Event(), []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.predictor, name)

    def predict_encoded(self, data: Any) -> list[Any]:
        self.sizes.append(len(data.examples))
        self.free.wait(10)
        return self.predictor.predict_encoded(data)


@pytest.fixture
def slow(models) -> reasoner.Result:
    return reasoner.Result(_Slow(models["nli"].predictor), models["nli"].run)


def test_requests_that_wait_run_together_and_too_many_are_refused(slow):
    with running(slow, waiting=5) as port, ThreadPoolExecutor(8) as threads:
        first = threads.submit(ask, port, {"inputs": [PAIR]})
        while not slow.predictor.sizes:
            time.sleep(0.01)
        others = [threads.submit(ask, port, {"inputs": [PAIR] * 2}) for _ in range(4)]
        while ask(port, None, "/health", "GET")[1]["waiting"] < 5:
            time.sleep(0.01)
        status, answer = ask(port, {"inputs": [PAIR]})
        assert (status, answer["detail"]) == (503, "5 requests are waiting. Try again in a moment.")
        slow.predictor.free.set()
        assert [each.result()[0] for each in (first, *others)] == [200] * 5
    assert slow.predictor.sizes == [1, 8]


def test_what_takes_too_long_is_refused(slow):
    with running(slow, seconds=0.2) as port:
        status, answer = ask(port, {"inputs": PAIR})
        assert (status, answer["detail"]) == (503, "No answer within 0.2 s. Try again, or send less.")
        slow.predictor.free.set()
        assert ask(port, {"inputs": PAIR})[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"half of it")
        assert connection.getresponse().status == 408
        connection.close()


def test_a_request_that_fails_takes_no_other_with_it(models, monkeypatch: pytest.MonkeyPatch, caplog):
    predictor = models["nli"].predictor

    class Failing(_Slow):
        def predict_encoded(self, data: Any) -> list[Any]:
            self.sizes.append(len(data.examples))
            if any(example.premise == "boom" for example in data.examples):
                raise RuntimeError("secret")
            return self.predictor.predict_encoded(data)

        def encode(self, examples: Any) -> Any:
            self.free.wait(10)
            return self.predictor.encode(examples)

    failing = Failing(predictor)
    with running(reasoner.Result(failing, models["nli"].run)) as port, ThreadPoolExecutor(4) as threads:
        first = threads.submit(ask, port, {"inputs": PAIR})
        rows = [{**PAIR, "premise": premise} for premise in ("boom", "fine", "good")]
        while ask(port, None, "/health", "GET")[1]["waiting"] < 1:
            time.sleep(0.01)
        others = [threads.submit(ask, port, {"inputs": row}) for row in rows]
        while ask(port, None, "/health", "GET")[1]["waiting"] < 4:
            time.sleep(0.01)
        failing.free.set()
        assert [each.result()[0] for each in (first, *others)] == [200, 500, 200, 200]
        assert "secret" not in str(others[0].result()[1])
    assert failing.sizes == [1, 3, 1, 1, 1]


def test_health_and_openapi(nli: int):
    status, health = ask(nli, None, "/health", "GET")
    assert (status, health["status"], health["task"], health["waiting"]) == (200, "ok", "nli", 0)
    _, api = ask(nli, None, "/openapi.json", "GET")
    operation = api["paths"]["/predict"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    one = schema["properties"]["inputs"]["anyOf"][0]
    assert one["required"] == ["premise", "hypothesis"]
    assert schema["properties"]["inputs"]["anyOf"][1]["maxItems"] == 8
    assert {"200", "400", "408", "413", "422", "503"} <= set(operation["responses"])
    assert ask(nli, None, "/docs", "GET")[0] == 404  # it would load scripts from elsewhere


def test_the_form_predicts(models):
    with running(models["ner"]) as port:
        form = b"text=Maria+Silva+%3Cb%3Eworks%3C%2Fb%3E+in+Oslo."
        status, shown = ask(port, form, "/", **{"Content-Type": "application/x-www-form-urlencoded"})
        assert status == 200
        assert "&lt;b&gt;works&lt;/b&gt;" in shown and "<b>works" not in shown
        assert "Labels: DATE, LOC, ORG, PER." in shown
        assert "Prediction" in shown and "<script" not in shown and "http" not in shown.replace("text/html", "")
        assert ask(port, b"text=%FF", "/")[0] == 400
    with running(models["qa"]) as port:
        assert ask(port, b"question=Who%3F&context=", "/")[0] in (200, 422)


def test_limits_that_let_nothing_through_are_refused():
    with pytest.raises(reasoner.ConfigError, match="rows is 0"):
        reasoner.ServiceLimits(rows=0)
    with pytest.raises(reasoner.ConfigError, match="seconds is 'long'"):
        reasoner.ServiceLimits(seconds="long")


def test_an_address_that_is_taken_is_refused(nli: int, models):
    with pytest.raises(reasoner.ConfigError, match=f"port {nli} cannot be listened on"):
        reasoner.serve(models["nli"], port=nli)


def test_the_command_serves_a_folder_and_ends_in_order(models, tmp_path: Path):
    models["nli"].save(tmp_path / "model")
    program = "import sys; from reasoner.serving.command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "serve", str(tmp_path / "model"), "--port", "0", "--rows", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        told = next(line for line in process.stderr if "Serving" in line)
        port = int(told.split("127.0.0.1:")[1].split(".")[0])
        assert ask(port, {"inputs": [PAIR]})[0] == 200
        assert ask(port, {"inputs": [PAIR] * 3})[0] == 422
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stderr.close()
        process.wait()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from reasoner.serving.command import main

    assert main(["serve", str(tmp_path)]) == 1
    assert "holds no reasoner_config.json" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--quantized"]) == 1
    assert "holds no ONNX model" in capsys.readouterr().err


def test_a_service_closes_no_log_of_the_program(models):
    """absl's handler closes its stream with itself, and that may be a notebook's, or what a test's output goes to."""

    class Closing(logging.StreamHandler):
        def close(self) -> None:
            self.stream.close()
            super().close()

    handler = Closing(io.StringIO())
    with running(models["nli"]) as port:
        assert ask(port, {"inputs": [PAIR]})[0] == 200
    assert not handler.stream.closed
