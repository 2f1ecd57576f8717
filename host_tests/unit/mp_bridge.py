"""Poles and a root: what is committed on a pole arrives at every outlet, whoever loses its power when."""
import asyncio
import gc
import json

from fake_mesh import Site
from fake_nor import Nor
from gateway import bridge as bridge_module
from gateway import clock, members, root
from gateway.batches import IDENTITY, LAYOUT, RECORDS, REPORT, TABLE
from gateway.replay import Dating, Replay
from lib.mesh import counts

HEAP = {
    "test_a_root_follows_the_access_point_to_another_channel": "4M",
    "test_a_task_that_dies_with_a_frame_on_its_way_sends_again_when_it_is_started_anew": "4M",
    "test_nothing_is_passed_over_when_the_task_that_fills_batches_dies": "4M",
    "test_a_pole_that_died_while_the_root_was_away_is_told_of": "4M",
    "test_a_pole_that_only_says_hello_is_alive": "4M",
    "test_a_board_that_takes_anothers_place_has_its_own_meters_and_layouts": "4M",
    "test_who_claims_anothers_name_is_told_of_once_in_ten_minutes": "4M",
    "test_a_flash_that_takes_no_cursor_does_not_stop_the_records": "4M",
    "test_a_filter_at_an_outlet_holds_for_the_poles_and_costs_the_other_nothing": "4M",
    "test_no_route_for_ten_minutes_is_told_and_its_end_too": "4M",
    "test_what_is_not_as_it_should_be_is_an_event": "4M",
    "test_a_radio_that_remembers_too_many_strangers_ends_in_a_reset_with_all_that_was_pending_stored": "4M",
    "test_what_a_pole_stores_is_published_as_by_itself": "4M",
    "test_the_cursor_waits_for_the_acknowledgement_of_the_last_outlet": "4M",
    "test_an_outlet_whose_connection_breaks_gets_what_it_has_not_acknowledged": "4M",
    "test_nothing_is_lost_whoever_loses_its_power": "4M",
    "test_a_record_longer_than_a_frame_goes_in_parts": "4M",
    "test_a_broker_that_takes_nothing_holds_the_poles_and_nothing_grows": "4M",
    "test_what_a_member_tells_of_itself_is_retained": "4M",
    "test_a_pole_without_a_clock_gets_the_time_and_sends_what_waited": "4M",
    "test_the_clock_is_set_by_the_mesh_only_when_that_knows_better": "4M",
    "test_whatever_a_member_sends_nothing_is_raised_and_nothing_grows": "4M",
    "test_frames_of_ids_that_there_are_not_take_no_memory_of_a_root": "4M",
    "test_a_root_without_a_broker_lets_the_poles_keep_what_they_have": "4M",
}


def all_there(site, number=0):
    client = site.client(number)
    return all(set(pole.seqs()) <= set(client.seqs(pole.name)) for pole in site.poles)


async def test_what_a_pole_stores_is_published_as_by_itself():
    site = Site()
    pole, client = site.poles[0], site.client()
    pole.read(5)
    pole.read(3, [1, None], slot=2)
    pole.recorder.event(0, "restarted", 0, 2, {"boot": 1, "cause": 1})
    pole.recorder.lost(2)
    pole.recorder.commit()
    await site.until(lambda: all_there(site))
    replay = Replay(pole.journal, pole.names, Dating(pole.journal, pole.clock, 1), 0)
    northbound = pole.straight()
    wanted = []
    while await replay.next():
        topic, payload = northbound.message(replay, (replay.unix_ms, 10))
        wanted.append((topic, json.loads(bytes(payload))))
    for _, body in client.got + wanted:
        body.pop("late", None)  # forming a mesh takes longer than two intervals here
    assert client.got == wanted and len(wanted) == 10
    site.end()


async def test_the_cursor_waits_for_the_acknowledgement_of_the_last_outlet():
    site = Site(outlets=("operator", "owner"))
    pole = site.poles[0]
    site.client(1).answers = False
    pole.read(4)
    await site.until(lambda: all_there(site) and all_there(site, 1))
    await asyncio.sleep_ms(1500)
    assert pole.bridge.place == 0 and len(site.root.bridge.queue) > 0
    site.client(1).answers = True
    site.client(1).answer()
    await site.until(lambda: pole.bridge.place == 4 and not site.root.bridge.queue)
    pole.bridge.keep(True)
    assert pole.journal.cursor(1) == 4
    site.end()


