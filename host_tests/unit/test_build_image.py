"""meshems build: each board's image taken apart with others' tools; what cannot be built says why."""

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from esp_idf_defs import PartitionTable
from esptool.bin_image import LoadFirmwareImage

import esp_images
from meshems import boards, build, cli, image, paths
from meshems.run import Gateway, interpreter

CHIPS = [name for name in boards.names() if name != "desktop"]
MAGIC_SIZE = {4: 0x20, 8: 0x30, 16: 0x40}


def config(board="esp32-generic", **keys):
    meters = [{"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120"}]
    return {
        "feederId": "feeder-01", "gatewayId": "pole-07", "board": board, "buses": [{"uart": 1}], "meters": meters,
        "uplinks": [],
    } | keys  # fmt: skip


def run(*words):
    return CliRunner().invoke(cli.main, ["build", *map(str, words)])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """{chip: (file of a stand-in for MicroPython, its SHA-256)}"""
    folder, made = tmp_path_factory.mktemp("base"), {}
    for chip in esp_images.CHIPS:
        data = esp_images.stand_in(chip)
        (folder / f"{chip}.bin").write_bytes(data)
        made[chip] = folder / f"{chip}.bin", hashlib.sha256(data).hexdigest()
    return made


@pytest.fixture(scope="module")
def built(base, tmp_path_factory):
    """{board: (folder, manifest)}, as the command makes them."""
    made = {}
    for name in CHIPS:
        file, sha256 = base[boards.read(name)["chip"]]
        out = tmp_path_factory.mktemp(name)
        done = run("--board", name, "--base", file, "--sha256", sha256, "--out", out)
        assert done.exit_code == 0, done.output
        made[name] = out, json.loads((out / "manifest.json").read_text())
    return made


@pytest.mark.parametrize("name", CHIPS)
def test_the_partition_table_is_read_by_others_and_has_what_the_firmware_looks_up(built, name):
    folder, manifest = built[name]
    board = boards.read(name)
    table = PartitionTable.from_binary((folder / "partition-table.bin").read_bytes())
    table.verify(partition_table_offset=0x8000)
    table.verify_size_fits(board["flashMb"] << 20)
    for label in ("vfs", "journal", *(["archive"] if "archive" in board["flash"] else [])):
        assert table[label].type == 1 and table[label].size == board["flash"][label]
    placed = {part["name"]: (part["offset"], part["room"]) for part in manifest["parts"]}
    assert {row.name: (row.offset, row.size) for row in table}.items() <= placed.items()
    assert table["factory"].offset == 0x10000 and table["nvs"].offset == 0x9000


@pytest.mark.parametrize("name", CHIPS)
def test_bootloader_and_program_are_images_that_esptool_accepts(built, name):
    folder, _ = built[name]
    board = boards.read(name)
    for part in ("bootloader", "factory"):
        made = LoadFirmwareImage(board["chip"], str(folder / f"{part}.bin"))
        assert made.checksum == made.calculate_checksum()
        assert made.stored_digest == made.calc_digest
    bootloader = LoadFirmwareImage(board["chip"], str(folder / "bootloader.bin"))
    assert bootloader.flash_size_freq & 0xF0 == MAGIC_SIZE[board["flashMb"]]


