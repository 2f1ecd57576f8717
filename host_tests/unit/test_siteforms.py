"""`meshems site new / check / keys`: the file that it begins is good, and the secrets it makes are nobody else's."""

import json
import re
import subprocess

import pytest
import tomlkit
from click.testing import CliRunner

from meshems.cli import main
from meshems.site import Site, secrets_file
from test_site import GOOD, made

TLS = GOOD.replace('host = "broker.example.org"', 'host = "broker.example.org"\ntls = {ca = "operator.der"}')


def run(*arguments, **more):
    return CliRunner().invoke(main, ["site", *map(str, arguments)], **more)


def with_tls(tmp_path, secrets=None):
    (tmp_path / "operator.der").write_bytes(b"\x30\x00")
    return made(tmp_path, TLS, secrets)


def test_a_new_site_is_good_and_has_what_was_asked_for(tmp_path):
    file = tmp_path / "site.toml"
    done = run(
        "new", file, "--yes", "--feeder", "feeder-7", "--gateways", 12, "--name", "mast-", "--broker",
        "mqtt.example.org:1884", "--wifi", 'the "village"', "--baud", "2400",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    site = Site.load(file)
    assert site.problems() == [] and site.names == [f"mast-{n:02}" for n in range(1, 13)]
    config = site.config("mast-07")
    assert config["feederId"] == "feeder-7" and config["buses"] == [{"uart": 1, "baud": 2400, "format": "8N1"}]
    assert config["uplinks"] == [{"name": "operator", "kind": "mqtt", "host": "mqtt.example.org", "port": 1884}]
    assert config["network"] == {"wifi": {"ssid": 'the "village"'}} and config["meters"] == []
    assert "meshems site keys" in done.output


def test_a_new_site_asks_for_what_is_not_given(tmp_path):
    file = tmp_path / "site.toml"
    answers = "feeder-3\n2\n\ndesktop\n9600\n10.0.0.5\n\n\nn\n"
    done = run("new", file, input=answers)
    assert done.exit_code == 0, done.output
    assert "Feeder that the gateways stand on [feeder-01]: " in done.output
    site = Site.load(file)
    assert site.names == ["pole-01", "pole-02"] and site.config("pole-01")["feederId"] == "feeder-3"
    assert site.config("pole-02")["uplinks"][0]["host"] == "10.0.0.5"


def test_a_new_mesh_has_one_root_and_each_its_id(tmp_path):
    file = tmp_path / "site.toml"
    run("new", file, "--yes", "--gateways", 3, "--mesh")
    rows = tomlkit.parse(file.read_text()).unwrap()["gateways"]
    assert [row["mesh"] for row in rows] == [{"id": 1, "root": True}, {"id": 2}, {"id": 3}]


def test_a_new_site_is_never_written_over_another(tmp_path):
    file = made(tmp_path)
    done = run("new", file, "--yes")
    assert done.exit_code == 2 and "expected none" in done.output and file.read_text() == GOOD
    done = run("new", tmp_path / "other.toml", input="")
    assert done.exit_code == 2 and "--yes" in done.output and not (tmp_path / "other.toml").exists()
    done = run("new", tmp_path / "no" / "such.toml", "--yes")
    assert done.exit_code == 2 and "found no such file or directory" in done.output


def test_check_tells_every_problem_and_ends_with_2(tmp_path):
    done = run("check", made(tmp_path, GOOD.replace("address = 2", "address = 0").replace("2400", "2401"), None))
    assert done.exit_code == 2
    assert ":20: gateways[0].meters[1].address: found 0, allowed integer 1..247" in done.output
    assert ":26: gateways[1].buses[1].baud: found 2401, allowed " in done.output
    assert done.output.endswith("is refused: 2 problems; correct them and run this again\n")


def test_check_of_a_good_site_says_what_it_has_and_what_may_be_forgotten(tmp_path):
    done = run("check", made(tmp_path, secrets=None))
    assert done.exit_code == 0 and "good: 2 gateways, 3 meters" in done.output
    assert "note: pole-01, pole-02: an open Wi-Fi: no network.wifi.password in site.secrets.toml" in done.output
    assert run("check", made(tmp_path)).output.splitlines() == [f"{tmp_path}/site.toml: good: 2 gateways, 3 meters"]


def test_check_for_scripts_is_one_json_object(tmp_path):
    good = json.loads(run("check", made(tmp_path), "--json").output)
    assert good["ok"] and good["problems"] == [] and good["notes"] == []
    assert good["gateways"][1] == {
        "gatewayId": "pole-02", "board": "desktop", "meters": 1, "uplinks": ["operator"], "mesh": None
    }  # fmt: skip
    done = run("check", made(tmp_path, GOOD.replace("address = 2", "address = 0")), "--json")
    bad = json.loads(done.output)
    assert done.exit_code == 2 and not bad["ok"]
    assert bad["problems"] == [{
        "file": f"{tmp_path}/site.toml", "line": 20, "path": "gateways[0].meters[1].address", "found": "0",
        "allowed": "integer 1..247",
    }]  # fmt: skip
    assert not json.loads(run("check", tmp_path / "none.toml", "--json").output)["ok"]


@pytest.mark.parametrize("command", ["check", "keys"])
def test_a_file_that_is_not_there_is_told_with_what_to_do(tmp_path, command):
    done = run(command, tmp_path / "none.toml")
    assert done.exit_code == 2
    assert re.search(r"none\.toml: found no such file.*expected a site's file; `meshems site new", done.output)


def test_keys_are_made_for_each_gateway_for_you_alone_and_never_shown(tmp_path):
    file = with_tls(tmp_path)
    done = run("keys", file)
    assert done.exit_code == 0, done.output
    hidden = secrets_file(file)
    assert hidden.stat().st_mode & 0o777 == 0o600
    site = Site.load(file)
    assert site.problems() == []
    logins = [site.secrets(name)["uplinks"]["operator"] for name in site.names]
    assert [login["username"] for login in logins] == site.names
    passwords = [login["password"] for login in logins]
    assert len(set(passwords)) == 2 and all(len(password) == 24 for password in passwords)
    assert not any(password in done.output for password in passwords) and "2 passwords" in done.output


def test_git_leaves_the_secrets_alone(tmp_path):
    file = with_tls(tmp_path)
    (tmp_path / ".gitignore").write_text("*.log")
    run("keys", file)
    assert (tmp_path / ".gitignore").read_text() == "*.log\nsite.secrets.toml\n"
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    status = subprocess.run(["git", "-C", tmp_path, "status", "--short"], capture_output=True, text=True, check=True)
    assert "site.toml" in status.stdout and "secrets" not in status.stdout
    run("keys", file)
    assert (tmp_path / ".gitignore").read_text().count("site.secrets.toml") == 1


def test_keys_that_are_there_are_kept_with_their_comments(tmp_path):
    file = with_tls(tmp_path, '# mine\n[uplinks.operator]\nusername = "all"\npassword = "given"  # by the operator\n')
    before = secrets_file(file).read_text()
    done = run("keys", file, "--json")
    assert json.loads(done.output)["made"] == [] and secrets_file(file).read_text() == before
    hidden = secrets_file(with_tls(tmp_path, '# mine\n[gateways.pole-02.uplinks.operator]\nusername = "given"  # so\n'))
    told = json.loads(run("keys", file, "--json").output)
    assert told["made"] == ["gateways.pole-01.uplinks.operator.password"]
    text = hidden.read_text()
    assert text.startswith("# mine\n") and 'username = "given"  # so' in text
    assert Site.load(file).problems() == [] and Site.load(file).secrets("pole-01")["uplinks"]["operator"]["password"]


def test_no_password_is_made_where_anybody_could_read_it(tmp_path):
    file = made(tmp_path, GOOD, None)
    assert json.loads(run("keys", file, "--json").output)["made"] == []
    assert Site.load(file).secrets("pole-01") == {}


def test_the_wifis_password_is_asked_for_and_not_shown(tmp_path):
    file = made(tmp_path, GOOD, None)
    done = run("keys", file, "--wifi-password", input="short\nsesame open\n")
    assert done.exit_code == 0 and "8 to 64" in done.output
    assert "sesame" not in done.output and "short" not in done.output
    assert Site.load(file).secrets("pole-01")["network"] == {"wifi": {"password": "sesame open"}}


def test_keys_of_a_site_that_is_refused_are_not_made(tmp_path):
    file = made(tmp_path, GOOD.replace("address = 2", "address = 0"), None)
    assert run("keys", file).exit_code == 2 and not secrets_file(file).exists()


def test_each_help_has_an_example():
    for command in ([], ["new"], ["check"], ["keys"]):
        assert "\n  meshems site " in run(*command, "--help").output
