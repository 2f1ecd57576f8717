"""What the mesh keeps on the heap of a pole and of a root in a site of a hundred gateways: on the 32-bit build.

host_tests/bench/mesh_heap.py fills every table of a node with what comes over the air; what counts is what it holds
then. The modules themselves are in flash on a chip, or counted by `import.total_kb`.
"""

import json
import subprocess
from pathlib import Path

from meshems import paths
from meshems.benches import rig
from meshems.benches.figures import Figure

HEAP = 4 << 20
MARK = "measured"
BOUNDS_KB = {"pole": 20, "root": 35}


def measure(bench: rig.Rig) -> list[Figure]:
    """Return `mesh.heap_pole_kb` and `mesh.heap_root_kb`."""
    if not (rig.WASM / "micropython.mjs").exists():
        raise rig.BenchError("the 32-bit build of MicroPython is not installed: `make bench` does it, or `npm ci`")
    return [
        Figure(f"mesh.heap_{name}_kb", round(_bytes(bench.firmware, name == "root") / 1024, 1), "kB", bound=bound)
        for name, bound in BOUNDS_KB.items()
    ]


def _bytes(firmware: Path, root: bool) -> int:
    files = []
    for inside, folder, pattern in (
        ("/firmware", firmware, "*.mpy"),
        ("/bench", rig.SCRIPTS, "mesh_heap.py"),
        ("/bench", paths.ROOT / "host_tests" / "unit", "soft_aes.py"),
    ):
        files += [[f"{inside}/{file.relative_to(folder)}", str(file)] for file in sorted(folder.rglob(pattern))]
    steps = [
        "import sys; sys.path[:] = ['/firmware', '/bench', '.frozen']",
        "import array, binascii, gc, hashlib, json, struct\nimport soft_aes\n_at = array.array('I', [0, 0])",
        "import lib.mesh.node, lib.mesh.collect, lib.mesh.orders, mesh_heap",
        "gc.collect()",
        "_at[0] = gc.mem_alloc()",
        f"_node = mesh_heap.fill({root})",
        "gc.collect()",
        "_at[1] = gc.mem_alloc()",
        f"print({MARK!r}, json.dumps([mesh_heap.filled(_node), _at[1] - _at[0]]))",
    ]
    job = {"package": str(rig.WASM), "heap": HEAP, "files": files, "steps": steps}
    done = subprocess.run(
        [rig.node(), str(rig.SCRIPTS / "wasm.mjs")],
        input=json.dumps(job), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            full, size = json.loads(line[len(MARK) :])
            if full:
                return int(size)
    raise rig.BenchError(f"the heap of a node could not be counted: {(done.stdout + done.stderr)[-300:]}")
