"""Makes the MicroPython tests (`mp_*.py`) known to pytest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mp_plugin import pytest_pycollect_makemodule  # noqa: F401
