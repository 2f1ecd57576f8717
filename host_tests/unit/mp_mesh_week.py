"""lib/mesh over longer than ticks can tell apart, 6.2 days: no stamp may be taken for one of the future."""

import hashlib

import soft_aes  # noqa: F401
from lib.ccm import Cmac
from lib.mesh.ticks import later
from mesh_air import chain

WASM = True

Cmac.tag = lambda self, message: hashlib.sha256(message).digest()  # AES in Python takes minutes for a week's beacons


def test_after_a_week_without_a_root_everything_goes_on_where_it_was():
    air, (root, pole) = chain(2)
    air.run(30000)
    air.remove(1)
    assert pole.offer(5, b"x", air.now)
    air.run(30000)
    assert not pole.routes.root
    for _ in range(7 * 24 * 30):
        air.now = later(air.now, 120000)
        pole.tick(air.now)
        while pole.next(air.now):
            pole.on_sent(True, air.now)
    air.add(1, root=True, epoch=2)
    assert air.until(lambda: pole.routes.root) < 5000
    assert air.until(lambda: pole.app.ackeds) < 10000
    air.run(60000)
    assert pole.offer(6, b"x", air.now)
    air.until(lambda: pole.app.ackeds == [5, 6], 5000)
    for _ in range(7 * 24 * 30):  # a week in which nobody has readings
        air.run(9)
        air.now = later(air.now, 120000)
    assert pole.routes.root and pole.offer(7, b"x", air.now)
    air.until(lambda: 7 in pole.app.ackeds, 5000)
