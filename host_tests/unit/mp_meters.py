"""gateway/meters: the settings of a line, the meters' own numbers, codes that no profile has."""

from gateway import data, log, meters
from gateway.ids import Ids

METERS = [{"bus": 0, "baud": 2400}, {"bus": 1, "format": "8E1"}, {"bus": 0}, {"bus": 1, "format": "8E1", "baud": 9600}]


def conf(rows):
    return {"buses": [{"uart": n, "baud": 9600, "format": "8N1"} for n in (1, 2)], "meters": rows}


def test_meters_of_several_settings_keep_theirs_and_the_bus_its_own():
    made = conf(METERS)
    assert meters._ports(made, 0) == [(2400, "8N1"), (9600, "8N1")]
    assert made["buses"][0] == {"uart": 1, "baud": 9600, "format": "8N1"}


def test_a_bus_whose_meters_are_all_alike_is_set_like_them():
    made = conf(METERS)
    assert meters._ports(made, 1) == [(9600, "8E1")]
    assert made["buses"][1] == {"uart": 2, "baud": 9600, "format": "8E1"}


def test_a_bus_without_meters_stays_as_it_is():
    made = conf([])
    assert meters._ports(made, 0) == []
    assert made["buses"][0] == {"uart": 1, "baud": 9600, "format": "8N1"}


NUMBER = "\n0.0.96.1.1.255 text 0"


def made(rows, **more):
    """The meters of one bus; `rows` of profile and every, in s."""
    found = [
        {"serial": "S%d" % i, "bus": 0, "address": i + 1, "profile": name, "every": every}
        for i, (name, every) in enumerate(rows)
    ]
    return meters.made(dict(conf(found), buses=conf([])["buses"][:1], **more), Ids())[0][1]


def test_a_serial_that_numbers_and_meters_both_know_is_one_text_in_memory():
    serial = "-".join([METERS[1]["format"]] * 4)
    Ids().slot(serial)
    ids = Ids()  # the next start, with the text from flash
    assert ids.slot(serial) == 1 and ids.names().serial(1) is serial


def reads(meter):
    """[(function, address, count, each so-manyth time)] of a meter's batches."""
    return [batch.block()[:3] + (batch.every,) for batch in meter.batches]


def test_without_checks_a_meters_own_number_costs_nothing():
    for name in ("eastron-sdm120", "gavazzi-em111", "deye-1p"):
        (meter,) = made([(name, 60)])
        blocks = data.load("profiles/%s.json" % name)["blk"]
        assert reads(meter) == [tuple(block) for block in blocks]
        assert NUMBER not in Ids().names().columns(meter.schema)


def test_with_checks_it_is_read_last_and_once_a_day():
    for name, own in (("eastron-sdm120", (3, 64512, 2)), ("gavazzi-em111", (3, 20480, 7)), ("deye-1p", (3, 3, 5))):
        (meter,) = made([(name, 60)], checks={})
        assert reads(meter)[-1] == own + (1440,)
        assert Ids().names().columns(meter.schema).endswith(NUMBER)
    slow, fast = made([("eastron-sdm120", 900), ("eastron-sdm120", 60)], checks={})
    assert slow.batches is fast.batches and reads(slow)[-1][3] == 96
    assert reads(made([("eastron-sdm120", 86400)], checks={})[0])[-1][3] == 1
    assert len(reads(made([("chint-ddsu666", 60)], checks={})[0])) == 3  # its profile knows of none


def test_no_two_reads_of_a_function_are_of_one_length_with_the_number_among_them():
    count = 0
    for name in ("abb-b23 deye-1p deye-3p-lv eastron-sdm120 eastron-sdm230 eastron-sdm630 eastron-sdm72dm "
                 "eastron-sdm72dm2 gavazzi-em111 gavazzi-em24 inepro-pro380 orno-we516 schneider-iem3155 "
                 "taiye-tac4300").split():  # fmt: skip
        (meter,) = made([(name, 60)], checks={})
        lengths = []
        for batch in meter.batches:
            function, _, size, probe, _, _ = batch.block()
            lengths.append((function, size))
            others = [one.block()[2] for one in meter.batches if one is not batch and one.block()[0] == function]
            assert probe not in others, name  # a late reply to a probe fits no other read either
        assert len(set(lengths)) == len(lengths), name
        count += 1
    assert count == 14


def told(rows, **more):
    """The warnings of a start."""
    found = []
    kept, log.warn = log.warn, lambda name, text: found.append(text)
    try:
        made(rows, **more)
    finally:
        log.warn = kept
    return found


def test_a_code_that_no_profile_has_is_told_at_the_start():
    rows = [("eastron-sdm120", 60), ("chint-ddsu666", 60)]
    assert told(rows, views=[{"points": ["1.8.0", "15.8.0"]}, {"every": 900}]) == []
    views = [{"every": 900}, {"points": ["1.8.0", "16.70"]}]
    assert told(rows, views=views) == ["views[1].points: found 16.70, allowed a code of a meter's profile"]
    assert told(rows, intervals={"points": ["9.7.0", "16.7"]}) == [
        "intervals.points: found 16.7, allowed a code of a meter's profile"
    ]
    assert told([("eastron-sdm72dm", 60)], intervals={"points": USUAL}) == []
    assert told(rows) == []


USUAL = data.load("schema/gateway.json")["properties"]["intervals"]["properties"]["points"]["default"]


def test_what_intervals_are_of_when_nothing_is_said_is_never_told():
    assert told([("xy-md02", 60)], intervals={"points": USUAL}) == []
