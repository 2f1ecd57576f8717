"""Whole gateways: journal, bridge, mesh, root and outlets, on the simulated radio and on virtual time."""

import virtual  # isort: skip
import asyncio

from gateway import clock

HEAP = {"test_ten_minutes_of_a_site_in_which_everything_dies_once": "48m"}
TIMEOUT = {"test_ten_minutes_of_a_site_in_which_everything_dies_once": 120}
EVERY_S = 20


async def read(site, minutes):
    """Let each pole that is alive store a reading every 20 s."""
    for _ in range(minutes * 60 // EVERY_S):
        for one in site.poles:
            if one.health.tasks:
                one.read(1)
        await asyncio.sleep_ms(EVERY_S * 1000)


async def trouble(site):
    """Kill poles and the root, and lose a broker, one after the other."""
    for one, dead_s in ((site.poles[2], 15), (site.root, 45), (site.poles[5], 90)):
        await asyncio.sleep_ms(60000)
        one.kill()
        await asyncio.sleep_ms(dead_s * 1000)
        one.start()
    await asyncio.sleep_ms(30000)
    site.client().lose()
    await asyncio.sleep_ms(40000)
    site.client().back()


async def test_ten_minutes_of_a_site_in_which_everything_dies_once():
    site = virtual.Site("grid", 8, seed=1, outlets=("operator", "owner"))
    began = clock.uptime_ms()
    await asyncio.gather(read(site, 10), trouble(site))
    assert clock.uptime_ms() - began >= 600000, "virtual minutes"

    def there(number):
        return all(set(one.seqs()) <= set(site.client(number).seqs(one.name)) for one in site.poles)

    await site.until(lambda: there(0) and there(1), 300000)
    for number in (0, 1):
        bodies = {}
        for topic, body in site.client(number).got:
            if "seq" in body:
                body.pop("late", None)
                key = topic.split("/")[3], body["seq"]
                assert bodies.setdefault(key, body) == body, "one seq, one content"
        assert len(bodies) >= 8 * 25
    site.end()
