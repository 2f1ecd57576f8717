"""`meshems provision` with the real mpremote, against the firmware that ships behind the REPL of a desktop board."""

import fcntl
import json
import os
import select
import threading
import time
import tty

import pytest

from meshems import provisioning
from meshems.benches.uplink_certs import Authority
from meshems.provisioning import Plan, Refused, carry_out
from meshems.remote import RemoteError, Session
from mosquitto import Broker
from repl_board import METERS, Cut, ReplBoard, command, in_force, metered, pulled, quiet
from subscriber import Subscriber
from test_uplink import Tls


def files(folder, mark, port=1, **more):
    """Write a gateway.json, a secrets.json and a certificate that bear `mark`; return the first one's path."""
    folder.mkdir(exist_ok=True)
    config = {
        "feederId": f"feeder-{mark}", "gatewayId": "pole-07", "board": "desktop", "buses": [{"uart": 1}],
        "meters": METERS, "clock": {"ntp": []},
        "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": port, "tls": {"ca": "ca.der"}}],
        **more,
    }  # fmt: skip
    (folder / "gateway.json").write_text(json.dumps(config))
    (folder / "secrets.json").write_text(json.dumps({"uplinks": {"operator": {"username": mark, "password": mark}}}))
    (folder / "ca.der").write_bytes(b"\x30" + mark.encode() * 90)
    return folder / "gateway.json"


def mark_of(state):
    """Return whose configuration is in force, "" for none; one whole, with its secrets and its certificate."""
    config, secrets, problems = in_force(state)
    if config is None:
        return ""
    marks = {config["feederId"].removeprefix("feeder-"), secrets["uplinks"]["operator"]["password"]}
    raw = (state / "ca.der").read_bytes()
    [mark] = marks
    assert raw == b"\x30" + mark.encode() * 90 and not problems
    return mark


@pytest.fixture
def board(tmp_path):
    with ReplBoard(tmp_path / "board", tmp_path / "port") as board:
        yield board


@pytest.fixture
def line(tmp_path):
    with metered(tmp_path / "line-1") as path:
        yield path


def test_a_bare_board_becomes_a_gateway_that_delivers(tmp_path, line):
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as operator:
        uplink = {"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": broker.port}
        config = files(tmp_path / "desk", "new", uplinks=[uplink])
        with ReplBoard(tmp_path / "board", tmp_path / "port", {1: line}) as board:
            assert not (board.state / "gateway.json").exists()
            status, out, err = command(
                "provision", "--config", config, "--port", board.port, "--installer", "Ada", "--out", tmp_path, "--json"
            )  # fmt: skip
            assert status == 0, out + err
            done = json.loads(out)
            tests = {row["test"]: row for row in done["tests"]}
            assert list(tests) == [
                "flash", "journal", "clock", "radio", "bus 0", "meter SN-1", "meter SN-2", "uplink operator"
            ]  # fmt: skip
            assert all(row["ok"] for row in done["tests"])
            assert tests["meter SN-1"]["found"] == "12 of 12 values" and tests["meter SN-1"]["serial"].isdigit()
            assert done["installer"] == "Ada" and done["clock"]["movedMs"] is None
            assert operator.wait(lambda: len(operator.bodies("telemetry")) >= 4, 20), board.lines
            kept = json.loads((board.state / "parsed.0").read_bytes()[8:])
            assert done["config"] == f"{kept[0]:08x}", "what the gateway says of itself"
            body = operator.bodies("telemetry")[-1]
            assert body["gatewayId"] == "pole-07" and body["feederId"] == "feeder-new"
            assert abs(time.time() - calendar_s(body["ts"])) < 30
    page, label = (tmp_path / "pole-07.pdf").read_text("latin1"), (tmp_path / "pole-07-label.svg").read_text()
    for text in ("pole-07", done["id"], done["config"], "Ada", "Self-test: good", "12 of 12 values"):
        assert f"{text}" in page
    assert page.startswith("%PDF-") and page.count("/Type /Page\n") == 1
    assert "pole-07" in label and done["config"] in label and label.count("<svg") == 2


def calendar_s(ts):
    from datetime import datetime

    return datetime.fromisoformat(ts.replace("Z", "+00:00")).timestamp()


@pytest.fixture
def cable(monkeypatch):
    return pulled(monkeypatch)


