"""Libraries of others that a benchmark compares with: fetched by pip as it is configured, each by name and hash."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from meshems.benches import rig


def fetch(name: str, version: str, sha256: str, inner: str, target: Path) -> Path:
    """Return `target` with the folder `inner` of the package in it, fetched once; its hash is checked.

    These packages have no setup.py, so pip ends with an error after it has checked and unpacked one: what counts
    is that the folder is there.
    """
    if (target / inner).exists():
        return target
    with tempfile.TemporaryDirectory(prefix="meshems-peer-") as scratch:
        folder = Path(scratch)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-clean", "--no-binary", ":all:"]
        done = subprocess.run(
            [*pip, "--require-hashes", "--dest", str(folder / "out"), "--requirement", str(wanted)],
            env=dict(os.environ, TMPDIR=scratch, PIP_DISABLE_PIP_VERSION_CHECK="1"), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        found = list(folder.glob(f"pip-download-*/*/{inner}"))
        if not found:
            why = re.sub(r"https?://\S+", "the index", (done.stderr.strip().splitlines() or ["no reason"])[-1])
            raise rig.BenchError(f"{name} {version} could not be fetched: {why}")
        shutil.copytree(found[0], target / inner)
    return target