async def test_an_outlet_whose_connection_breaks_gets_what_it_has_not_acknowledged():
    site = Site()
    pole, client = site.poles[0], site.client()
    client.answers = False
    pole.read(4)
    await site.until(lambda: all_there(site))
    client.lose()
    client.got.clear()
    client.kept.clear()
    await asyncio.sleep_ms(100)
    client.answers = True
    client.back()
    await site.until(lambda: all_there(site) and pole.bridge.place == 4)
    assert "openami/v1/f/pole-1/status" in client.kept, "what is retained is said on each connection"
    site.end()


async def test_nothing_is_lost_whoever_loses_its_power():
    site = Site(poles=2)
    one, other = site.poles
    for _ in range(3):
        one.read(3)
        other.read(2)
        await asyncio.sleep_ms(700)
        one.kill()
        await asyncio.sleep_ms(200)
        one.start()
        other.read(2)
        site.root.kill()
        await asyncio.sleep_ms(200)
        site.root.start()
    await site.until(lambda: all_there(site) and one.bridge.place == 9 and other.bridge.place == 12)
    for pole in site.poles:
        bodies = {}
        for topic, body in site.client().got:
            if "/%s/" % pole.name in topic:
                body.pop("late", None)
                assert bodies.setdefault(body["seq"], body) == body, "one seq, one content"
    site.end()


async def test_a_board_that_takes_anothers_place_has_its_own_meters_and_layouts():
    """The numbers of slots and layouts are those of one life of a flash; a batch of the one before may still wait."""
    site = Site()
    pole, client = site.poles[0], site.client()
    pole.read(1, [7000, 5])
    await site.until(lambda: all_there(site) and pole.bridge.place == 1)
    client.answers = False
    pole.read(1, [8000, 6])
    await site.until(lambda: all_there(site))
    pole.kill()
    pole.flash, pole.epoch = Nor(32), 99
    pole.serials, pole.layouts = ["NEW-1", "NEW-2"], {1: "\n32.7.0 V -1\n14.7.0 Hz -2"}
    pole.start()
    member = site.root.bridge.members.all[1]
    await site.until(lambda: member.names.serial(1) == "NEW-1")
    pole.read(1, [2301, 4998])
    await site.until(lambda: len(site.root.bridge.queue) == 2)
    client.lose()
    client.got.clear()
    await asyncio.sleep_ms(50)
    client.answers = True
    client.back()
    await site.until(lambda: pole.bridge.place == 1)
    said = []
    for topic, body in client.got:
        said.append((topic.split("/")[5], [(one["obis"], one["value"]) for one in body["registers"][:2]]))
    old, new = [("1.8.0", 8), ("16.7.0", 0.006)], [("32.7.0", 230.1), ("14.7.0", 49.98)]
    assert said == [("SN-1", old), ("NEW-1", new)], said
    site.end()


async def test_a_filter_at_an_outlet_holds_for_the_poles_and_costs_the_other_nothing():
    site = Site(outlets=("operator", "owner"), more={"owner": {"filter": {"meters": ["SM-1"], "registers": ["1.8.0"]}}})
    pole = site.poles[0]
    pole.read(3)
    pole.read(2, slot=2)
    pole.read(2)
    await site.until(lambda: all_there(site) and pole.bridge.place == 7)
    got = site.client(1).got
    assert [topic.split("/")[5] for topic, _ in got] == ["SM-1"] * 2
    assert [[one["obis"] for one in body["registers"]] for _, body in got] == [["1.8.0", "96.5.0"]] * 2
    assert not [body for _, body in got if "seqPrev" in body], "that is the pole's to know"
    assert "openami/v1/f/pole-1/status" in site.client(1).kept
    site.end()


async def test_a_record_longer_than_a_frame_goes_in_parts():
    site = Site()
    pole = site.poles[0]
    pole.layouts[1] = "".join(["\n1.8.%d kWh -3" % i for i in range(60)])
    pole.read(2, [123456789 + i for i in range(60)])
    await site.until(lambda: all_there(site) and pole.bridge.place == 2)
    assert len(site.client().got[1][1]["registers"]) == 61
    site.end()


