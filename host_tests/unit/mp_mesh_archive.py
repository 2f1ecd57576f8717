"""What the journal of a pole has lost comes by mesh as its archive has it: each meter once in 15 minutes."""
import fake_mesh  # isort: skip  before anything of the gateway
import asyncio

from gateway import clock

HEAP = {
    "test_after_days_without_a_root_the_archive_goes_first_and_then_the_journal": "8M",
    "test_with_the_power_lost_on_the_way_nothing_is_missing": "8M",
    "test_an_outlet_that_was_away_for_days_gets_what_the_archive_has": "8M",
}
EPOCH = 4661  # of pole 1


def site(outlets=("operator",)):
    return fake_mesh.Site(outlets=outlets, flash=8 + 4, archive=8 + 8)


async def minutes(world, count):
    """Let the pole read two meters each minute, while there is no mesh; root and pole start anew."""
    pole = world.poles[0]
    pole.kill()
    world.root.kill()
    for _ in range(count):
        await asyncio.sleep_ms(60000)
        for slot in (1, 2):
            pole.read(1, [pole.journal.next, -slot << 50], slot)
    world.root.start()
    pole.start()


def ordinal(seq):
    assert seq >> 32 == EPOCH
    return seq & 0xFFFFFFFF


def judged(pole, client):
    """Return the ordinals of what an outlet has; each is what was stored, and what is not there is told of."""
    got, gone = {}, []
    for topic, body in client.got:
        if "/pole-1/" not in topic or "seq" not in body:
            continue
        at = ordinal(body["seq"])
        if "event" in body:
            if body["event"]["code"] == "buffer_overrun":
                detail = body["event"]["detail"]
                gone.append((ordinal(detail["first"]), ordinal(detail["last"]), detail["thinned"]))
            continue
        slot = ("SN-1", "SM-1").index(body["meterSerial"]) + 1
        assert int(body["registers"][0]["value"] * 1000 + 0.5) == at, body
        got[at] = slot, ordinal(body.get("seqFirst", body["seq"])), body["ts"]
    return got, gone


def whole(pole, client):
    """Return whether all that the journal has is there."""
    have = [ordinal(body["seq"]) for topic, body in client.got if "/pole-1/" in topic and "seq" in body]
    return set(range(pole.journal.first, pole.journal.next)) <= set(have)


def thinned(pole, client, begin, end):
    """Check what an outlet has of the ordinals `begin` to `end` - 1, which the journal has no more."""
    got, gone = judged(pole, client)
    old = [at for at in sorted(got) if begin <= at < end]
    times = [got[at][2] for at in old]
    assert times == sorted(times)
    for slot in (1, 2):
        mine = [at for at in old if got[at][0] == slot]
        assert len(mine) > (end - begin) // 2 // 15 - 2, (slot, mine)
    after = begin
    for at in old:
        assert got[at][1] <= after, "what the thinned ones stand for is without holes"
        after = at + 1
    assert end - after < 2 * 15 + 2, "the last quarter"
    return gone


async def test_after_days_without_a_root_the_archive_goes_first_and_then_the_journal():
    world = site()
    pole, client = world.poles[0], world.client()
    pole.read(2)
    await world.until(lambda: pole.bridge.place == 2)
    pole.bridge.keep(True)
    await minutes(world, 900)
    lost = pole.journal.first
    assert lost > 300
    await world.until(lambda: pole.bridge.place == pole.journal.next and whole(pole, client))
    gone = thinned(pole, client, 2, lost)
    assert gone == [(2, gone[0][1], True)] and gone[0][1] >= lost - 1
    world.end()


async def test_with_the_power_lost_on_the_way_nothing_is_missing():
    world = site()
    pole, client = world.poles[0], world.client()
    pole.bridge.keep(True)
    await minutes(world, 900)
    lost = pole.journal.first
    for turn in range(6):
        many = 40 * turn + 20
        await world.until(lambda many=many: len(client.got) > many)
        one = world.root if turn % 2 else pole
        one.kill()
        await asyncio.sleep_ms(2000)
        one.start()
    await world.until(lambda: pole.bridge.place == pole.journal.next and whole(pole, client), 600000)
    thinned(pole, client, 0, lost)
    world.end()


async def test_an_outlet_that_was_away_for_days_gets_what_the_archive_has():
    world = site(("operator", "owner"))
    pole, root = world.poles[0], world.root
    pole.read(2)
    await world.until(lambda: pole.bridge.place == 2)
    world.client(1).lose()
    root.bridge.couriers[1]._seen = clock.uptime_ms() - 601000
    pole.read(2)
    await world.until(lambda: pole.bridge.place == 4)
    assert root.bridge.owed.places == {"owner": {"1": [EPOCH, 2]}}
    pole.bridge.keep(True)
    await minutes(world, 900)
    lost = pole.journal.first
    root.bridge.couriers[1]._seen = clock.uptime_ms() - 601000
    await world.until(lambda: pole.bridge.place == pole.journal.next)
    assert whole(pole, world.client(0))
    assert root.bridge.owed.places["owner"]["1"][1] <= 2
    world.client(1).back()

    def done():
        root.bridge.look(clock.uptime_ms())
        return not root.bridge.owed.places.get("owner")

    await world.until(done, 1200000)
    assert whole(pole, world.client(1))
    thinned(pole, world.client(1), 2, lost)
    world.end()
