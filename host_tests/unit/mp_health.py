"""gateway/health: a dead task starts again, a hung one starves the watchdog."""
import asyncio

from gateway import health
from gateway.health import Health


class Watchdog:
    fed = 0

    def feed(self):
        self.fed += 1


def setup():
    health.TICK_MS = 5
    health.RESTART_MS = 10, 40
    watchdog = Watchdog()
    made = Health(watchdog)
    asyncio.create_task(made.run())
    return made, watchdog


async def lively(life):
    while True:
        life.beat()
        await asyncio.sleep_ms(5)


async def hung(life):
    await asyncio.Event().wait()


async def test_the_watchdog_is_fed_while_all_tasks_live():
    made, watchdog = setup()
    made.keep("a", lively, 50)
    made.keep("b", lively, 50)
    await asyncio.sleep_ms(200)
    assert watchdog.fed >= 10


async def test_one_hung_task_starves_the_watchdog_within_its_limit():
    made, watchdog = setup()
    made.keep("a", lively, 50)
    made.keep("b", hung, 50)
    await asyncio.sleep_ms(120)
    fed = watchdog.fed
    assert fed > 0
    await asyncio.sleep_ms(120)
    assert watchdog.fed == fed


async def test_a_task_that_dies_is_counted_and_started_again():
    made, watchdog = setup()
    starts = []

    async def dies(life):
        starts.append(life)
        await asyncio.sleep_ms(0)
        raise OSError(5)

    made.keep("a", dies, 50)
    await asyncio.sleep_ms(200)
    assert len(starts) >= 3 and made.lives[0].deaths >= 2
    fed = watchdog.fed
    await asyncio.sleep_ms(50)
    assert watchdog.fed > fed  # a task that is being restarted is not hung


async def test_memory_errors_are_survived():
    made, watchdog = setup()
    starts = []

    async def greedy(life):
        starts.append(life)
        bytearray(1 << 40)

    made.keep("a", greedy, 50)
    await asyncio.sleep_ms(100)
    assert len(starts) >= 2 and watchdog.fed
