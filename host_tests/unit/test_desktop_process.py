"""The desktop board as a process: resets, Ctrl-C, power cuts, and a clock that needs no time zone."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from mp_plugin import ROOT, environment, micropython


@pytest.fixture
def board(tmp_path):
    started = []

    def start(text, **variables):
        process = subprocess.Popen(
            [micropython(), "-c", text], cwd=tmp_path, env=environment(ROOT / "host_tests" / "unit") | variables,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        limit = threading.Timer(20, process.kill)  # a program that hangs says nothing more
        limit.start()
        started.append((process, limit))
        return process

    yield start
    for process, limit in started:
        limit.cancel()
        process.kill()
        process.wait()


def ends(process):
    """Returns the exit status and the output."""
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


def test_a_reset_ends_the_process_with_75_from_wherever_it_is_called(board):
    program = """import asyncio, machine
async def task():
    try:
        machine.reset()
    except Exception:
        print('caught')
async def main():
    asyncio.create_task(task())
    await asyncio.sleep(5)
asyncio.run(main())
"""
    assert ends(board(program)) == (75, "")


def test_the_parent_says_why_it_was_started(board):
    assert ends(board("import machine\nprint(machine.reset_cause())", MESHEMS_RESET_CAUSE="3")) == (0, "3\n")


def test_ctrl_c_leaves_asyncio_run_and_an_orderly_end_can_follow(board):
    process = board("""import asyncio
async def busy():
    while True:
        await asyncio.sleep_ms(1)
async def main():
    asyncio.create_task(busy())
    print('up')
    await asyncio.sleep(60)
async def close():
    await asyncio.sleep_ms(20)
    print('closed')
try:
    asyncio.run(main())
except KeyboardInterrupt:
    asyncio.run(close())
""")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert ends(process) == (0, "closed\n")


def test_ctrl_c_reaches_a_program_that_waits_for_the_wire(board):
    process = board("""import machine
u = machine.UART(1, 1200, tx=17, rx=18, timeout=30000)
try:
    print('up')
    u.read(1)
except KeyboardInterrupt:
    print('stopped')
""")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert ends(process) == (0, "stopped\n")


def test_a_kill_loses_nothing_that_was_programmed(board, tmp_path):
    process = board("""from esp32 import Partition
part = Partition('journal')
for n in range(1, 250000):
    part.writeblocks(0, n.to_bytes(4, 'big'), n * 4)
    print(n)
""")
    last = [process.stdout.readline() for _ in range(300)][-1]
    process.kill()
    said = (last + process.communicate()[0]).split("\n")
    done = int(said[-2])  # the last line that is whole
    image = (tmp_path / "flash" / "journal.bin").read_bytes()
    assert done >= 300
    assert all(image[n * 4 : n * 4 + 4] == n.to_bytes(4, "big") for n in range(1, done + 1))
    assert image[(done + 2) * 4 :].strip(b"\xff") == b""


def test_a_kill_loses_what_was_not_committed_and_no_more(board):
    process = board("""import esp32
nvs = esp32.NVS('gw')
nvs.set_i32('boot', 1)
nvs.commit()
nvs.set_i32('boot', 2)
print('up')
while True:
    pass
""")
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait()
    assert ends(board("import esp32\nprint(esp32.NVS('gw').get_i32('boot'))")) == (0, "1\n")


def test_the_installers_offset_makes_the_clock_right(board, tmp_path):
    (tmp_path / "flash").mkdir()
    (tmp_path / "flash" / "rtc.json").write_text(json.dumps({"offset_us": 0}))
    before = time.time()
    status, output = ends(board("import machine\nprint(machine.RTC().datetime())"))
    year, month, day, weekday, *rest, micro = eval(output)
    moment = time.mktime((year, month, day, *rest, 0, 0, 0)) - time.timezone + micro / 1e6
    assert status == 0 and before - 0.1 <= moment <= time.time() + 0.1
    assert weekday == time.gmtime(moment).tm_wday


@pytest.mark.parametrize("epoch", ["", "2000"])
def test_time_zones_move_nothing(board, epoch):
    program = "import time\nprint(time.localtime(0) == time.gmtime(0), time.mktime(time.gmtime(86400)))"
    for zone in ("UTC", "Asia/Kathmandu", "America/Nuuk"):
        assert ends(board(program, TZ=zone, MESHEMS_EPOCH=epoch)) == (0, "True 86400\n")


def test_a_terminal_that_closes_does_not_end_the_process(board, tmp_path):
    master, slave = os.openpty()
    process = board("""import machine, time
u = machine.UART(1, 9600, tx=17, rx=18)
print('up')
time.sleep_ms(500)
print(u.any())
""", MESHEMS_UART1=os.ttyname(slave))  # fmt: skip
    assert process.stdout.readline() == "up\n"
    os.close(slave)
    os.close(master)
    assert ends(process) == (0, "0\n")
