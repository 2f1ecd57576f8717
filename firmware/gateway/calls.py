"""What others may ask of a running gateway; imported by who asks.

    calls.read_now(gateway, ["SN-1"])
    calls.read_range(gateway, "operator", begin, end)
"""


def read_now(gateway, serials):
    """Let these meters be read at once, beside their cadence; return the serials that the gateway has."""
    found = []
    for bus in gateway.buses:
        for meter in bus.meters:
            if meter.serial in serials:
                meter.period = None
                found.append(meter.serial)
    return found


def read_range(gateway, name, begin, end):
    """Let the outlet `name` send again what is stored from `begin` to `end`, unix ms; return whether there is one.

    It is sent when the outlet is connected, what the journal has of it, and whole again when the connection breaks; who
    asks again before it has arrived takes the other's place.
    """
    for outlet in gateway.outlets:
        if outlet.name == name:
            outlet.asked = begin, end
            return True
    return False