@pytest.mark.timeout(400)
def test_pulled_at_any_write_it_leaves_the_old_configuration_or_the_new_one_whole(tmp_path, board, cable, monkeypatch):
    monkeypatch.setattr("meshems.remote.READ_S", 0.5)
    old, new = (Plan.of_files(files(tmp_path / mark, mark)) for mark in ("old", "new"))
    carry_out(old, board.port, quiet, test=False)
    assert mark_of(board.state) == "old"
    outcomes = []
    while not outcomes or outcomes[-1] != "done":
        cable[0] = len(outcomes)
        try:
            carry_out(new, board.port, quiet, test=False)
            outcomes.append("done" if cable[0] >= 0 else "done late")
        except RemoteError as error:
            assert "the cable is out" in str(error) and "do it again" in str(error)
            outcomes.append("cut")
        cable[0] = None
        if len(outcomes) % 2:  # the cable was its supply too
            board.power_cut()
        found = mark_of(board.state)
        end = time.monotonic() + 10
        while "cut new" in outcomes and len(outcomes) % 2 == 0 and found == "old" and time.monotonic() < end:
            time.sleep(0.05)  # it may have been told, and is at it
            found = mark_of(board.state)
        assert found == ("new" if outcomes[-1].startswith("done") else found) and found in ("old", "new")
        outcomes[-1] += " " + found if outcomes[-1] == "cut" else ""
        if found == "new" and outcomes[-1] != "done":
            carry_out(old, board.port, quiet, test=False, replace=True)
            assert mark_of(board.state) == "old"
    first = outcomes.index("cut new")
    assert first > 50, "a provisioning is many writes"
    assert set(outcomes[:first]) == {"cut old"}
    late = [at for at in range(first, len(outcomes)) if outcomes[at] == "cut old"]
    # the supply may go before the board has carried out what was sent to it, and how many writes there are before that
    # depends on how fast it takes them
    assert late in ([], [first + 1]), outcomes[first:]


def test_what_was_put_into_force_before_a_power_cut_lands_before_anything_is_written_over_it(tmp_path, board):
    old, new, third = (Plan.of_files(files(tmp_path / mark, mark)) for mark in ("old", "new", "third"))
    carry_out(old, board.port, quiet, test=False)
    for name, data in new.files.items():  # as incoming.take leaves it when the power goes in the middle of its landing
        (board.state / ("new." + name)).write_bytes(data)
    (board.state / "new.secrets.json").rename(board.state / "secrets.json")
    (board.state / "incoming").write_text("\n".join(new.files))
    (board.state / "new.left.der").write_bytes(b"of an earlier call")
    write, wrote = Session.write, []

    def broken(session, path, data, *more):
        wrote.append(path)
        write(session, path, data[:9], *more)
        raise RemoteError("the cable is out")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "write", broken)
        with pytest.raises(RemoteError, match="the cable is out"):
            carry_out(third, board.port, quiet, test=False, replace=True)
    board.power_cut()
    assert wrote == ["new.gateway.json"] and mark_of(board.state) == "new"
    assert not (board.state / "new.left.der").exists()


def test_a_line_that_is_hung_up_is_told_with_what_to_do(tmp_path, board):
    config = files(tmp_path / "desk", "new")
    with Cable(board.port, tmp_path / "cable", 2000) as cable:
        status, out, err = command("provision", "--config", config, "--port", cable.port, "--out", tmp_path)
    assert status == 2 and "found the line broken off" in err and "plug the cable in" in err and "Traceback" not in err
    assert not (board.state / "gateway.json").exists() and not (tmp_path / "pole-07.pdf").exists()
    assert command("provision", "--config", config, "--port", board.port, "--out", tmp_path, "--no-test")[0] == 0
    assert mark_of(board.state) == "new"


class Cable:
    """A terminal at `port` that passes everything to another one, until it hangs up after `count` bytes to it."""

    def __init__(self, far, port, count):
        self.port = str(port)
        self._far = os.open(far, os.O_RDWR | os.O_NOCTTY)
        self._master, near = os.openpty()
        tty.setraw(near)
        port.symlink_to(os.ttyname(near))
        self._near = near
        self._left = count
        self._thread = threading.Thread(target=self._pass, daemon=True)

    def _pass(self):
        while True:
            ready, _, _ = select.select([self._far, self._master], [], [], 1)
            if self._far in ready:
                os.write(self._master, os.read(self._far, 4096))
            if self._master in ready:
                data = os.read(self._master, 4096)
                os.write(self._far, data[: self._left])
                self._left -= len(data)
                if self._left <= 0:
                    break
        os.close(self._master)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        os.close(self._near)
        os.close(self._far)


def test_a_port_that_says_nothing_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("meshems.remote.ENTER_S", (0.5,))
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        with pytest.raises(RemoteError) as caught:
            carry_out(Plan.of_files(files(tmp_path / "desk", "new")), os.ttyname(slave), quiet)
    finally:
        os.close(master)
        os.close(slave)
    text = str(caught.value)
    assert "found silence, expected the prompt of MicroPython" in text and "meshems flash --port" in text


def test_a_port_that_is_in_use_is_told_with_who_to_ask(tmp_path, board):
    taken = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(taken, fcntl.LOCK_EX)
    status, _, err = command("provision", "--config", files(tmp_path / "desk", "new"), "--port", board.port)
    os.close(taken)
    assert status == 2 and "found it taken by another program, expected it free" in err and "fuser" in err


