"""What goes wrong in the field, on a simulated site of 30 gateways: nothing is lost, and the rest goes on."""

import faults
import ours

HEAP = {
    "test_a_dead_forwarder_costs_seconds": "32m",
    "test_the_only_root_dead_for_twenty_minutes_costs_no_batch": "32m",
    "test_one_of_two_roots_dead_for_good_costs_seconds": "32m",
    "test_a_hung_forwarder_that_still_acknowledges_is_left": "32m",
    "test_a_forwarder_that_has_gone_deaf_is_left": "32m",
    "test_a_root_that_was_taken_to_another_channel_is_followed": "32m",
    "test_a_step_of_the_roots_clock_is_followed": "32m",
    "test_a_pole_that_lost_its_flash_is_not_taken_for_a_replay": "32m",
    "test_a_root_that_counts_from_0_again_is_followed": "32m",
    "test_a_pole_with_a_full_flash_forwards_and_acts_on_no_command": "32m",
    "test_two_poles_with_one_number_are_reported_and_harm_nobody_else": "32m",
    "test_two_poles_with_one_number_are_reported_although_nobody_hears_both": "32m",
    "test_a_backlog_of_two_days_drains_and_what_is_made_now_goes_first": "32m",
    "test_after_a_blackout_the_site_forms_at_once": "32m",
    "test_datagrams_that_overtake_each_other_cost_nothing": "32m",
}

TIMEOUT = {  # s: a busy machine takes ten times as long
    "test_the_only_root_dead_for_twenty_minutes_costs_no_batch": 180,
    "test_a_backlog_of_two_days_drains_and_what_is_made_now_goes_first": 180,
}


def held(script, kind="grid", seed=1):
    wrong = script(ours, kind, 30, seed)
    assert not wrong, wrong


def test_a_dead_forwarder_costs_seconds():
    held(faults.kill_relay)


def test_the_only_root_dead_for_twenty_minutes_costs_no_batch():
    held(faults.kill_only_root)


def test_one_of_two_roots_dead_for_good_costs_seconds():
    held(faults.kill_one_of_two)


def test_a_hung_forwarder_that_still_acknowledges_is_left():
    held(faults.zombie)


def test_a_forwarder_that_has_gone_deaf_is_left():
    held(faults.asymmetric)


def test_a_root_that_was_taken_to_another_channel_is_followed():
    held(faults.channel_move)


def test_a_step_of_the_roots_clock_is_followed():
    held(faults.clock_step)


def test_a_pole_that_lost_its_flash_is_not_taken_for_a_replay():
    held(faults.wiped)


def test_a_root_that_counts_from_0_again_is_followed():
    held(faults.root_seqno_0)


def test_a_pole_with_a_full_flash_forwards_and_acts_on_no_command():
    held(faults.flash_full)


def test_two_poles_with_one_number_are_reported_and_harm_nobody_else():
    held(faults.duplicate_id)


def test_two_poles_with_one_number_are_reported_although_nobody_hears_both():
    for alike in (False, True):
        wrong = faults.duplicate_id(ours, "line", 30, 2, alike)
        assert not wrong, (alike, wrong)


def test_a_backlog_of_two_days_drains_and_what_is_made_now_goes_first():
    held(faults.backlog_48h)


def test_after_a_blackout_the_site_forms_at_once():
    held(faults.blackout)


def test_datagrams_that_overtake_each_other_cost_nothing():
    held(faults.udp_reorder)