async def test_a_broker_that_takes_nothing_holds_the_poles_and_nothing_grows():
    site = Site(poles=3)
    client = site.client()
    await site.until(lambda: "openami/v1/f/pole-3/status" in client.kept)
    client.answers = False
    for pole in site.poles:
        pole.read(400)
    await asyncio.sleep_ms(4000)
    assert len(site.root.bridge.queue) <= 32
    assert all(len(pole.bridge._parts) <= 4 and len(pole.bridge._way) < 30 for pole in site.poles)
    assert not any(pole.bridge.place for pole in site.poles)
    site.end()


async def test_what_a_member_tells_of_itself_is_retained():
    site = Site()
    client = site.client()
    await site.until(lambda: "openami/v1/f/pole-1/gateway/mesh" in client.kept)
    await site.until(lambda: client.kept.get("openami/v1/f/pole-1/status", {}).get("state") == "online")
    status = client.kept["openami/v1/f/pole-1/status"]
    assert status["network"] == "mesh" and status["clock"] == "ok" and status["configProblems"] == 0
    assert "journal" not in status
    site.poles[0].journal.volatile = True
    site.poles[0].bridge._table_at = 0
    await site.until(lambda: client.kept["openami/v1/f/pole-1/status"].get("journal") == "memory")
    await site.until(lambda: client.kept["openami/v1/f/pole-1/gateway/mesh"]["parent"] == 100)
    table = client.kept["openami/v1/f/pole-1/gateway/mesh"]
    assert table["id"] == 1 and table["root"] == 100 and table["hops"] == 1 and table["neighbours"][0]["rssi"] == -60
    own = client.kept["openami/v1/f/root-100/gateway/mesh"]
    assert own["isRoot"] is True and "openami/v1/f/root-100/status" not in client.kept
    member = site.root.bridge.members.all[1]
    member.heard -= 970000
    site.root.bridge.look(clock.uptime_ms())
    await site.until(lambda: client.kept["openami/v1/f/pole-1/status"] == {"state": "offline"})
    site.end()


async def test_a_pole_that_died_while_the_root_was_away_is_told_of():
    site = Site(poles=2)
    kept, dead, alive = site.client().kept, "openami/v1/f/pole-1/status", "openami/v1/f/pole-2/status"
    await site.until(lambda: "online" in str(kept.get(dead)) and "online" in str(kept.get(alive)))
    site.root.kill()
    site.poles[0].kill()
    site.root.start()
    bridge = site.root.bridge
    site.poles[1].bridge._table_at = 0
    await site.until(lambda: bridge.members.all[2].online > 0)
    bridge.look(950000)
    await asyncio.sleep_ms(50)
    assert kept[dead]["state"] == "online"
    bridge.members.all[2].heard = 970000
    bridge.look(970000)
    await site.until(lambda: kept[dead] == {"state": "offline"})
    assert kept[alive]["state"] == "online" and kept[alive]["firmware"]
    site.poles[0].start()
    await site.until(lambda: kept[dead]["state"] == "online")
    assert kept[dead]["firmware"] == kept[alive]["firmware"]
    site.end()


async def test_a_pole_that_only_says_hello_is_alive():
    """Without a broker a root takes nothing but that, each five minutes."""
    site = Site()
    kept, topic = site.client().kept, "openami/v1/f/pole-1/status"
    await site.until(lambda: "online" in str(kept.get(topic)))
    bridge, upward = site.root.bridge, site.poles[0].bridge.node.upward
    member = bridge.members.all[1]
    site.poles[0].health.tasks[1].cancel()  # no more batches
    await asyncio.sleep_ms(2000)
    before = member.heard
    upward._hello = bridge_module.ticks()
    await site.until(lambda: member.heard > before)
    member.heard -= 970000
    bridge.look(clock.uptime_ms())
    await site.until(lambda: kept[topic] == {"state": "offline"})
    upward._hello = bridge_module.ticks()
    await site.until(lambda: kept[topic]["state"] == "online")
    site.end()


