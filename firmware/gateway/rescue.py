"""Safe mode: the application does not run, the console is free, and a page of counters says what is known.

    from gateway import rescue
    rescue.show()               # the page once more
    rescue.timer.deinit()       # no new attempt in an hour

After three crashes in a row a new attempt is made every hour: what made the gateway crash may be over, and nobody has
to climb a pole for it. Ctrl-D on the console is a new attempt at once, and so is switching the board off and on.
"""
import machine
from micropython import const

_AGAIN_MS = const(3600000)
_NEVER_MS = const(0x3FFFFFFF)  # of a watchdog that nobody feeds: 12 days
timer = None


def begin(why):
    """Show the page and the safe mode's light; see to it that nothing resets the board but a new attempt."""
    global timer
    if machine.reset_cause() == machine.SOFT_RESET:  # else no watchdog runs: a reset stops it
        machine.WDT(timeout=_NEVER_MS)
    show(why)
    for tell in (_light, _screen):
        try:
            tell(why)
        except KeyError:
            pass  # the board has no such part
        except Exception as error:  # the console has it all
            print("rescue: %r" % error)  # rule: it is the console's page
    if "crash" in why:
        timer = machine.Timer(1)
        timer.init(mode=machine.Timer.ONE_SHOT, period=_AGAIN_MS, callback=again)


def _light(why):
    from gateway import data, lamp

    lamp.Lamp(data.load("board.json")["led"]).show(lamp.SAFE)


def _screen(why):
    from gateway import data, extras

    board = data.load("board.json")
    screen = extras.screen(board["oled"], board)
    screen.begin()
    boots = _boots().split("; ")[0].split(", ")  # number 41, 3 short ones in a row
    lines = "SAFE MODE", why[:16], why[16:], "boot " + boots[0], boots[1], "", "console: USB, or", "serial, 115200"
    for row, text in enumerate(lines):
        screen.line(row, text, row == 0)
    screen.power(True)


def again(_=None):
    """Reset the board for one more attempt to run the application."""
    import esp32

    nvs = esp32.NVS("gw")
    nvs.set_i32("short", 2)  # one more crash, and it is safe mode again
    nvs.commit()
    machine.reset()


def show(why="asked for"):
    """Print the page."""
    print("\n".join(page(why)))  # rule: it is the console's page


def page(why):
    """Return the lines of the page. What cannot be found out is said so: safe mode must come up on a broken board."""
    lines = ["", "SAFE MODE: %s. The application does not run." % why]
    for name, tell in (
        ("boots", _boots), ("heap", _heap), ("partitions", _partitions), ("journal", _journal), ("log", _log),
    ):  # fmt: skip
        try:
            lines.append("%-11s%s" % (name, tell()))
        except Exception as error:
            lines.append("%-11s%r" % (name, error))
    lines.append("Ctrl-D starts the application; so does the power switched off and on, without the button.")
    return lines


def _boots():
    import esp32

    nvs = esp32.NVS("gw")
    found = []
    for key in ("boot", "short", "causes"):
        try:
            found.append(nvs.get_i32(key))
        except OSError:
            found.append(0)
    boot, short, causes = found
    names = "unknown", "power on", "reset or panic", "watchdog", "deep sleep", "soft reset"
    told = [names[causes >> shift & 7] for shift in range(0, 28, 4) if causes >> shift]
    return "number %d, %d short ones in a row; causes, newest first: %s" % (boot, short, ", ".join(told))


def _heap():
    import gc

    gc.collect()
    return "%d B used, %d B free" % (gc.mem_alloc(), gc.mem_free())


def _partitions():
    import esp32

    found = esp32.Partition.find(esp32.Partition.TYPE_DATA)
    return ", ".join(["%s %d kB" % (part.info()[4], part.info()[3] // 1024) for part in found])


def _journal():
    import esp32

    from lib.journal import Journal

    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="journal")
    if not found:
        return "no partition for it"
    journal = Journal(found[0])
    journal.mount()
    blocks = max(0, journal.head + 1 - journal.tail)
    records = journal.next - journal.first
    return "%d records, %d of %d blocks, next %d" % (records, blocks, journal._ring, journal.next)


def _log():
    lines = machine.RTC().memory().split(b"\n")
    return "\n".join(["the newest warnings and errors:"] + ["  " + repr(line)[2:-1] for line in lines if line])
