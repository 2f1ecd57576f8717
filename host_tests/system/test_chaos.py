"""Two minutes of everything that can go wrong at once: chaos.py has it, and runs it for as long as one likes."""

import pytest

from chaos import Chaos

SECONDS = 100


@pytest.mark.timeout(400)
def test_in_two_minutes_of_faults_nothing_is_lost_and_nothing_out_of_order(tmp_path):
    with Chaos(tmp_path, seed=5) as chaos:
        result = chaos.run(SECONDS)
        lines = list(chaos.village.gateway.lines)
    print(result)
    assert result.lost == {"first": 0, "second": 0}, (str(result), lines[-40:])
    assert not result.problems, str(result)
    assert set(result.fired) == set(Chaos.KINDS), str(result)
    assert result.stored > 150
