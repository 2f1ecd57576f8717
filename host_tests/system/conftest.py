"""The system tests run what ships: compiled, with short names."""

import pytest

from meshems import paths, ship
from meshems.benches.rig import program


@pytest.fixture(scope="session", autouse=True)
def shipped(tmp_path_factory):
    """Let every gateway of `meshems run` and `meshems demo` be the one that ships; return its folder."""
    folder = tmp_path_factory.mktemp("shipped")
    ship.build(paths.FIRMWARE, folder, program("MPY_CROSS", "mpy-cross"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESHEMS_FIRMWARE", str(folder))
        yield folder
