"""The desktop's UART on a real pseudo-terminal, seen from the other end of the wire."""

import os
import pty
import select
import subprocess
import termios
import threading
import time

import pytest

from mp_plugin import ROOT, environment, micropython

HEAD = """
import machine, sys, time
def go():
    sys.stdin.readline()
def uart(**given):
    named = dict(tx=17, rx=18, txbuf=512, rxbuf=512)
    named.update(given)
    return machine.UART(1, 9600, **named)
def until(n):
    while u.any() < n:
        time.sleep_ms(1)
"""


class Wire:
    """A pseudo-terminal whose master end is the wire; `path` is a link to it, as `meshems sim-meters` makes one."""

    def __init__(self, link):
        self.path = str(link)
        self.master = None
        self.plug()

    def plug(self):
        self.master, self.slave = pty.openpty()
        if os.path.islink(self.path):
            os.unlink(self.path)
        os.symlink(os.ttyname(self.slave), self.path)

    def unplug(self):
        if self.master is not None:
            os.close(self.slave)
            os.close(self.master)
            self.master = None

    def send(self, data):
        os.write(self.master, data)

    def receive(self, n, limit=5):
        data, end = b"", time.monotonic() + limit
        while len(data) < n and select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
            data += os.read(self.master, n - len(data))
        return data


