"""How many requests does a service answer, and how long does each take?

    python benchmarks/service.py --model output/model
    python benchmarks/service.py --model output/onnx --quantized

The service runs in a process of its own; the clients are threads of this one, each with a connection that it keeps, and
send one input a request as fast as they are answered. Inputs are the rows of --data, or some sentences.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from alternating import machine

import reasoner

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = (
    "Ada Lovelace was born in London.",
    "The old harbour of Lisbon was quiet when the morning ferry came in, and nobody had seen Maria Silva there.",
    "Heavy snow fell in Oslo.",
    "Three of the seven engineers left the company last year, among them John Carter, who went to Nairobi to build "
    "bridges, and Emily Berg, who now teaches in Vienna.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a model, PyTorch's or ONNX")
    parser.add_argument("--quantized", action="store_true", help="the ONNX file with weights of 8 bits")
    parser.add_argument("--data", help="rows, as reasoner.read_rows reads them; default: some sentences")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    arguments = parser.parse_args()
    task = json.loads((Path(arguments.model) / "reasoner_config.json").read_text("utf-8"))["task"]
    inputs = _inputs(task, arguments.data, arguments.requests)
    process, port = start(arguments.model, arguments.threads, quantized=arguments.quantized)
    try:
        ask(http.client.HTTPConnection("127.0.0.1", port), inputs[0])  # the first is slower
        seconds, times, statuses = load(port, inputs, arguments.clients)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    answered = statuses.count(200)
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1000
    print(
        f"{len(inputs)} requests from {arguments.clients} clients: {answered} answered, {len(inputs) - answered} lost; "
        f"{answered / seconds:.1f} a second; p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms"
    )
    print(f"{arguments.threads} threads; {', '.join(f'{name} {value}' for name, value in machine().items())}")


def _inputs(task: str, data: str | None, number: int) -> list[Any]:
    if data is None:
        pair = ("premise", "hypothesis") if task == "nli" else None
        made = [dict.fromkeys(pair, text) if pair else text for text in SENTENCES]
    else:
        names = ("text", "text_pair", "tokens", "premise", "hypothesis", "question", "context", "choices")
        made = [{name: row[name] for name in names if name in row} for row in reasoner.read_rows(data)]
    return [made[place % len(made)] for place in range(number)]


def start(model: str, threads: int, *, quantized: bool) -> tuple[subprocess.Popen[str], int]:
    """Start the service; return the process and its port."""
    program = "import sys; from reasoner.serving.command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "serve", model, "--port", "0", *(["--quantized"] if quantized else [])]
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    told = next((line for line in process.stderr if "Serving" in line), "")
    if not told:
        raise SystemExit("The service did not start.")
    return process, int(told.split("127.0.0.1:")[1].split(".")[0])


def load(port: int, inputs: list[Any], clients: int) -> tuple[float, list[float], list[int]]:
    """Send all inputs; return the seconds that it took, and the seconds and the status of each request (0: lost)."""
    places = count()
    times, statuses = [0.0] * len(inputs), [0] * len(inputs)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (place := next(places)) < len(inputs):
            started = time.perf_counter()
            statuses[place] = ask(connection, inputs[place])
            times[place] = time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(client) for _ in range(clients)]:
            done.result()
    return time.perf_counter() - started, times, statuses


def ask(connection: http.client.HTTPConnection, value: Any) -> int:
    """Send one input; return the status, 0 if no answer came."""
    try:
        connection.request("POST", "/predict", json.dumps({"inputs": value}))
        response = connection.getresponse()
        content = json.loads(response.read())
        return response.status if "predictions" in content else 0
    except (OSError, http.client.HTTPException, ValueError):
        connection.close()
        return 0


if __name__ == "__main__":
    main()
