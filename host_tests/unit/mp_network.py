"""gateway/network: the station connects, tells its failures apart, and comes back by itself."""
import asyncio
import json

from gateway.network import Station

wait = asyncio.sleep_ms


async def quick(ms):
    """A second is ten milliseconds here; the poll keeps its pace, the board's network needs real time."""
    await wait(ms if ms < 1000 else ms // 100)


asyncio.sleep_ms = quick


class Life:
    beats = 0

    def beat(self):
        self.beats += 1


def tell(**faults):
    with open("network.json", "w") as file:
        json.dump(dict({"connect_ms": 5}, **faults), file)


async def run(station, condition, ms=12000):
    life = Life()
    task = asyncio.create_task(station.run(life))
    try:
        for _ in range(ms // 20):
            if condition():
                return life
            await wait(20)
    finally:
        task.cancel()
        await wait(1)
    raise AssertionError("did not come about: %s, %r" % (station.connected, station.reason))


async def test_it_connects_without_power_save():
    tell()
    station = Station("village", "a password")
    life = await run(station, lambda: station.connected)
    assert station._wlan.config("pm") == station._wlan.PM_NONE and life.beats >= 2


async def test_a_missing_network_is_named_and_it_connects_once_it_is_there():
    tell(fail="no_ap")
    station = Station("village", "a password")
    await run(station, lambda: station.reason)
    assert station.reason == "no such network" and not station.connected
    tell()
    await run(station, lambda: station.connected)


async def test_a_wrong_password_is_told_from_it():
    tell(fail="password")
    station = Station("village", "a password")
    await run(station, lambda: station.reason)
    assert station.reason == "wrong password"


async def test_a_lost_connection_is_made_again():
    tell()
    station = Station("village", "a password")
    await run(station, lambda: station.connected)
    task = asyncio.create_task(station.run(Life()))
    await wait(400)
    station._wlan.disconnect()
    await wait(200)
    assert not station.connected
    for _ in range(300):
        if station.connected:
            break
        await wait(20)
    task.cancel()
    assert station.connected and station._wlan.isconnected()
