"""The demo of a site has the site's own gateways, lines and meters; only what a desk has not is put in its place."""

import json

import pytest
from click.testing import CliRunner

from meshems import paths
from meshems.cli import main
from meshems.demo import Fleet, PlanError, Trouble
from meshems.run import check
from meshems.sim.line import Settings
from meshems.sim.spec import problems
from meshems.site import Site
from meshems.sitedemo import plan_of
from test_site import GOOD, made


def plan(tmp_path, text=GOOD, **options):
    site = Site.load(made(tmp_path, text))
    assert site.problems() == []
    return plan_of(site, 60, **options)


def test_gateways_lines_and_meters_are_those_of_the_site(tmp_path):
    got = plan(tmp_path)
    assert got.gateways == ["pole-01", "pole-02"] and got.every == 5
    assert [(wire.name, wire.uart, wire.settings) for wire in got.wires] == [
        ("pole-01", 1, Settings(9600, "8N1")), ("pole-02.2", 2, Settings(2400, "8N1"))
    ]  # fmt: skip
    assert [(p.number, p.serial, p.gateway, p.bus, p.address, p.profile) for p in got.places] == [
        (1, "SN-1", "pole-01", 0, 1, "eastron-sdm120"), (2, "SN-2", "pole-01", 0, 2, "abb-b23"),
        (3, "SN-3", "pole-02", 1, 1, "eastron-sdm120"),
    ]  # fmt: skip


def test_what_the_gateways_are_given_is_valid_and_goes_to_the_demos_own_broker(tmp_path):
    text = GOOD.replace('host = "broker.example.org"', 'host = "broker.example.org"\nfilter = {kinds = ["event"]}')
    text = text.replace('board = "desktop"', 'board = "desktop"\nviews = [{every = 900}]\nintervals = {}\nchecks = {}')
    root = tmp_path / "demo"
    root.mkdir()
    Fleet(plan(tmp_path, text), root, 4711)
    for name in ("pole-01", "pole-02"):
        assert check(root / name / "gateway.json") == []
        assert not (root / name / "secrets.json").exists()
        config = json.loads((root / name / "gateway.json").read_text())
        assert config["gatewayId"] == name and config["feederId"] == "feeder-01" and config["board"] == "desktop"
        assert [(uplink["host"], uplink["port"]) for uplink in config["uplinks"]] == [("127.0.0.1", 4711)]
        assert {meter["every"] for meter in config["meters"]} == {5}
        assert set(config) == {
            "feederId", "gatewayId", "board", "buses", "meters", "uplinks", "clock", "checks"
        }  # fmt: skip
    spec = json.loads((root / "pole-02.2.spec").read_text())
    assert [unit["serial"] for unit in spec["units"]] == ["SN-3"]


def test_a_meter_with_settings_of_its_own_is_simulated_with_them(tmp_path):
    own = 'address = 2, baud = 2400, format = "8E1"'
    text = GOOD.replace("address = 2", own)
    got = plan(tmp_path, text)
    assert got.places[1].settings == Settings(2400, "8E1") and got.places[0].settings is None
    root = tmp_path / "demo"
    root.mkdir()
    Fleet(got, root, 4711)
    spec = json.loads((root / "pole-01.spec").read_text())
    assert [(unit.get("baud"), unit.get("format")) for unit in spec["units"]] == [(None, None), (2400, "8E1")]
    assert problems(spec, paths.PROFILES) == []


def test_a_line_with_many_meters_is_read_as_often_as_it_can_carry(tmp_path):
    def crowded(last):
        rows = "\n".join(f'  {{serial = "X-{n}", address = {n}, profile = "abb-b23"}},' for n in range(10, last))
        return GOOD.replace('  {serial = "SN-2"', rows + '\n  {serial = "SN-2"')

    got = plan(tmp_path, crowded(50))
    assert got.every > 5 and got.busy_s() <= 0.8 * got.every
    assert got.configs["pole-01"]["meters"][7]["every"] == got.every
    with pytest.raises(PlanError, match="expected at most 240 s: give them more buses"):
        plan(tmp_path, crowded(240).replace("baud = 9600", "baud = 1200"))


def test_faults_and_power_cuts_name_the_meters_and_gateways_of_the_site(tmp_path):
    got = plan(tmp_path, faults=["dead:SN-3@20-40"], kills=["pole-02@30"])
    assert got.troubles == [Trouble("silent", "SN-3", 20, 40)] and got.kills == [("pole-02", 30.0)]
    with pytest.raises(PlanError, match="pole-01, pole-02"):
        plan(tmp_path, kills=["pole-1@30"])


def test_a_site_that_cannot_be_shown_is_refused_with_what_to_do(tmp_path):
    def run(*arguments):
        done = CliRunner().invoke(main, ["demo", *map(str, arguments)])
        assert done.exit_code == 2
        return done.output

    assert "expected a site's file; `meshems site new" in run("--site", tmp_path / "none.toml")
    wrong = made(tmp_path, GOOD.replace("address = 2", "address = 0"))
    assert ":20: gateways[0].meters[1].address" in run("--site", wrong)
    assert "--gateways" in run("--site", made(tmp_path), "--gateways", 3)
    new = tmp_path / "new.toml"
    CliRunner().invoke(main, ["site", "new", str(new), "--yes"])
    assert "found no meters, expected at least one" in run("--site", new)