class Program:
    """A MicroPython process on the desktop board; it says lines, and goes on when it is told to."""

    def __init__(self, text, folder, **variables):
        env = environment(ROOT / "host_tests" / "unit") | variables
        self.process = subprocess.Popen(
            [micropython(), "-c", HEAD + text], cwd=folder, env=env, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.limit = threading.Timer(20, self.process.kill)  # a program that hangs says nothing more
        self.limit.start()

    def stop(self):
        self.limit.cancel()
        self.process.kill()
        self.process.wait()

    def says(self):
        return self.process.stdout.readline().rstrip("\n")

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ends(self):
        """Returns the exit status and what it said since."""
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, rest


@pytest.fixture
def wire(tmp_path):
    wire = Wire(tmp_path / "bus")
    yield wire
    wire.unplug()


@pytest.fixture
def board(wire, tmp_path):
    programs = []

    def start(text, path=None):
        programs.append(Program(text, tmp_path, MESHEMS_UART1=path or wire.path))
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


def test_every_byte_passes_unchanged_both_ways(board, wire):
    every = bytes(range(256))
    program = board("u = uart()\nprint('up')\nuntil(256)\nu.write(u.read(256))\nu.flush()")
    assert program.says() == "up"
    wire.send(every)
    assert wire.receive(256) == every
    assert program.ends() == (0, "")


def test_read_gives_none_before_anything_came_and_then_what_is_there(board, wire):
    program = board("u = uart()\nprint(u.read(5), u.read(), u.any())\nuntil(3)\nprint(u.read(5), u.read(5))")
    assert program.says() == "None None 0"
    wire.send(b"abc")
    assert program.says() == "b'abc' None"


def test_what_is_not_read_waits_in_order(board, wire):
    program = board("""u = uart()
print('up')
until(6)
view = memoryview(bytearray(8))
print(u.readinto(view[1:], 2), u.readinto(view[3:4]), bytes(view), u.any(), u.read(2), u.read(), u.readinto(view))
""")
    assert program.says() == "up"
    wire.send(b"abcdef")
    assert program.says() == r"2 1 b'\x00abc\x00\x00\x00\x00' 3 b'de' b'f' None"


def test_what_does_not_fit_the_ring_is_lost_and_then_it_goes_on(board, wire):
    program = board("""u = uart(rxbuf=256)
print('up')
go()
print(u.any(), u.read(500) == bytes(range(256)), u.read())
until(4)
print(u.read())
""")
    assert program.says() == "up"
    wire.send(bytes(range(256)) + b"x" * 150)
    time.sleep(0.2)
    program.go()
    assert program.says() == "256 True None"
    wire.send(b"next")
    assert program.says() == "b'next'"


def test_init_discards_the_input(board, wire):
    program = board("u = uart()\nprint('up')\nuntil(3)\ngo()\nu.init(9600)\nprint(u.any())\nuntil(3)\nprint(u.read())")
    assert program.says() == "up"
    wire.send(b"old")  # goes into the ring
    time.sleep(0.2)
    wire.send(b"older")  # waits in the terminal
    program.go()
    assert program.says() == "0"
    wire.send(b"new")
    assert program.says() == "b'new'"


def test_a_serial_port_gets_speed_and_stop_bits_from_each_init(board, wire):
    program = board("u = uart()\nprint('up')\ngo()\nu.init(2400, stop=2)\nprint('up')\ngo()\nu.init(115200, stop=1)\n"
                    "print('up')\ngo()")  # fmt: skip
    for speed, stop in ((termios.B9600, 0), (termios.B2400, termios.CSTOPB), (termios.B115200, 0)):
        assert program.says() == "up"
        _, _, control, _, *speeds, _ = termios.tcgetattr(wire.slave)  # a pseudo-terminal keeps all but the parity
        assert speeds == [speed, speed] and control & termios.CSTOPB == stop
        assert control & termios.CSIZE == termios.CS8
        program.go()


def test_a_pseudo_terminal_that_takes_no_parity_goes_on(board, wire):
    program = board("u = uart()\nu.init(2400, parity=0)\nu.write(b'even')\nprint('sent')\nuntil(3)\nprint(u.read())")
    assert wire.receive(4) == b"even" and program.says() == "sent"
    wire.send(b"odd")
    assert program.says() == "b'odd'"
    assert termios.tcgetattr(wire.slave)[4] == termios.B2400


def test_the_line_settings_are_told_at_each_init(board, wire):
    program = board("u = uart()\nprint('up')\ngo()\nu.init(19200, parity=0)\nprint('up')\ngo()\n"
                    "u.init(bits=7, parity=1, stop=2)\nprint('up')")  # fmt: skip
    for settings in ("9600 8N1\n", "19200 8E1\n", "19200 7O2\n"):
        assert program.says() == "up"
        with open(wire.path + ".line") as file:
            assert file.read() == settings
        if settings[-3:-1] != "O2":  # that was the last
            program.go()


def test_settings_that_cannot_be_told_hurt_nobody(board, wire):
    path = os.ttyname(wire.slave)
    program = board("u = uart()\nu.write(b'x')\nprint('up')", path)
    assert wire.receive(1) == b"x"
    assert program.ends() == (0, "up\n") and not os.path.exists(path + ".line")


def test_asyncio_streams_wait_for_the_wire(board, wire):
    program = board("""import asyncio
u = uart()
async def main():
    reader, ticks = asyncio.StreamReader(u), 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep_ms(5)
            ticks += 1
    asyncio.create_task(tick())
    print('up')
    data = await reader.readexactly(5)
    writer = asyncio.StreamWriter(u, {})
    writer.write(data)
    await writer.drain()
    print(ticks > 5)
asyncio.run(main())
""")
    assert program.says() == "up"
    wire.send(b"he")
    time.sleep(0.3)
    wire.send(b"llo")
    assert wire.receive(5) == b"hello"
    assert program.ends() == (0, "True\n")


def test_a_read_with_timeouts_ends_when_the_wire_falls_silent(board, wire):
    program = board("""u = uart(timeout=5000, timeout_char=50)
print('up')
data = u.read(10)
began = time.ticks_ms()
more = u.read(2)
print(data, more, time.ticks_diff(time.ticks_ms(), began) < 2000)
""")
    assert program.says() == "up"
    time.sleep(0.1)
    wire.send(b"abc")
    time.sleep(0.3)
    wire.send(b"defg")
    assert program.says() == "b'abc' b'de' True"


def test_a_wire_cut_is_silence_and_mended_it_is_found_with_the_next_write(board, wire):
    program = board("""u = uart()
print(u.write(b'1'))
go()
print(u.write(b'2'), u.read(), u.any())
go()
print(u.write(b'3'))
until(1)
print(u.read())
""")
    assert program.says() == "1" and wire.receive(1) == b"1"
    wire.unplug()
    program.go()
    assert program.says() == "1 None 0"
    wire.plug()
    program.go()
    assert program.says() == "1" and wire.receive(1) == b"3"
    wire.send(b"x")
    assert program.says() == "b'x'"


def test_a_terminal_that_comes_late_is_found_with_the_first_write(board, wire):
    os.rename(wire.path, wire.path + ".later")
    program = board("u = uart()\nprint(u.read())\ngo()\nu.write(b'x')\nprint('sent')")
    assert program.says() == "None"
    os.rename(wire.path + ".later", wire.path)
    program.go()
    assert program.says() == "sent" and wire.receive(1) == b"x"


def test_two_ports_are_two_wires(board, wire, tmp_path):
    other = Wire(tmp_path / "bus2")
    program = Program(
        "a, b = uart(), machine.UART(2, 9600, tx=4, rx=6)\na.write(b'a')\nb.write(b'b')\nprint('sent')", tmp_path,
        MESHEMS_UART1=wire.path, MESHEMS_UART2=other.path,
    )  # fmt: skip
    assert (wire.receive(1), other.receive(1)) == (b"a", b"b")
    assert program.ends() == (0, "sent\n")
    program.stop()
    other.unplug()