@pytest.mark.parametrize("name", CHIPS)
def test_the_plan_names_each_file_with_its_hash_and_nothing_overlaps(built, name):
    folder, manifest = built[name]
    board = boards.read(name)
    assert (manifest["board"], manifest["chip"], manifest["psram"]) == (name, board["chip"], board["psram"])
    assert manifest["flash_size"] == board["flashMb"] << 20
    files = {part["file"] for part in manifest["parts"] if part["file"]} | {"manifest.json"}
    assert files == {file.name for file in folder.iterdir()}
    end = 0
    for part in manifest["parts"]:
        assert part["offset"] >= end and part["offset"] % 4096 == 0 and part["size"] <= part["room"]
        end = part["offset"] + part["room"]
        if part["file"]:
            data = (folder / part["file"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (part["size"], part["sha256"])
        assert part["keep"] == (part["file"] is None) == (part["name"] in ("nvs", "phy_init", "journal", "archive"))
    assert end <= manifest["flash_size"]
    assert manifest["parts"][0]["offset"] == (0x1000 if board["chip"] == "esp32" else 0)


def test_esp32_generic_leaves_a_megabyte_and_a_half_for_the_journal(built):
    [journal] = [part for part in built["esp32-generic"][1]["parts"] if part["name"] == "journal"]
    assert journal["room"] >= 3 << 19


@pytest.mark.parametrize("name", CHIPS)
def test_the_file_system_has_the_firmware_its_data_and_no_configuration(built, name):
    files = image.contents((built[name][0] / "vfs.bin").read_bytes())
    modules = {str(file.relative_to(paths.FIRMWARE).with_suffix("")) for file in paths.FIRMWARE.rglob("*.py")}
    assert {path.removesuffix(".mpy") for path in files if path.endswith(".mpy")} == modules - {"boot", "main"}
    assert {path for path in files if path.endswith(".py")} == {"boot.py", "main.py"}
    schemas = {str(file.relative_to(paths.FIRMWARE)) for file in paths.FIRMWARE.glob("schema/*.json")}
    assert {path for path in files if path.endswith(".json")} == schemas | {"board.json"}
    for path in schemas:
        assert json.loads(files[path]) == json.loads((paths.FIRMWARE / path).read_text())
    profiles = [json.loads(file.read_text()) for file in sorted(paths.PROFILES.glob("*.json"))]
    assert [json.loads(line) for line in files["profiles.jsonl"].splitlines()] == profiles
    assert json.loads(files["board.json"]) == boards.for_device(boards.read(name))


def test_every_module_has_the_bytecode_of_the_chip_and_loads(built, tmp_path):
    """Version 6, no machine code, small ints of 31 bits: what MicroPython 1.28 and 1.29 load on both chips."""
    for name in CHIPS:
        for path, data in image.contents((built[name][0] / "vfs.bin").read_bytes()).items():
            if path.endswith(".mpy"):
                assert (data[:1], data[1], data[2], data[3]) == (b"M", 6, 0, 31), path
    files = image.contents((built["nesl-865b"][0] / "vfs.bin").read_bytes())
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    names = [path.removesuffix(".mpy").replace("/", ".") for path in files if path.endswith(".mpy")]
    names = sorted(name.removesuffix(".__init__") for name in names)
    program = "".join(f"import {name}\n" for name in names) + "import boot\nprint('all')\n"
    environment = os.environ | {"MICROPYPATH": f"{paths.BOARDS / 'desktop'}:{tmp_path}:.frozen"}
    command = [interpreter(), "-X", "heapsize=4M", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["all"], done.stdout + done.stderr
    assert len(names) > 60


def unpacked(folder, firmware):
    """Write what an image holds to the folder `firmware`; board.json stays that of the desk."""
    for path, data in image.contents((folder / "vfs.bin").read_bytes()).items():
        if path != "board.json":
            (firmware / path).parent.mkdir(parents=True, exist_ok=True)
            (firmware / path).write_bytes(data)


def test_the_firmware_finds_each_profile_in_the_image_and_one_of_the_installers_before_it(built, tmp_path):
    unpacked(built["esp32-generic"][0], tmp_path)
    (tmp_path / "profiles").mkdir()
    mine = json.loads((paths.PROFILES / "orno-we514.json").read_text())
    for name in ("orno-we514", "my-own"):
        (tmp_path / "profiles" / f"{name}.json").write_text(json.dumps(mine | {"id": name, "n": "mine"}))
    known = {file.stem: json.loads(file.read_text()) for file in paths.PROFILES.glob("*.json")}
    program = (
        "import json\nfrom gateway import data, scan\n"
        f"print(json.dumps([data.load('profiles/%s.json' % name)['n'] for name in {sorted(known)}]))\n"
        "print(json.dumps([row[1] for row in scan.profiles()]))\n"
        "try: data.load('profiles/eastron.json')\n"
        "except OSError as error: print(error.errno)\n"
    )
    environment = os.environ | {"MICROPYPATH": f"{paths.BOARDS / 'desktop'}:{tmp_path}:.frozen"}
    done = subprocess.run([interpreter(), "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    loaded, scanned, errno = done.stdout.splitlines()
    assert json.loads(loaded) == ["mine" if name == "orno-we514" else known[name]["n"] for name in sorted(known)]
    assert sorted(json.loads(scanned)) == sorted([name for name in known if "probe" in known[name]] + ["my-own"])
    assert errno == "2"


def test_the_gateway_starts_from_what_the_image_holds(built, tmp_path, monkeypatch):
    firmware = tmp_path / "firmware"
    unpacked(built["nesl-865b"][0], firmware)
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "gateway.json").write_text(json.dumps(config("desktop")))
    monkeypatch.setenv("MESHEMS_FIRMWARE", str(firmware))
    spoken = threading.Event()
    gateway = Gateway(tmp_path / "board", {}, lambda line: "boot 1" in line and spoken.set())
    gateway.start()
    try:
        assert spoken.wait(20), list(gateway.lines)
    finally:
        assert gateway.stop() == 0


def test_two_builds_are_the_same_to_the_byte(base, built, tmp_path):
    """In another process, another folder, at another time, with another seed of hashes."""
    file, sha256 = base["esp32s3"]
    command = [sys.executable, "-m", "meshems.cli", "build", "--board", "nesl-865b", "--base", file, "--sha256", sha256]
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Africa/Lagos"}
    subprocess.run([*command, "--out", "again"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    first = {file.name: file.read_bytes() for file in built["nesl-865b"][0].iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == first


def test_only_the_profiles_of_a_configuration_are_taken(base, tmp_path):
    file, sha256 = base["esp32"]
    (tmp_path / "gateway.json").write_text(json.dumps(config()))
    words = ("--board", "esp32-generic", "--base", file, "--sha256", sha256, "--out", tmp_path / "out")
    done = run(*words, "--config", tmp_path / "gateway.json")
    assert done.exit_code == 0, done.output
    files = image.contents((tmp_path / "out" / "vfs.bin").read_bytes())
    [profile] = files["profiles.jsonl"].splitlines()
    assert json.loads(profile)["id"] == "eastron-sdm120"
    assert "gateway.json" not in files


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"board": "nesl-865b"}, 'board: found "nesl-865b", allowed "esp32-generic"'),
        ({"buses": [{"uart": 3}]}, "buses[0].uart: found 3, allowed a UART of esp32-generic: [1, 2]"),
        ({"network": {"ethernet": True}}, "network.ethernet: found true, allowed not on esp32-generic"),
        ({"meters": [{}]}, "meters[0].serial: found nothing, allowed string 1..32"),
    ],
)
def test_a_configuration_that_is_not_for_this_board_is_refused(base, tmp_path, changes, text):
    file, sha256 = base["esp32"]
    (tmp_path / "gateway.json").write_text(json.dumps(config(**changes)))
    words = ("--board", "esp32-generic", "--base", file, "--sha256", sha256, "--config", tmp_path / "gateway.json")
    done = run(*words, "--out", tmp_path / "out")
    assert done.exit_code == 2 and text in done.output
    assert not (tmp_path / "out").exists()
    told = json.loads(run(*words, "--json").output.splitlines()[0])
    assert any(text in line for line in told["problems"])


def test_the_desktops_image_is_a_folder_that_meshems_run_takes(tmp_path):
    done = run("--board", "desktop", "--out", tmp_path)
    assert done.exit_code == 0 and "MESHEMS_FIRMWARE=" in done.output
    assert (tmp_path / "firmware/gateway/app.mpy").exists() and not (tmp_path / "firmware/board.json").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["parts"] == []


def test_a_base_with_another_hash_is_refused_with_both(base, tmp_path):
    file, sha256 = base["esp32"]
    done = run("--board", "esp32-generic", "--base", file, "--out", tmp_path)
    row = build.known(boards.read("esp32-generic"), build.DEFAULT)
    assert done.exit_code == 1
    assert f"found SHA-256 {sha256}, expected {row['sha256']} of {row['file']}" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_base_for_another_chip_is_refused(base, tmp_path):
    file, sha256 = base["esp32"]
    done = run("--board", "nesl-865b", "--base", file, "--sha256", sha256, "--out", tmp_path)
    assert done.exit_code == 1 and "found an image for chip 0, expected one for chip 9" in done.output


def test_a_program_too_large_for_its_partition_is_refused_with_both_sizes(tmp_path):
    data = esp_images.stand_in("esp32", b"x" * 1900000)
    (tmp_path / "base.bin").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    words = ("--board", "esp32-generic", "--base", tmp_path / "base.bin", "--sha256", sha256)
    done = run(*words, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "factory: found 19003" in done.output and "expected at most 1769472" in done.output


@pytest.mark.parametrize(
    "words, status, text",
    [
        (("--board", "raspberry"), 2, "raspberry: no such board; there are desktop"),
        (("--board", "nesl-865b", "--micropython", "1.2.3"), 1, "SPIRAM_OCT, expected one of 1.28.0, 1.29.0"),
        (("--board", "nesl-865b", "--base", "/nowhere.bin"), 1, "/nowhere.bin: No such file"),
        (("--board", "nesl-865b", "--sha256", "00"), 2, "found no --base"),
        (("--board", "nesl-865b", "--config", "/nowhere.json"), 1, "/nowhere.json: No such file"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(words, status, text):
    done = run(*words)
    assert done.exit_code == status and text in done.output
    assert text in json.loads(run(*words, "--json").output.splitlines()[0])["error"]


def test_help_has_an_example_and_the_table_says_what_is_left(base, tmp_path):
    assert "meshems build --board nesl-865b" in run("--help").output
    file, sha256 = base["esp32"]
    done = run("--board", "esp32-generic", "--base", file, "--sha256", sha256, "--out", tmp_path)
    rows = {line.split()[0]: line.split() for line in done.output.splitlines()}
    assert rows["journal"][1:] == ["0x280000", "(kept)", "1572864"]
    offset, used, room, left = rows["vfs"][1:]
    assert (offset, int(room)) == ("0x1c0000", 786432) and int(used) + int(left) == int(room)


def test_a_file_system_that_leaves_no_room_for_the_gateways_own_files_is_refused(base):
    file, sha256 = base["esp32"]
    board = boards.read("esp32-generic")
    made = build.Base(file.read_bytes(), "own", "ESP32_GENERIC", file.name)
    used = build.make(board, made).used
    board["flash"]["vfs"] = used + build.ROOM
    assert build.make(board, made).manifest["parts"]
    board["flash"]["vfs"] -= 4096
    with pytest.raises(build.BuildError, match=r"found 94208 bytes left, expected at least 98304 .* --config FILE"):
        build.make(board, made)


def test_every_board_has_an_image_whose_hash_is_known():
    for name in CHIPS:
        row = build.known(boards.read(name), build.DEFAULT)
        assert len(bytes.fromhex(row["sha256"])) == 32
        assert row["file"].startswith(build.variant(boards.read(name)) + "-2")
        assert row["file"].endswith(f"v{row['version']}.bin")
        start = boards.CHIPS[boards.read(name)["chip"]].bootloader
        assert row["size"] - (0x10000 - start) <= boards.read(name)["flash"]["factory"]
    assert build.variant(boards.read("nesl-865b")) == "ESP32_GENERIC_S3-SPIRAM_OCT"
    assert build.variant(boards.read("nesl-865b-v1")) == "ESP32_GENERIC_S3"
    assert build.variant(boards.read("esp32-generic")) == "ESP32_GENERIC"
    wrover = boards.read("esp32-generic") | {"psram": "quad", "psramMb": 4}
    assert build.variant(wrover) == "ESP32_GENERIC-SPIRAM"
    with pytest.raises(build.BuildError, match="found no SHA-256 of ESP32_GENERIC-SPIRAM, expected one of none; "):
        build.known(wrover, build.DEFAULT)


class Site(http.server.BaseHTTPRequestHandler):
    """Stands for the project's site."""

    def do_GET(self):
        """Answer with the file of that name."""
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path.strip("/"))
        self.send_response(200 if data is not None else 404)
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *words):
        """Say nothing."""


@contextlib.contextmanager
def site(files):
    """A web server with these files: yields (its address, the paths that were asked for)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.files, server.asked = files, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", server.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def row(base):
    file, sha256 = base["esp32"]
    size = file.stat().st_size
    return {"version": "1.29.0", "variant": "ESP32_GENERIC", "file": "made-up.bin", "size": size, "sha256": sha256}


def test_an_image_is_fetched_once_checked_and_kept(base, row, tmp_path):
    data, steps = base["esp32"][0].read_bytes(), []
    with site({"made-up.bin": data}) as (address, asked):
        for _ in range(2):
            got = build.fetched(row, tmp_path, address, steps.append)
            assert (got.data, got.version, got.file) == (data, "1.29.0", "made-up.bin")
        assert asked == ["/made-up.bin"] and steps[-1] == len(data)
    assert [file.name for file in tmp_path.iterdir()] == ["made-up.bin"]


def test_an_image_that_rotted_in_the_cache_is_fetched_again(base, row, tmp_path):
    (tmp_path / "made-up.bin").write_bytes(b"rotten")
    with site({"made-up.bin": base["esp32"][0].read_bytes()}) as (address, asked):
        build.fetched(row, tmp_path, address)
        assert len(asked) == 1


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1], lambda data: data + b"x" * 99999, lambda data: data[:-1] + b"!"]
)
def test_an_image_with_another_hash_is_not_kept(base, row, tmp_path, spoil):
    wrong, error = spoil(base["esp32"][0].read_bytes()), "it is not the image that was published"
    with site({"made-up.bin": wrong}) as (address, _), pytest.raises(build.BuildError, match=error):
        build.fetched(row, tmp_path, address)
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_does_not_answer_is_named_and_the_way_around_it(row, tmp_path):
    error = r"found Not Found, expected \d+ bytes; .* --base made-up.bin"
    with site({}) as (address, _), pytest.raises(build.BuildError, match=error):
        build.fetched(row, tmp_path, address)
    with pytest.raises(build.BuildError, match="Connection refused"):
        build.fetched(row, tmp_path, address)
