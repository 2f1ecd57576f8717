"""What goes wrong in the field, as scripts on a simulated site. Each returns a list of what is wrong afterwards.

    faults.kill_relay(ours, "grid", 30, seed=1)

A script lets a site form, breaks something, and lets it run on; whatever it breaks, no batch may be lost that a flash
had taken, nothing may be carried out twice, and the rest of the site has to go on.
"""

import radio
from gateways import Site, part

NODE_DEATH_S, ROOT_DEATH_S, ZOMBIE_S = {10: 5, 30: 8, 50: 8, 100: 10}, {10: 15, 30: 15, 50: 15, 100: 20}, 20
FORMATION_S = {10: 15, 30: 20, 50: 20, 100: 30}
worst = 1  # a single run may take so many times the bound of the median: 2 in the benchmark
SETTLE_S = 240
DRAIN_S = 1800
BACKLOG = 192
WEAK = -800  # 0.1 dBm: 15 dB less, and next to nothing is heard
LIVE_P99_MS = 10000
UDP_MS = 3000  # later, and an origin had to repeat what was there and was refused


def _formed(peer, kind, n, seed, **more):
    site = Site(peer, kind, n, seed, **more)
    site.boot_all()
    site.run(SETTLE_S)
    return site


def _wrong(site, drain_s=DRAIN_S, rare=()):
    """Return what must never be: lost batches, and what was counted; drains first."""
    took_s = site.drain(drain_s)
    wrong = ["%d batches were lost" % site.left()] if site.left() else []
    for what in ("acked too early", "wrong payload", "command carried out twice", "command of another", "wrong result"):
        if site.counts.get(what) and what not in rare:
            wrong.append("%s: %d" % (what, site.counts[what]))
    if site.over:
        wrong.append("%d frames over the hop limit" % site.over)
    return wrong + (["the drain took %d s" % took_s] if took_s >= drain_s else [])


def _slower(site, name, percent, bound_s):
    """Return a list with a complaint when the first batches after a fault waited longer."""
    delays = site.report()["delays"].get(name)
    if not delays:  # where everybody hears the root nobody forwards
        return [] if max(site.depths.values()) < 2 else ["nobody was touched by %s" % name]
    found, most = part(delays, percent) / 1000, worst * bound_s
    return ["%s: p%d is %.1f s, %d are allowed" % (name, percent, found, most)] if found > most else []


def kill_relay(peer, kind, n, seed):
    """The busiest forwarder dies, and comes back after a minute; three times."""
    site, dead = _formed(peer, kind, n, seed), []
    for _ in range(3):
        victim = site.busiest(dead)
        dead.append(victim)
        site.kill(victim, "death")
        site.run(60)
        site.revive(victim)
        site.run(120)
    return _slower(site, "death", 95, NODE_DEATH_S[n]) + _wrong(site)


def kill_only_root(peer, kind, n, seed):
    """The only root is dead for twenty minutes."""
    site = _formed(peer, kind, n, seed)
    site.kill(0)
    site.run(1200)
    site.revive(0)
    site.run(600)
    wrong = ["%d batches are still not there ten minutes later" % site.left()] if site.left() > n else []
    return wrong + _wrong(site)


def kill_one_of_two(peer, kind, n, seed):
    """One of two roots dies for good."""
    site = _formed(peer, kind, n, seed, roots=2)
    site.kill(0, "root")
    site.run(600)
    return _slower(site, "root", 95, ROOT_DEATH_S[n]) + _wrong(site)


def zombie(peer, kind, n, seed):
    """The program of the busiest forwarder hangs, its radio acknowledges on; the watchdog comes after five minutes."""
    site = _formed(peer, kind, n, seed)
    victim = site.busiest()
    site.hang(victim, "zombie")
    site.run(300)
    site.revive(victim)
    site.run(60)
    return _slower(site, "zombie", 99, ZOMBIE_S) + _wrong(site)


def asymmetric(peer, kind, n, seed):
    """Three links on which much goes up lose 15 dB that way, and so break; downward all is heard as before.

    Ten minutes later they are well again: it may be that there was no other path.
    """
    site = _formed(peer, kind, n, seed)
    links = []
    for pole in site.poles[site.places.roots :]:
        parent = peer.parent(pole.station.node) - 1
        if parent >= 0 and site.air.levels[pole.station.index][parent] < WEAK:
            links.append((len(pole.carried), pole.station.index, parent))
    links = sorted(links)[-3:]
    site.weaken(links, 150)
    for _, child, _ in links:
        site.watch(child, "one way")
        site.watched[child + 1] = "one way", site.world.now
    site.run(600)
    site.weaken(links, -150)
    return _slower(site, "one way", 95, NODE_DEATH_S[n]) + _wrong(site)


def channel_move(peer, kind, n, seed, to=11):
    """The access point takes the root to another channel; the site has to find it and to follow."""
    site = _formed(peer, kind, n, seed)
    site.move_root(0, to)
    site.run(300)
    lost = sum(pole.station.channel != to for pole in site.poles)
    wrong = ["%d stations are still on another channel after 5 min" % lost] if lost else []
    return wrong + _wrong(site)


