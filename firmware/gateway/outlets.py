"""Makes the outlets from the configuration: needed at start only. What an outlet does not use is not imported."""
from gateway import data, log
from gateway.northbound import Northbound
from gateway.replay import Dating
from gateway.uplink import Outlet


def made(conf, secrets, ids, identity, shared):
    """Return the outlets.

    `identity` are the arguments of a Northbound; `shared` is (journal, clock, boot, number of problems, recorder,
    archive or None).
    """
    journal, now, boot, problems, recorder, archive = shared
    outlets = []
    secured = []
    for number, uplink in enumerate(conf["uplinks"]):
        context = None
        if "tls" in uplink:
            context = _context(number, uplink["tls"]["ca"], recorder.lines)
            if context is None:  # never without: that would show the password to whoever answers
                problems += 1
                continue
        name = uplink["name"]
        secret = secrets.get("uplinks", {}).get(name, {})
        rest = journal, ids.cursor(name), Dating(journal, now, boot), now, problems, recorder, archive, context
        if "filter" in uplink:
            from gateway.filtered import FilteredOutlet

            outlet = FilteredOutlet(uplink, secret, identity, ids.cursor(name + "/prev"), rest)
        elif uplink.get("catchup") == "binary":
            from gateway.catchup import CatchUp

            outlet = CatchUp(uplink, secret, Northbound(*identity), *rest)
        else:
            outlet = Outlet(uplink, secret, Northbound(*identity), *rest)
        outlets.append(outlet)
        if context:
            secured.append(outlet)
    if secured:
        _secure(secured, now, conf.get("tlsConnections") or data.load("board.json").get("tlsConnections", 8))
    return outlets


def _context(number, file, lines):
    """Return the Pinned of an outlet; None, and a problem in the log, when its file is no certificate."""
    from gateway import secure

    try:
        return secure.Pinned(file, lines)
    except (OSError, ValueError) as error:
        log.error("config", "uplinks[%d].tls.ca: found %s (%r), allowed a certificate in DER" % (number, file, error))
    return None


def _secure(outlets, now, most):
    """Let each outlet wait for the time before it connects, and for its turn when there are more than `most`."""
    from gateway.secure import Link

    link = None
    if len(outlets) > most:
        from gateway.turns import Turns

        link = Turns(most).link
    for outlet in outlets:
        outlet.link = Link(outlet, now, link).run