def test_a_port_that_is_not_there_is_told(tmp_path):
    status, _, err = command("provision", "--config", files(tmp_path / "desk", "new"), "--port", tmp_path / "none")
    assert status == 2 and "none: no such serial port" in err and "meshems run --state ./board --repl" in err


def test_another_board_than_the_one_that_is_meant_is_left_alone(tmp_path, board):
    status, _, err = command(
        "provision", "--config", files(tmp_path / "desk", "new", board="esp32-generic"), "--port", board.port
    )  # fmt: skip
    assert status == 2 and "found a board of the kind desktop, expected esp32-generic for pole-07" in err
    assert not (board.state / "gateway.json").exists()


def test_another_pole_is_not_made_this_one_unless_it_is_said(tmp_path, board):
    old = Plan.of_files(files(tmp_path / "old", "old"))
    new = Plan.of_files(files(tmp_path / "new", "new", gatewayId="pole-08"))
    carry_out(old, board.port, quiet, test=False)
    with pytest.raises(RemoteError, match="found the gateway pole-07 on this board, expected pole-08 or none"):
        carry_out(new, board.port, quiet, test=False)
    assert mark_of(board.state) == "old"
    carry_out(new, board.port, quiet, test=False, replace=True)
    assert mark_of(board.state) == "new"


def test_what_the_desk_refuses_does_not_reach_the_board(tmp_path, board):
    config = files(tmp_path / "desk", "new", buses=[{"uart": 1, "baud": 9601}])
    starts = board.starts
    status, _, err = command("provision", "--config", config, "--port", board.port)
    assert status == 2 and "gateway.json: buses[0].baud: found 9601, allowed" in err and "1 to mend" in err
    assert board.starts == starts


def test_what_the_board_refuses_leaves_the_old_configuration_in_force(tmp_path, board):
    carry_out(Plan.of_files(files(tmp_path / "old", "old")), board.port, quiet, test=False)
    newer = Plan.of_files(files(tmp_path / "new", "new"))
    config = json.loads(newer.files["gateway.json"])
    newer.files["gateway.json"] = json.dumps({**config, "fromTheFuture": 1}).encode()
    with pytest.raises(Refused, match="refuses fromTheFuture: found unknown key"):
        carry_out(newer, board.port, quiet, test=False)
    assert mark_of(board.state) == "old"


def test_a_profile_that_the_board_has_not_got_is_brought_and_another_one_is_not_replaced(tmp_path, board):
    plan = Plan.of_files(files(tmp_path / "desk", "new"))
    known = json.loads(plan.profiles["abb-b23"])
    config = json.loads(plan.files["gateway.json"])
    config["meters"][1]["profile"] = "mine"
    plan.files["gateway.json"] = json.dumps(config).encode()
    plan.profiles["mine"] = json.dumps({**known, "id": "mine"}).encode()
    carry_out(plan, board.port, quiet, test=False)
    assert json.loads((board.state / "profiles" / "mine.json").read_text())["id"] == "mine"
    plan.profiles["mine"] = json.dumps({**known, "id": "mine", "n": "another"}).encode()
    with pytest.raises(RemoteError, match="found another profile mine on the board, expected the one of this checkout"):
        carry_out(plan, board.port, quiet, test=False)


def test_the_self_test_names_what_is_not_well_and_what_to_do(tmp_path, board):
    config = files(tmp_path / "desk", "new", uplinks=[
        {"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": 1},
    ])  # fmt: skip
    status, out, err = command("provision", "--config", config, "--port", board.port, "--out", tmp_path)
    assert status == 1, err
    assert "FAIL  meter SN-1: found no reply, expected: it answers; look at A and B" in out
    assert "FAIL  uplink operator: found 127.0.0.1: " in out
    assert "ok    flash: " in out and out.rstrip().endswith("3 of 8 tests failed: see above")


def test_the_self_test_sees_another_meter_and_a_wrong_password_of_the_wifi(tmp_path, line):
    more = {"network": {"wifi": {"ssid": "village"}}, "uplinks": [], "meters": [{**METERS[0], "device": "4711"}]}
    config = files(tmp_path / "desk", "new", **more)
    config.with_name("secrets.json").write_text(json.dumps({"network": {"wifi": {"password": "another long one"}}}))
    with ReplBoard(tmp_path / "board", tmp_path / "port", {1: line}) as board:
        (board.state / "network.json").write_text(json.dumps({"fail": "password"}))
        done = carry_out(Plan.of_files(config), board.port, quiet)
        tests = {row["test"]: row for row in done.tests}
        assert not tests["network"]["ok"] and tests["network"]["found"] == "wrong password"
        assert not tests["meter SN-1"]["ok"] and tests["meter SN-1"]["found"].endswith(", not of 4711")
        assert tests["radio"]["ok"] and len(done.failed) == 2
        (board.state / "network.json").write_text("{}")
        again = carry_out(Plan.of_files(config), board.port, quiet)
        assert [row["test"] for row in again.failed] == ["meter SN-1"]