async def test_a_pole_without_a_clock_gets_the_time_and_sends_what_waited():
    site = Site(knows=False)
    pole = site.poles[0]
    pole.read(3)
    await site.until(lambda: pole.clock.source == clock.MESH)
    pole.read(1)
    await site.until(lambda: all_there(site))
    (_, first), (_, last) = site.client().got[0], [one for one in site.client().got if "registers" in one[1]][-1]
    assert last["tsSrc"] == "mesh" and first["ts"].startswith("2026-06-22T14:3")
    assert "mesh_hour" in pole.nvs.kept
    site.end()


async def test_the_clock_is_set_by_the_mesh_only_when_that_knows_better():
    site = Site()
    bridge, now = site.poles[0].bridge, site.poles[0].clock
    ms = now.now()[0] - 1577836800000
    bridge.time(ms + 50000, 120, 1)
    assert now.sets == [], "NTP within 10 ms stands"
    now.source, now._bound = clock.RTC, 5000
    bridge.time(ms + 2000, 120, 1)
    assert len(now.sets) == 1 and now.source == clock.MESH
    bridge.time(ms + 2000, 120, 1)
    assert len(now.sets) == 1, "flash is not written for nothing"
    bridge.time(ms + 9000, 120, 2)
    assert len(now.sets) == 2, "a step"
    bridge.time(5, 120, 3)
    assert len(now.sets) == 3 or now.now()[0] > 1700000000000
    site.end()


class Any:
    def __init__(self, **more):
        for name in more:
            setattr(self, name, more[name])


def test_a_member_is_believed_one_name_and_no_two_have_the_same():
    all = members.Members()
    one, other = all.add(1), all.add(2)
    said = b"f\npole-1\n0.1.0\n0\nSN-1 60"
    assert all.claim(1, one, said) is None and one.names.serial(1) == "SN-1"
    assert one.names.every == {1: 60}
    assert all.claim(2, other, said) == "f/pole-1" and other.gateway is None
    assert all.claim(1, one, said.replace(b"pole-1", b"pole-9")) == "f/pole-9" and one.gateway == "pole-1"
    again = members.Members()
    assert again.claim(2, again.add(2), said) == "f/pole-1", "after a restart too"
    for wrong in (b"", b"f", b"f\npole/2\n0.1.0\n0", b"f\npole-2\n\"\n0", b"f\npole-2\n0.1\n0\nSN+1 60",
                  b"f\npole-2\n0.1\nx", b"f\npole-2\n0.1\n0\nSN-1", b"\xff\xfe"):  # fmt: skip
        assert all.claim(2, other, wrong) == "nobody" and other.gateway is None


async def test_who_claims_anothers_name_is_told_of_once_in_ten_minutes():
    site = Site()
    bridge, told = site.root.bridge, []
    await site.until(lambda: bridge.members.all.get(1) and bridge.members.all[1].firmware)
    bridge.recorder.event = lambda slot, code, severity, state, detail: told.append((code, detail))
    for turn in range(50):
        bridge.received(2, turn, IDENTITY, b"\0f\npole-1\n0.1.0\n0\nSN-1 60")
        bridge.node.notes.minute()
    assert told == [("mesh_trouble", {"what": "duplicate", "member": 2})] * 5
    site.end()


async def test_a_flash_that_takes_no_cursor_does_not_stop_the_records():
    site = Site()
    pole = site.poles[0]

    def put(cursor, place):
        raise OSError(5)

    pole.journal.put = put
    for count in range(1, 4):
        pole.read(1)
        pole.bridge._kept_at = -5000
        await site.until(lambda count=count: all_there(site) and pole.bridge.place == count)
    site.end()


def test_a_pole_at_the_limit_does_not_tell_so_with_each_block():
    from gateway.pole import Pole

    told = []
    recorder = Any(event=lambda slot, code, severity, state, detail: told.append(state))
    one = Any(_near=False, _kept_at=0, name="mesh", recorder=recorder, journal=Any(first=800, next=1600))
    for place in (899, 901, 899, 1001, 999, 899):
        one.place = one._kept = place
        Pole.keep(one)
    assert told == [0, 1, 0], "set, clear when a quarter is left, and set again"


