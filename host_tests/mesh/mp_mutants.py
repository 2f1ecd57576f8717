"""The scripts of faults see what is wrong: each test breaks one part of the mesh, and its script has to say so."""

import faults
import gateways
import ours
from lib.mesh import beacons, channel, counts, custody, guard, links, nettime, seqnos, upward

HEAP = {
    "test_nobody_blames_who_does_not_forward": "32m",
    "test_nobody_gives_up_a_dead_parent": "32m",
    "test_nobody_notices_that_sends_fail": "32m",
    "test_nobody_notices_that_a_way_has_broken": "32m",
    "test_a_root_does_not_learn_its_seqno": "32m",
    "test_nobody_follows_to_another_channel": "32m",
    "test_nobody_steps_his_clock": "32m",
    "test_a_new_epoch_is_taken_for_a_replay": "32m",
    "test_the_number_of_a_command_is_not_kept": "32m",
    "test_nobody_tells_of_two_with_one_number": "32m",
    "test_a_root_acknowledges_before_the_broker_has_it": "32m",
    "test_a_backlog_is_not_paced": "48m",
    "test_frames_that_were_overtaken_are_dropped": "32m",
}

TIMEOUT = {
    "test_a_root_acknowledges_before_the_broker_has_it": 180,
    "test_a_backlog_is_not_paced": 180,
    "test_a_root_does_not_learn_its_seqno": 180,
    "test_nobody_follows_to_another_channel": 180,
}


def caught(script, kind="grid"):
    assert script(ours, kind, 30, 1), "nothing was noticed"


def test_nobody_blames_who_does_not_forward():
    upward.Upward.silent = lambda self, neighbour, now: None
    caught(faults.zombie)


def test_nobody_gives_up_a_dead_parent():
    links.Neighbour.sent = lambda self, ok: None
    links.Neighbour.unanswered = lambda self: False
    caught(faults.kill_relay)


def test_nobody_notices_that_sends_fail():
    links.Neighbour.sent = lambda self, ok: None
    caught(faults.kill_one_of_two)


def test_nobody_notices_that_a_way_has_broken():
    links.Neighbour.sent = lambda self, ok: None
    links.Neighbour.unanswered = lambda self: False
    caught(faults.asymmetric)


def test_a_root_does_not_learn_its_seqno():
    heard = beacons.Beacons.heard

    def stubborn(self, frame, neighbour, alone, now):
        own = self._node.routes.own
        heard(self, frame, neighbour, alone, now)
        if self._node.is_root:
            self._node.routes.own = own

    beacons.Beacons.heard = stubborn
    seqnos.Seqnos.sought = lambda self, frame, source, now: None
    caught(faults.root_seqno_0)


def test_nobody_follows_to_another_channel():
    channel.Channel._tune = lambda self, number: None
    caught(faults.channel_move)


def test_nobody_steps_his_clock():
    heard = nettime.NetTime.heard
    nettime.NetTime.heard = lambda self, *rest: True if self._base is not None else heard(self, *rest)
    caught(faults.clock_step)


def test_a_new_epoch_is_taken_for_a_replay():
    fresh = guard.Floors.fresh
    guard.Floors.fresh = lambda self, row, epoch, ctr: fresh(self, row, epoch, ctr) and epoch <= self._epochs[row] + 900
    caught(faults.wiped)


def test_the_number_of_a_command_is_not_kept():
    gateways.Pole.floor = lambda self, ident: True
    caught(faults.flash_full)


def test_nobody_tells_of_two_with_one_number():
    counts.Counts.minute = lambda self: None
    caught(faults.duplicate_id)


def test_a_root_acknowledges_before_the_broker_has_it():
    received = gateways.Site.received

    def hasty(self, pole, origin, number, payload):
        taken = received(self, pole, origin, number, payload)
        pole.station.node.confirm(origin, number, pole.station.ms())
        return taken

    gateways.Site.received = hasty
    caught(faults.kill_only_root)


def test_a_backlog_is_not_paced():
    custody.Custody._refill = lambda self, now: setattr(self, "_tokens", 4)
    caught(faults.backlog_48h, "line")  # where many frames pass the same poles


def test_frames_that_were_overtaken_are_dropped():
    guard.Floors.fresh = lambda self, row, epoch, ctr: (epoch, ctr) > (self._epochs[row], self._ctrs[row])
    caught(faults.udp_reorder)
