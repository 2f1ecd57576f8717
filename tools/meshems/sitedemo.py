"""The demo of a whole site: its own gateways, lines and meters at the desk.

    run_demo(plan_of(Site.load(Path("site.toml")), seconds=60))

What cannot be had at the desk, or would blur the verdict, is put in its place: docs/site.md, "At the desk".
"""

from collections.abc import Sequence
from typing import Any

from meshems.demo import LINE_SHARE, Place, Plan, PlanError, Wire
from meshems.sim.uart import Settings
from meshems.site import Site

PERIODS = (5, 10, 15, 20, 30, 60, 120, 300)  # s: the first in which every line can read all its meters
KEPT = ("feederId", "gatewayId", "buses", "checks", "health")  # of a gateway.json, as it is
OF_A_METER = ("serial", "bus", "address", "profile", "baud", "format", "amps", "export")


def plan_of(site: Site, seconds: float | None, faults: Sequence[str] = (), kills: Sequence[str] = ()) -> Plan:
    """Return the plan for a good site; PlanError when there is nothing to read, or an option makes no sense."""
    plan = Plan(site.names, [], seconds)
    for name in site.names:
        config = site.config(name)
        for number, bus in enumerate(config["buses"]):
            line = Settings(bus.get("baud", 9600), bus.get("format", "8N1"))
            plan.wires.append(Wire(name if not number else f"{name}.{number + 1}", name, number, bus["uart"], line))
            for meter in (one for one in config["meters"] if one["bus"] == number):
                own = Settings(meter.get("baud", line.baud), meter.get("format", line.format))
                plan.places.append(Place(len(plan.places) + 1, meter["serial"], meter["profile"], name,
                                         meter["address"], number, None if own == line else own))  # fmt: skip
    plan.wires = [wire for wire in plan.wires if plan.on(wire)]  # a line without meters has nothing to simulate
    if not plan.places:
        raise PlanError(f"{site.file}: found no meters, expected at least one: write them into [[gateways]]")
    busy = plan.busy_s()
    fitting = [every for every in PERIODS if busy <= LINE_SHARE * every]
    if not fitting:
        raise PlanError(f"{site.file}: found a line whose meters need {busy:.0f} s, expected at most "
                        f"{LINE_SHARE * PERIODS[-1]:.0f} s: give them more buses, or more baud")  # fmt: skip
    plan.every = fitting[0]
    members = {name: site.config(name)["mesh"] for name in site.names if "mesh" in site.config(name)}
    plan.mesh = {name: {"id": mesh["id"], "root": mesh.get("root", False)} for name, mesh in members.items()}
    plan.configs = {name: _at_the_desk(site.config(name), plan.every) for name in site.names}
    return plan.with_events(faults, kills)


def _at_the_desk(config: dict[str, Any], every: int) -> dict[str, Any]:
    """Return what of a gateway.json holds at the desk as well; board, outlet and clock are the demo's."""
    meters = [{key: meter[key] for key in OF_A_METER if key in meter} | {"every": every} for meter in config["meters"]]
    return {key: config[key] for key in KEPT if key in config} | {"meters": meters}
