"""One run of the benchmark `mesh`, inside MicroPython; prints one line of JSON.

    micropython -X heapsize=48m runs.py ours grid 50 1 base

The runs: `base` is the steady site (a batch a minute, a command every 20 s), `burst` the same in bursts of noise,
`death` kills the busiest forwarders, `roots` one of two roots, `zombie` hangs the busiest forwarders; `fault-NAME` is a
script of faults.py. `map` prints a line for each gateway instead, what it tells of its neighbours:

    micropython -X heapsize=48m runs.py ours grid 50 1 map > mesh.jsonl; meshems mesh --dump mesh.jsonl
"""

import json
import sys
import time

from gateways import Site

WARM_S = 240
STEADY_S = {10: 3600, 30: 1800, 50: 1500, 100: 900}
KILLS = {10: 4, 30: 4, 50: 3, 100: 2}
COMMANDS_S = 20
DRAIN_S = 900


def base(peer, kind, n, seed, seconds=None, burst=False):
    """Return a site after a steady time."""
    site = Site(peer, kind, n, seed, burst=burst)
    site.boot_all()
    site.run(WARM_S)
    site.steady()
    seconds = seconds or STEADY_S[n]
    site.ask_each(COMMANDS_S, site.world.now + (seconds - 90) * 1000000)
    site.run(seconds)
    return site


def burst(peer, kind, n, seed, seconds=None):
    """Return the same in bursts of noise: 20 s of it after 60 s without, at each station by itself."""
    return base(peer, kind, n, seed, seconds or STEADY_S[n] // 2, True)


def _each(peer, kind, n, seed, name, times, harm, seconds, after_s):
    site = Site(peer, kind, n, seed, roots=2 if name == "roots" else 1)
    site.boot_all()
    site.run(WARM_S)
    harmed = []
    for i in range(times):
        victim = i % 2 if name == "roots" else site.busiest(harmed)
        harmed.append(victim)
        getattr(site, harm)(victim, name)
        site.run(seconds)
        site.revive(victim)
        site.run(after_s)
    return site


def death(peer, kind, n, seed, times=None):
    """Return a site in which the busiest forwarder died, for 70 s, several times."""
    return _each(peer, kind, n, seed, "death", times or KILLS[n], "kill", 70, 130)


def roots(peer, kind, n, seed, times=None):
    """Return a site in which one of two roots died for two minutes, then the other."""
    return _each(peer, kind, n, seed, "roots", times or 2, "kill", 120, 240)


def zombie(peer, kind, n, seed, times=None):
    """Return a site in which the busiest forwarder hung for three minutes, several times."""
    return _each(peer, kind, n, seed, "zombie", times or KILLS[n], "hang", 180, 60)


RUNS = {"base": base, "burst": burst, "death": death, "roots": roots, "zombie": zombie}


def main(peer, kind, n, seed, name, much=None):
    """Do one run and print what came of it; `much`: the seconds of a steady time, or the number of deaths."""
    peer, n, seed, much = __import__(peer), int(n), int(seed), much and int(much)
    began = time.clock()
    if name == "map":
        site = base(peer, kind, n, seed, much or WARM_S)
        for pole, spot in zip(site.poles, site.places.spots):
            print(json.dumps(peer.table(pole, spot)))
        return
    if name in RUNS:
        site = RUNS[name](peer, kind, n, seed, much)
        ready_s = site.world.now // 1000000
        site.drain(DRAIN_S)
        said = site.report()
        said["virtual_s"], said["ready_s"] = site.world.now // 1000000, ready_s
    else:
        import faults

        faults.worst = 2
        said = {"wrong": faults.SCRIPTS[name[6:]](peer, kind, n, seed)}
    said["cpu_s"] = time.clock() - began
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
