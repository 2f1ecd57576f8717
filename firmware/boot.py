"""Runs before main.py: counts the boots, decides on safe mode, and has the heap swept early and often.

In safe mode the application does not run: `safe` says why, main.py asks for it, gateway/rescue prints the counters.
Boots are counted here and not in the application, because it may be its import that fails. The NVS, namespace `gw`:

short    the boots in a row, this one included, that did not run well for a minute; one that does sets it to 0
causes   machine.reset_cause() of the last seven boots, four bits each, the newest lowest

A heap that is seldom swept gets full of holes, and grows for good into what Wi-Fi and TLS need. A sweep takes time with
the size of the heap, so a large one is swept less often; what it takes on a chip was not measured.
"""
import gc

safe = ""


def _reason():
    """Return why the application must not run, "" when it may."""
    import esp32
    import machine

    nvs = esp32.NVS("gw")
    short = causes = 0
    try:
        short = nvs.get_i32("short")
        causes = nvs.get_i32("causes")
    except OSError:
        pass  # the first boot
    cause = machine.reset_cause()
    causes = (causes << 4 | cause) & 0xFFFFFFF
    nvs.set_i32("causes", causes)
    if cause != machine.SOFT_RESET:  # that is somebody's wish
        nvs.set_i32("short", min(short + 1, 99))
    nvs.commit()
    crash = machine.HARD_RESET, machine.WDT_RESET
    if short >= 3 and causes & 15 in crash and causes >> 4 & 15 in crash and causes >> 8 & 15 in crash:
        return "three crashes in a row"
    from gateway import data
    from lib import once

    board = data.load("board.json")
    return once.call("gateway.held", "held", board) if "button" in board or "ladder" in board else ""


try:
    safe = _reason()
    if safe:
        from gateway import rescue

        rescue.begin(safe)
except Exception as error:
    print("boot: %r" % error)  # rule: it may be the log that does not load
del _reason
gc.collect()
gc.threshold(gc.mem_free() // 160)