async def test_whatever_a_member_sends_nothing_is_raised_and_nothing_grows():
    site = Site()
    bridge, client = site.root.bridge, site.client()
    site.poles[0].read(1)
    await site.until(lambda: all_there(site))
    seed = 7
    kinds = (RECORDS, IDENTITY, LAYOUT, REPORT, TABLE, 99)
    for number in range(1, 3000):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        payload = bytes([(seed >> (i % 23)) * (i + 7) & 255 for i in range(seed % 180)])
        if seed & 1024:
            payload = b"\0" + payload
        bridge.received(1, number, kinds[seed % 6], memoryview(payload))
        if not number % 50:
            await asyncio.sleep_ms(1)
    await asyncio.sleep_ms(200)
    site.poles[0].read(2)
    await site.until(lambda: all_there(site))
    member = bridge.members.all[1]
    assert len(member._parts) <= 4 and len(bridge.queue) <= 32 and member.gateway == "pole-1"
    assert not site.root.health.died and client.got
    site.end()


async def test_a_batch_that_makes_no_sense_is_told_of_and_those_after_it_arrive():
    site = Site()
    bridge, told = site.root.bridge, []
    site.poles[0].read(1)
    await site.until(lambda: all_there(site))
    bridge.recorder.event = lambda slot, code, severity, state, detail: told.append((code, detail))
    assert bridge.received(1, 500, RECORDS, memoryview(b"\0" + bytes(5) + b"\xff" * 40))
    site.poles[0].read(1)
    await site.until(lambda: all_there(site) and told)
    assert told == [("mesh_trouble", {"what": "unread", "member": 1})]
    site.end()


async def test_frames_of_ids_that_there_are_not_take_no_memory_of_a_root():
    site = Site()
    secrecy = site.root.bridge.node.secrecy
    sizes = []
    for first in (1, 1001, 2001):
        for ident in range(first, first + 1000):  # who has the key of the hops can name any
            assert secrecy.open(0x20, ident, 100, ident, 1, 1, bytes(20)) is None
        gc.collect()
        sizes.append(gc.mem_alloc())
    assert sizes[2] - sizes[1] < 5000, sizes
    site.end()


async def test_a_root_without_a_broker_lets_the_poles_keep_what_they_have():
    site = Site()
    await site.until(lambda: "openami/v1/f/pole-1/status" in site.client().kept)
    site.client().lose()
    site.root.bridge._up_at = clock.uptime_ms() - 31000
    site.root.bridge.look(clock.uptime_ms())
    site.poles[0].read(3)
    await asyncio.sleep_ms(2500)
    pole = site.poles[0].bridge
    pole._table_at = 0
    await asyncio.sleep_ms(100)
    assert pole.place == 0 and pole._parts == [], "who is heard now is not told of as if it were later"
    site.client().back()
    site.root.bridge.look(clock.uptime_ms())
    await site.until(lambda: all_there(site) and site.poles[0].bridge.place == 3)
    site.end()


async def test_a_root_follows_the_access_point_to_another_channel():
    site = Site()
    node, air = site.root.bridge.node, site.root.air
    await site.until(lambda: node.routes.root)
    tuned = []
    air.tune = tuned.append
    air.channel = 11
    site.root.bridge.look(clock.uptime_ms())
    await site.until(lambda: node.channel.at == 11)
    assert tuned == [11]
    site.end()


async def test_a_task_that_dies_with_a_frame_on_its_way_sends_again_when_it_is_started_anew():
    site = Site()
    pole = site.poles[0]
    pole.read(1)
    await site.until(lambda: all_there(site) and pole.bridge.place == 1)
    told = pole.air.sent
    pole.air.sent = lambda: None
    pole.read(1)
    await site.until(lambda: pole.bridge.node.outbox.flight != -1)
    pole.health.tasks[0].cancel()
    pole.air.sent = told
    pole.health.keep("mesh", pole.bridge.run, 0)
    pole.read(1)
    await site.until(lambda: all_there(site) and pole.bridge.place == 3, 20000)
    site.end()


