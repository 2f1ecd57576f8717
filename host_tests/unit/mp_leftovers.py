"""What a running gateway loads now and then leaves nothing else behind: each module costs 300 bytes of heap or more."""
import sys

from lib import once


def test_what_a_running_gateway_loads_now_and_then_leaves_nothing_else_behind():
    import socket  # noqa: F401  the chip has it not on the heap

    from gateway import app, metering, uplink  # noqa: F401  as it runs, with one outlet and meters
    from gateway.recorder import Recorder  # noqa: F401
    from lib import journal  # noqa: F401
    from lib.proto import modbus  # noqa: F401

    running = set(sys.modules)
    for name in (
        "gateway.epoch", "gateway.standing", "gateway.setting", "gateway.events", "gateway.silence", "gateway.bracket",
        "gateway.overrun", "gateway.report", "gateway.again", "lib.journal.index", "lib.mqtt.connect", "lib.mqtt.hello",
        "lib.mqtt.leave",
    ):  # fmt: skip
        __import__(name, None, None, ("x",))
        once.forget(name)
        assert set(sys.modules) == running, (name, set(sys.modules) - running)


def test_a_report_leaves_nothing_of_the_configuration_behind():
    from gateway import report
    from mp_report import gateway

    for name in ("gateway.parsed", "gateway.data", "lib.twin"):
        if name in sys.modules:
            once.forget(name)
    running = set(sys.modules)
    report.message(gateway().outlets[0])
    assert set(sys.modules) == running, set(sys.modules) - running
