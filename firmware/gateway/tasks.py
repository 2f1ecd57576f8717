"""Starts one supervised task for each bus, each outlet, the recorder, network and time: needed once."""
from micropython import const

_BUS_LIMIT_MS = const(20000)  # the longest that a task may show no life; the watchdog bites WATCHDOG_MS later
_UPLINK_LIMIT_MS = const(60000)
_TASK_LIMIT_MS = const(10000)


def start(gateway, conf, secrets):
    """Start every task of `gateway`; what is not configured is not imported."""
    keep = gateway.health.keep
    keep("recorder", gateway.recorder.run, _TASK_LIMIT_MS)
    for bus in gateway.buses:
        keep(bus.name, bus.run, _BUS_LIMIT_MS)
    for outlet in gateway.outlets:
        if conf["health"]["every"]:
            outlet.gateway = gateway
        keep("link " + outlet.name, outlet.link, _UPLINK_LIMIT_MS)
        keep("uplink " + outlet.name, outlet.run, _UPLINK_LIMIT_MS)
    if gateway.archive:
        keep("archive", gateway.archive.run, _TASK_LIMIT_MS)
    wifi = conf["network"].get("wifi")
    if wifi:
        from gateway.network import Station

        password = secrets.get("network", {}).get("wifi", {}).get("password")
        keep("network", Station(wifi["ssid"], password).run, _TASK_LIMIT_MS)
    if conf["clock"]["ntp"]:
        from gateway.timesync import TimeSync

        keep("clock", TimeSync(conf["clock"]["ntp"], gateway.clock, gateway.recorder).run, _BUS_LIMIT_MS)
