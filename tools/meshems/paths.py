"""Where things lie in the checkout, and the door to what desk and device share.

from meshems import paths
paths.share_firmware()
from lib import schema      # the one validator
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
BOARDS = ROOT / "boards"
PROFILES = FIRMWARE / "profiles"
SCHEMAS = Path(__file__).resolve().parent / "schema"
SHARE = ROOT / "tools" / "share"


def share_firmware() -> None:
    """Let `lib` and `gateway` be imported: the modules of the firmware that run on both interpreters."""
    for folder in (SHARE, FIRMWARE):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
