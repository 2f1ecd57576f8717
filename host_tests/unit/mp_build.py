"""gateway/build: the settings of a line from those of its bus and its meters."""

from gateway import build

METERS = [{"bus": 0, "baud": 2400}, {"bus": 1, "format": "8E1"}, {"bus": 0}, {"bus": 1, "format": "8E1", "baud": 9600}]


def conf(meters):
    return {"buses": [{"uart": n, "baud": 9600, "format": "8N1"} for n in (1, 2)], "meters": meters}


def test_meters_of_several_settings_keep_theirs_and_the_bus_its_own():
    made = conf(METERS)
    assert build._ports(made, 0) == [(2400, "8N1"), (9600, "8N1")]
    assert made["buses"][0] == {"uart": 1, "baud": 9600, "format": "8N1"}


def test_a_bus_whose_meters_are_all_alike_is_set_like_them():
    made = conf(METERS)
    assert build._ports(made, 1) == [(9600, "8E1")]
    assert made["buses"][1] == {"uart": 2, "baud": 9600, "format": "8E1"}


def test_a_bus_without_meters_stays_as_it_is():
    made = conf([])
    assert build._ports(made, 0) == []
    assert made["buses"][0] == {"uart": 1, "baud": 9600, "format": "8N1"}