async def test_nothing_is_passed_over_when_the_task_that_fills_batches_dies():
    """Wherever it is: a heap that is full for a moment raises at any allocation."""
    site = Site()
    pole, health = site.poles[0], site.poles[0].health
    pole.read(1)
    await site.until(lambda: all_there(site) and pole.bridge.place == 1)
    pole.layouts[2] = "".join(["\n1.8.%d kWh -3" % i for i in range(60)])
    for owner, name in (
        (pole.bridge.node, "offer"), (pole.bridge._writer, "put"), (pole.bridge._writer, "take"), (pole.bridge, "cut")
    ):  # fmt: skip
        real = getattr(owner, name)

        def full(*arguments, name=name, real=real):
            if name != "offer":
                real(*arguments)
            raise MemoryError

        setattr(owner, name, full)
        if name == "cut":
            pole.recorder.reading(clock.uptime_ms(), 1, 2, [123456789 + i for i in range(60)])
        pole.read(2)
        while not health.died:
            await asyncio.sleep_ms(5)
        assert health.died.pop()[0] == "mesh batches"
        setattr(owner, name, real)
        health.keep("mesh batches", pole.bridge.feed, 0)
        await site.until(lambda: all_there(site) and pole.bridge.place == pole.journal.next)
    assert pole.journal.next == 10
    site.end()


async def test_no_route_for_ten_minutes_is_told_and_its_end_too():
    site = Site()
    bridge, told = site.poles[0].bridge, []
    await site.until(lambda: bridge.node.routes.root)
    bridge.recorder.event = lambda slot, code, severity, state, detail: told.append((code, detail))
    now = clock.uptime_ms()
    bridge.look(now)
    bridge.look(now + 700000)
    assert told == []
    bridge.node.routes.root = 0
    bridge.look(now + 1200000)
    bridge.look(now + 1310000)
    bridge.look(now + 1320000)
    assert told == [("network_down", {"via": "mesh", "reason": "no route"})]
    bridge.node.routes.root = 100
    bridge.look(now + 1330000)
    assert told[1:] == [("network_up", {"via": "mesh"})]
    site.end()


async def test_what_is_not_as_it_should_be_is_an_event():
    site = Site()
    bridge, told = site.poles[0].bridge, []
    bridge.recorder.event = lambda slot, code, severity, state, detail: told.append((code, detail))
    for code in range(counts.KINDS):
        bridge.event(code, code)
    assert [one[0] for one in told] == ["mesh_trouble"] * counts.KINDS
    assert told[counts.FORGED][1] == {"what": "forged", "member": counts.FORGED}
    assert told[counts.DUPLICATE][1]["what"] == "duplicate" and told[counts.TIME][1]["what"] == "time"
    site.end()


async def test_a_radio_that_remembers_too_many_strangers_ends_in_a_reset_with_all_that_was_pending_stored():
    site = Site()
    pole, resets = site.poles[0], []
    pole.air.crowded = lambda: True
    bridge_module.machine = Any(reset=lambda: resets.append(pole.journal.next))
    pole.recorder.reading(clock.uptime_ms(), 1, 1, [1, 2])
    pole.bridge.look(500000)
    assert resets == []
    pole.bridge.look(700000)
    assert resets == [2], "the reading, and that there is no route"
    site.end()


def test_numbers_of_commands_grow_over_a_restart_and_without_the_time():
    from fake_mesh import Clock
    from fake_nvs import Nvs

    nvs = Nvs()
    one = root.Root(Clock(True), None, nvs, ("f", "g"), [], [])
    first = one.ident()
    assert first > 70000000, "seconds since 2024"
    assert one.ident() == first + 1
    blind = root.Root(Clock(False), None, nvs, ("f", "g"), [], [])
    assert blind.ident() == first + 2


async def test_a_root_whose_nvs_takes_nothing_asks_nobody_and_serves_on():
    def full():
        raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")

    site = Site()
    pole = site.poles[0]
    pole.read(1)
    await site.until(lambda: all_there(site))
    site.root.nvs.commit = full
    member = site.root.bridge.members.add(pole.bridge.node.id)
    member.firmware = ""
    site.root.bridge.ask(member, 0, 0)
    assert not member.asked
    member.firmware = "1"
    pole.read(1)
    await site.until(lambda: all_there(site) and pole.bridge.place == 2)
    site.end()
