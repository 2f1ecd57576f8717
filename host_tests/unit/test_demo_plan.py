"""What the demo will do follows from its options, and an option that makes no sense is refused in one line."""

import json

import pytest

from meshems import paths
from meshems.demo import Plan, PlanError


def phases(profile):
    return json.loads((paths.PROFILES / f"{profile}.json").read_text())["ph"]


def test_twelve_meters_on_two_gateways():
    plan = Plan.of(2, 12, 60)
    assert plan.gateways == ["pole-1", "pole-2"]
    assert [place.serial for place in plan.places] == [f"SN-{n}" for n in range(1, 13)]
    assert [place.gateway for place in plan.places] == ["pole-1"] * 6 + ["pole-2"] * 6
    assert [place.address for place in plan.places] == [1, 2, 3, 4, 5, 6] * 2
    assert len({place.profile for place in plan.places}) >= 4
    assert sum(phases(place.profile) == 3 for place in plan.places) >= 2


@pytest.mark.parametrize(("gateways", "meters"), [(1, 1), (3, 7), (4, 10), (5, 5), (7, 40)])
def test_meters_are_split_evenly_and_each_address_is_used_once(gateways, meters):
    plan = Plan.of(gateways, meters, None)
    sizes = [sum(place.gateway == name for place in plan.places) for name in plan.gateways]
    assert sum(sizes) == meters and max(sizes) - min(sizes) <= 1
    for name, size in zip(plan.gateways, sizes, strict=True):
        assert [place.address for place in plan.places if place.gateway == name] == list(range(1, size + 1))


def test_a_fault_names_a_meter_by_serial_or_number():
    plan = Plan.of(2, 12, 60, ["dead:SN-3@20-40", "crc:4@1-2"])
    assert [(t.kind, t.serial, t.start_s, t.end_s) for t in plan.troubles] == [
        ("silent", "SN-3", 20, 40),
        ("crc", "SN-4", 1, 2),
    ]


def test_faults_and_power_cuts_excuse_a_meter_for_their_span_and_one_period():
    plan = Plan.of(2, 4, 60, ["dead:SN-4@20-40"], ["pole-1@30", "pole-2@50"])
    assert sorted(plan.excused(60)) == [("SN-1", 20), ("SN-2", 20), ("SN-3", 10), ("SN-4", 10), ("SN-4", 25)]


def test_spans_that_overlap_excuse_only_once():
    plan = Plan.of(1, 1, 60, ["dead:SN-1@10-30"], ["pole-1@20"])
    assert sum(seconds for _, seconds in plan.excused(60)) == 30


def test_what_lies_behind_the_end_excuses_nothing():
    assert Plan.of(1, 1, 30, ["dead:SN-1@40-50"]).excused(30) == []


@pytest.mark.parametrize(
    ("faults", "kills", "word"),
    [
        (["dead:SN-99@1-2"], [], "no meter SN-99"),
        (["dead:SN-1"], [], "KIND:SERIAL@FROM-TO"),
        (["dead:SN-1@5-5"], [], "KIND:SERIAL@FROM-TO"),
        (["sleepy:SN-1@1-2"], [], "KIND is dead"),
        ([], ["pole-3@5"], "pole-1, pole-2"),
        ([], ["pole-1"], "GATEWAY@SECOND"),
    ],
)
def test_a_fault_or_kill_that_makes_no_sense_is_refused(faults, kills, word):
    with pytest.raises(PlanError, match=word):
        Plan.of(2, 12, 60, faults, kills)


def test_more_meters_than_a_line_can_carry_are_refused_with_a_way_out():
    with pytest.raises(PlanError, match="use more --gateways"):
        Plan.of(1, 60, 60)
    with pytest.raises(PlanError, match="at least one each"):
        Plan.of(3, 2, 60)
