"""Where is the real data that these tests read?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that the environment's REASONER_DATA names, or `../shared/data` beside the repository."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("REASONER_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"The real data is not at hand: there is no folder {folder}. Name it with REASONER_DATA.")
    return folder
