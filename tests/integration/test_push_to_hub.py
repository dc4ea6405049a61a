"""What is pushed to the Hub? A small server of its HTTP API on this machine takes it, and shows."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from task_cases import CASES

import reasoner
from tiny import build_tiny

QUICK = {"max_steps": 2, "evaluate_before": False, "use_cpu": True, "disable_tqdm": True}


class Hub:
    """What the server has taken: https://huggingface.co/docs/hub/api, as far as a push needs it."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.tokens: set[str | None] = set()
        self.refuses = False
        self.address = ""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub

    taken = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

        def answer(self, content: Any, status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            found = {"id": "ada/names", "siblings": [], "sha": "0" * 40}
            self.answer(*(({"error": "no such token"}, 401) if taken.refuses else (found,)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.tokens.add(self.headers["Authorization"])
            if taken.refuses:
                self.answer({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                taken.made.append(json.loads(body))
                self.answer({"url": f"{taken.address}/ada/names"})
            elif self.path == "/api/validate-yaml":  # of the card
                self.answer({"errors": [], "warnings": []})
            elif self.path.endswith("/preupload/main"):
                asked = json.loads(body)["files"]
                self.answer({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                                       for f in asked]})  # fmt: skip
            elif self.path.endswith("/commit/main"):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "header":
                        taken.messages.append(line["value"]["summary"])
                    else:
                        taken.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                done = {"commitUrl": f"{taken.address}/ada/names/commit/1", "commitOid": "1", "success": True}
                self.answer(done)
            else:
                self.answer({"error": f"unexpected {self.path}"}, 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    yield taken
    server.shutdown()
    thread.join()
    server.server_close()
    huggingface_hub.close_session()


def test_what_is_pushed_is_what_save_writes(hub: Hub, tmp_path: Path):
    model = build_tiny("bert", tmp_path / "secret place" / "tiny")
    result = reasoner.fine_tune(model, CASES["ner"].splits, task="ner", **QUICK)
    address = result.push_to_hub("ada/names", token="hf_x", private=True, commit_message="First", endpoint=hub.address)
    assert address == f"{hub.address}/ada/names"
    assert (hub.made[0]["name"], hub.made[0]["organization"], hub.messages) == ("names", "ada", ["First"])
    assert hub.tokens == {"Bearer hf_x"}
    result.save(tmp_path / "saved")
    assert set(hub.files) == {path.name for path in (tmp_path / "saved").iterdir()}
    assert {name.rsplit(".", 1)[1] for name in hub.files} <= {"safetensors", "json", "md", "txt"}
    assert hub.files["model.safetensors"] == (tmp_path / "saved" / "model.safetensors").read_bytes()
    assert hub.files["README.md"].startswith(b"---\nlibrary_name: transformers\npipeline_tag: token-classification")
    assert not [name for name, content in hub.files.items() if str(tmp_path).encode() in content]
    (tmp_path / "back").mkdir()
    for name, content in hub.files.items():
        (tmp_path / "back" / name).write_bytes(content)
    assert reasoner.load(tmp_path / "back").predict("Ada") == result.predict("Ada")


def test_a_refusal_is_told(hub: Hub, tmp_path: Path):
    result = reasoner.fine_tune(build_tiny("bert", tmp_path / "tiny"), CASES["nli"].splits, task="nli", **QUICK)
    hub.refuses = True
    with pytest.raises(reasoner.CheckpointError, match=r"was not pushed to 'ada/names': .*401.*hf auth login"):
        result.push_to_hub("ada/names", token="hf_x", endpoint=hub.address)
    with pytest.raises(reasoner.CheckpointError, match="was not pushed to 'no such//name'"):
        result.push_to_hub("no such//name", token="hf_x", endpoint=hub.address)


def test_additions_to_a_base_that_nobody_has_are_refused(hub: Hub, tmp_path: Path):
    pytest.importorskip("peft", reason="the extra 'peft' is not installed")
    model = build_tiny("bert", tmp_path / "tiny")
    result = reasoner.fine_tune(model, CASES["nli"].splits, task="nli", method="lora", **QUICK)
    with pytest.raises(reasoner.ConfigError, match="which nobody else has"):
        result.push_to_hub("ada/names", token="hf_x", endpoint=hub.address)
    assert hub.made == []
    assert result.merge().push_to_hub("ada/names", token="hf_x", endpoint=hub.address)
    assert "model.safetensors" in hub.files
