"""Does the page work in a browser: is its form sent, and does the prediction come back? Needs Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from task_cases import CASES
from test_service import QUICK, running

import reasoner
from tiny import build_tiny

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not BROWSER, reason=f"no browser is installed (looked for {', '.join(NAMES)})")


def browse(address: str, *more: str) -> str:
    """Open an address in a headless browser, and return the page as it stands after a while."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", *more]
    done = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def submitted(port: int, folder: Path) -> Path:
    """Return a copy of the page that sends its form by itself: the served one has no scripts, and may have none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
        page = response.read().decode()
    assert '<form method="post" action="/">' in page
    page = page.replace('action="/"', f'action="http://127.0.0.1:{port}/"')
    file = folder / "page.html"
    file.write_text(page.replace("</main>", "</main><script>document.forms[0].submit()</script>"), "utf-8")
    return file


@pytest.mark.parametrize(("task", "shown"), [("nli", "entailment"), ("ner", "Lovelace")])
def test_the_form_is_sent_and_answered(task: str, shown: str, tmp_path: Path):
    model = build_tiny("bert", tmp_path / "tiny")
    result = reasoner.fine_tune(model, CASES[task].splits, task=task, **QUICK)
    with running(result) as port:
        assert "<h1>" in browse(f"http://127.0.0.1:{port}/")
        answer = browse(submitted(port, tmp_path).as_uri())
    assert "<h2>Prediction</h2>" in answer
    text = re.sub(r" <small.*?</small>|</?mark.*?>", "", answer.split("<h2>Prediction</h2>")[1])  # as it was given
    assert shown in text