def clock_step(peer, kind, n, seed):
    """The root's clock is an hour ahead, then an hour behind: everybody follows within two waves."""
    site, wrong = _formed(peer, kind, n, seed), []
    for step_ms in (3600000, -3600000):
        site.poles[0].trusted = step_ms
        site.poles[0].sync()
        site.run(300)
        true = site.true_ms() + step_ms
        off = [site.error_ms(pole, true) for pole in site.poles if not pole.root]
        if None in off or max(off) > 100:
            wrong.append("%s ms off after a step of %d s" % (off, step_ms // 1000))
    return wrong + _wrong(site)


def wiped(peer, kind, n, seed):
    """A pole loses its flash and starts anew, its counters at those of its provisioning."""
    site = _formed(peer, kind, n, seed)
    victim = site.busiest()
    site.kill(victim)
    site.run(30)
    pole = site.poles[victim]
    pole.wipe()
    site.revive(victim)
    site.run(300)
    there = pole.number - len(pole.records)
    wrong = [] if there >= 4 else ["only %d batches of the wiped pole came" % there]
    return wrong + _wrong(site)


def root_seqno_0(peer, kind, n, seed):
    """The root starts again and counts its waves from 0."""
    site = _formed(peer, kind, n, seed)
    peer.set_seqno(site.poles[0].station.node, 5000)  # as after a week
    site.run(150)
    site.kill(0)
    site.run(20)
    site.revive(0)
    peer.set_seqno(site.poles[0].station.node, 0)
    began = site.world.now
    site.run(300)
    oldest = [min(list(pole.records.values()) + [began]) for pole in site.poles]
    late = [pole.id for pole, us in zip(site.poles, oldest) if us < began - 60000000]
    return (["%s have delivered nothing" % late] if late else []) + _wrong(site)


def flash_full(peer, kind, n, seed):
    """The flash of the busiest forwarder takes nothing for ten minutes: it forwards, and acts on no command."""
    site = _formed(peer, kind, n, seed)
    victim = site.busiest()
    pole = site.poles[victim]
    pole.full = True
    ident = site.ask(victim)
    site.run(600)
    pole.full = False
    wrong = ["a command was carried out whose number could not be kept"] if pole.done.get(ident) else []
    return wrong + _wrong(site)


def duplicate_id(peer, kind, n, seed, alike=False):
    """Two poles have the same number, `alike`: the same epoch too. It is reported, and nobody else suffers."""
    site = Site(peer, kind, n, seed)
    twin, other = site.poles[-1], site.poles[n // 2]
    twin.id = other.id
    twin.number = 1000000  # its batches can be told apart
    if alike:
        twin.boots = other.boots
    site.boot_all()
    site.run(SETTLE_S + 600)
    told = sum(pole.events.get(peer.DUPLICATE, 0) for pole in site.poles)
    wrong = [] if told else ["nobody has said so"]
    most = max(sum(pole.events.values()) for pole in site.poles)
    wrong += ["one node told of %d events in 14 min" % most] if most > 60 else []
    site.drain(DRAIN_S)
    if site.counts.get("acked too early"):
        wrong.append("one was acknowledged for the other")
    suffered = sum(len(one) for i, one in enumerate(site.pending) if i != other.id)
    return wrong + (["%d batches of others were lost" % suffered] if suffered else [])


def backlog_48h(peer, kind, n, seed):
    """The site was without a root for two days: 192 batches at each pole; what is made now goes first."""
    site = Site(peer, kind, n, seed)
    for pole in site.poles[1:]:
        for i in range(BACKLOG):
            pole.store((i - BACKLOG) * 900000000)
    site.boot_all()
    site.run(60)
    site.steady()
    site.drain(2 * 3600, makes=True)
    p99 = site.report()["latency_p99_ms"]
    return (["p99 of what is made now is %d ms" % p99] if p99 > worst * LIVE_P99_MS else []) + _wrong(site, 600)


def blackout(peer, kind, n, seed):
    """The power of the whole feeder comes back at one instant."""
    site = _formed(peer, kind, n, seed)
    for pole in site.poles:
        site.kill(pole.station.index)
    site.run(600)
    site.formed, site.booted_us = {}, site.world.now
    for pole in site.poles:
        site.revive(pole.station.index)
    site.run(300)
    took = site.report()["formation_s"]
    wrong = [] if took is not None and took <= worst * FORMATION_S[n] else ["it took %s s to form" % took]
    return wrong + _wrong(site)


def udp_reorder(peer, kind, n, seed):
    """Over UDP: nobody acknowledges but the mesh itself, 5 % is lost, and what comes may come in another order."""
    site = Site(peer, kind, n, seed, each=4, air=radio.Datagrams)
    site.boot_all()
    site.run(SETTLE_S)
    site.steady()
    site.run(900)
    most = site.report()["latency_max_ms"]
    return (["the slowest took %d ms" % most] if most > worst * UDP_MS else []) + _wrong(site)


SCRIPTS = {
    script.__name__: script for script in (
        kill_relay, kill_only_root, kill_one_of_two, zombie, asymmetric, channel_move, clock_step, wiped, root_seqno_0,
        flash_full, duplicate_id, backlog_48h, blackout, udp_reorder,
    )
}  # fmt: skip
