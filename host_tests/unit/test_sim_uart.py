"""Characters go over the simulated line as between real UARTs."""

import random

import pytest

from meshems.sim.uart import Settings, Uart, heard, levels, sampled

DATA = bytes(range(256))


def bytes_of(found):
    return bytes(byte for _, byte, _ in found)


def mistakes(found):
    return sum(not good for _, _, good in found)


@pytest.mark.parametrize("form", ["8N1", "8E1", "8O1", "8N2", "8E2", "8O2"])
def test_who_is_set_alike_hears_every_byte_at_the_end_of_its_character(form):
    settings = Settings(9600, form)
    found = heard(DATA, settings, settings)
    assert bytes_of(found) == DATA and mistakes(found) == 0
    bits = {"8N1": 10, "8E1": 11, "8O1": 11, "8N2": 11, "8E2": 12, "8O2": 12}[form]
    assert [end for end, _, _ in found] == pytest.approx([(i + 1) * bits * 1e6 / 9600 for i in range(256)])
    assert sampled(levels(DATA, settings), 1e6 / 9600, settings) == [
        (pytest.approx(end), byte, good) for end, byte, good in found
    ], "bit by bit it is the same"


def test_an_even_parity_bit_makes_the_ones_even_and_an_odd_one_odd():
    assert levels(b"\x07", Uart(9600, "8E1")) == [0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert levels(b"\x07", Uart(9600, "8O1")) == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("parity", "NEO")
def test_a_difference_in_stop_bits_alone_does_no_harm(parity):
    one, two = Settings(9600, f"8{parity}1"), Settings(9600, f"8{parity}2")
    for sender, receiver in ((one, two), (two, one)):
        found = heard(DATA, sender, receiver)
        assert bytes_of(found) == DATA and mistakes(found) == 0


def test_even_and_odd_parity_hear_the_data_and_an_error_in_each_character():
    found = heard(DATA, Settings(9600, "8E1"), Settings(9600, "8O1"))
    assert bytes_of(found) == DATA and mistakes(found) == 256


def test_who_expects_no_parity_hears_the_data_and_takes_a_zero_parity_bit_for_a_broken_stop_bit():
    found = heard(DATA, Settings(9600, "8E1"), Settings(9600, "8N1"))
    assert bytes_of(found) == DATA and mistakes(found) == 128


def test_who_expects_parity_loses_step_where_there_is_none():
    data = random.Random(1).randbytes(256)
    found = heard(data, Settings(9600, "8N1"), Settings(9600, "8E1"))
    right = sum(a == b for a, b in zip(bytes_of(found), data, strict=False))
    assert right < 30 and mistakes(found) > 100


@pytest.mark.parametrize("baud", [2400, 4800, 19200, 115200])
def test_another_speed_is_garbage(baud):
    data = random.Random(2).randbytes(64)
    found = heard(data, Settings(9600), Settings(baud))
    assert bytes_of(found) != data and data[:8] not in bytes_of(found)
    assert len(found) < 64 if baud < 9600 else mistakes(found)


def test_two_per_cent_of_speed_are_within_reach_and_seven_are_not():
    data = random.Random(3).randbytes(64)
    assert bytes_of(heard(data, Uart(9600), Uart(9792))) == data
    assert bytes_of(heard(data, Uart(9600), Uart(10300))) != data


@pytest.mark.parametrize("setting", [(9600, "9N1"), (9600, "8X1"), (9600, "8N3"), (0, "8N1"), (9600, "8N")])
def test_what_no_uart_can_be_set_to_is_refused(setting):
    with pytest.raises(ValueError):
        Uart(*setting)