def test_the_self_test_connects_with_tls_and_tells_of_a_broker_that_is_another(tmp_path, board):
    authority, stranger = Authority(tmp_path / "authority"), Authority(tmp_path / "stranger")
    with Tls(tmp_path / "tls", authority, "pole", "right").broker as broker:
        uplink = {"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "tls": {"ca": "ca.der"}}
        config = files(tmp_path / "desk", "new", uplinks=[uplink], meters=[])
        for der, password, found in (
            (authority, "right", "127.0.0.1: connected"), (authority, "wrong", "127.0.0.1: refused: not authorised"),
            (stranger, "right", "127.0.0.1: refused: "),
        ):  # fmt: skip
            config.with_name("ca.der").write_bytes(der.der.read_bytes())
            login = {"username": "pole", "password": password}
            config.with_name("secrets.json").write_text(json.dumps({"uplinks": {"operator": login}}))
            row = carry_out(Plan.of_files(config), board.port, quiet).tests[-1]
            assert row["test"] == "uplink operator" and row["found"].startswith(found), row
            assert row["ok"] == found.endswith("connected")


def test_a_session_that_breaks_off_ends_by_the_watchdog(tmp_path, board):
    with pytest.raises(Cut), Session(board.port, lease_ms=1000) as session:
        session._transport.serial.close()
        raise Cut
    until = time.monotonic() + 10
    while not any("watchdog was not fed" in line for line in board.lines) and time.monotonic() < until:
        time.sleep(0.05)
    assert any("watchdog was not fed" in line for line in board.lines)


def test_no_secret_is_printed_nor_on_paper(tmp_path, board):
    config = files(tmp_path / "desk", "new")
    config.with_name("secrets.json").write_text(
        json.dumps({"uplinks": {"operator": {"username": "new", "password": "hunter2-hunter2"}}})
    )
    status, out, err = command("provision", "--config", config, "--port", board.port, "--out", tmp_path, "--json")
    assert status == 1 and "hunter2" not in out + err
    assert b"hunter2" not in (tmp_path / "pole-07.pdf").read_bytes()
    assert "hunter2" not in (tmp_path / "pole-07-label.svg").read_text() + "\n".join(board.lines)
    assert provisioning.next_of({"test": "meter SN-1"}).startswith("look at A and B")


@pytest.mark.timeout(240)
def test_a_site_of_twelve_gateways_is_provisioned_from_its_one_file(tmp_path):
    from meshems.site import add_meters

    file = tmp_path / "site.toml"
    (tmp_path / "operator.der").write_bytes(b"\x30" + b"an authority" * 20)
    status, _, err = command(
        "site", "new", file, "--yes", "--feeder", "feeder-01", "--gateways", "12", "--name", "pole-", "--board",
        "desktop", "--broker", "127.0.0.1:1", "--ca", "operator.der", "--wifi", "", "--no-mesh",
    )  # fmt: skip
    assert status == 0, err
    names = [f"pole-{number:02}" for number in range(1, 13)]
    for number, name in enumerate(names):
        add_meters(file, name, [{**METERS[0], "serial": f"SN-{number}", "bus": 0}])
    assert command("site", "keys", file)[0] == 0 and command("site", "check", file)[0] == 0
    marks, passwords, codes = set(), set(), set()
    for name in names:
        with ReplBoard(tmp_path / name, tmp_path / f"{name}.port") as board:
            status, out, err = command(
                "provision", "--site", file, "--gateway", name, "--port", board.port, "--no-test", "--json", "--out",
                tmp_path / "paper",
            )  # fmt: skip
        assert status == 0, out + err
        done = json.loads(out)
        config, secrets, problems = in_force(board.state)
        assert (done["gatewayId"], config["gatewayId"], problems) == (name, name, 0)
        assert [meter["serial"] for meter in config["meters"]] == [f"SN-{names.index(name)}"]
        assert (board.state / "operator.der").read_bytes() == (tmp_path / "operator.der").read_bytes()
        passwords.add(secrets["uplinks"]["operator"]["password"])
        marks.add(done["config"])
        codes.add(done["id"])
    assert len(passwords) == len(marks) == len(codes) == 12
    assert len(list((tmp_path / "paper").iterdir())) == 24
    status, _, err = command("provision", "--site", file, "--gateway", "pole-13", "--port", "/dev/null")
    assert status == 2 and "found no pole-13, allowed pole-01, pole-02" in err
