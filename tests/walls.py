"""Can programs be run on this machine? The tests that run some ask here, and say why not."""

from __future__ import annotations

import pytest

from reasoner.errors import ConfigError
from reasoner.execution.run import require_walls


def _missing() -> str:
    try:
        require_walls()
    except ConfigError as error:
        return str(error)
    return ""


MISSING = _missing()
runs_programs = pytest.mark.skipif(bool(MISSING), reason=MISSING or "there are walls")
