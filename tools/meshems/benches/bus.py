"""The suite `bus`: how near the Modbus master comes to the speed of the wire, and what it makes of faults.

Twenty meters on one line with a turnaround of 20 ms, read by the firmware's driver and by the libraries of others in
turn. The clients are run by bus_run.py, the line is bus_line.py, and bus_judge.py says from the line's log what became
of it; the limits are those of bus_limit.py.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from rich.table import Table

from meshems.benches import bus_judge as judge
from meshems.benches import bus_limit as limits
from meshems.benches import bus_virtual as virtual
from meshems.benches import rig
from meshems.benches.base import Report
from meshems.benches.bus_run import OURS, PEERS, TURNAROUND_MS, Job, Run, Runner
from meshems.benches.figures import Figure
from meshems.sim.line import Settings

METERS = 20
UNITS = tuple(range(1, METERS + 1))
ONE = [[3, 0, 40]]
EIGHT = [[3, 100 * i, 2] for i in range(8)]
LAYOUTS = {"40regs": (ONE, 3, 1.03), "8x2regs": (EIGHT, 2, 1.08)}  # name: blocks, cycles, bound of the ratio
BAUDS = {1200: (1, 1.03), 2400: (2, 1.03), 19200: (5, 1.05), 115200: (10, 1.25)}  # cycles, bound
CHIP_GRAIN_MS = 10
TWO_BUSES = 0.55
STEP_MS = 20
SILENT = (3, 7, 11, 15, 19)
STEP_CYCLES = 6
SILENT_METER_S = 0.05
FAULTS = {"late": 3, "glitch": 1, "echo": 1, "wrong_unit": 1, "short": 1}  # strikes each so-manyth request
FAULTY = tuple(range(1, 5))
POLLS, PEER_POLLS = 1000, 64

CLIENTS = (OURS, *PEERS)


def run(say: Callable[[str], None]) -> Iterator[Report]:
    """Measure one thing after the other; `say` is told how far it is. BenchError when something cannot run."""
    with rig.Rig() as bench:
        yield from _Suite(Runner(bench), say).run()


def _limit_s(settings: Settings, blocks: list[list[int]]) -> float:
    return limits.cycle_s(settings, METERS, [block[2] for block in blocks], TURNAROUND_MS / 1000)


def _compared(
    name: str, unit: str, found: Mapping[str, float], bound: float, limit: float | None = None
) -> list[Figure]:
    """Return a figure for each peer; with a limit, the bound is a ratio to it."""
    peers = [peer for peer in found if peer != OURS]
    return [Figure(name, found[OURS], unit, peer, found[peer], limit, bound, limit is not None) for peer in peers]


class _Suite:
    """One run of the suite."""

    def __init__(self, runner: Runner, say: Callable[[str], None]):
        self._runner = runner
        self._say = say
        self._early = dict.fromkeys(CLIENTS, 0)  # requests that began too early, in the runs that are timed

    def run(self) -> Iterator[Report]:
        """Yield a report after each measurement."""
        yield from self._cycles()
        yield self._bauds()
        yield self._chip()
        yield self._two_buses()
        yield self._gaps()
        yield self._steps()
        yield self._glitch()
        yield self._faults()
        yield self._silent()

    def _all(self, job: Job) -> dict[str, Run]:
        """Let the peers do a job at the same time, each on a line of its own: for counts, not for times."""
        with ThreadPoolExecutor(len(PEERS)) as pool:
            return dict(zip(PEERS, pool.map(lambda peer: self._runner.run(peer, job), PEERS), strict=True))

    def _cycles(self) -> Iterator[Report]:
        shown = Table(title=f"{METERS} meters, 9600 8N1", title_justify="left")
        shown.add_column("client", no_wrap=True)
        for head in ("reads", "s a cycle", "limit", "of limit", "too early", "ms late a read", "wrong"):
            shown.add_column(head, justify="right")
        for layout, (blocks, cycles, bound) in LAYOUTS.items():
            reads = METERS * len(blocks)
            job = Job(blocks, cycles * reads)
            limit = _limit_s(job.settings, blocks)
            found = {}
            for client in CLIENTS:
                self._say(f"cycle_{layout}: {client}")
                done = self._runner.run(client, job)
                gap_s = job.settings.gap_s
                early = judge.gap_violations(done.log, gap_s)
                self._early[client] += early
                found[client] = round(judge.cycle_s(done.log, reads), 3)
                worth = judge.verdict(done.polls, blocks, done.log)
                if client == OURS and worth.right != job.polls:
                    raise rig.BenchError(f"cycle_{layout}: only {worth.right} of {job.polls} polls were right")
                shown.add_row(
                    client, layout, f"{found[client]:.3f}", f"{limit:.3f}", f"{found[client] / limit:.3f}",
                    f"{early} of {job.polls}", f"{judge.late_ms(done.log, gap_s):.2f}", str(worth.wrong),
                )  # fmt: skip
            yield Report(_compared(f"bus.cycle_{layout}_s", "s", found, bound, round(limit, 3)))
        yield Report([], [shown])

    def _cycle_s(self, job: Job) -> float:
        """Return how long a cycle of ours is, that of the slower line; BenchError when a poll failed."""
        done = self._runner.run(OURS, job)
        cycles = []
        for log, units in zip(done.logs, job.units, strict=True):
            mine = [poll for poll in done.polls if poll[0] in units]
            right = judge.verdict(mine, job.blocks, log).right
            if right != len(mine):
                raise rig.BenchError(f"{job.settings}: only {right} of {len(mine)} polls were right")
            self._early[OURS] += judge.gap_violations(log, job.settings.gap_s)
            cycles.append(judge.cycle_s(log, len(units) * len(job.blocks)))
        return max(cycles)

    def _bauds(self) -> Report:
        figures = []
        for baud, (cycles, bound) in BAUDS.items():
            self._say(f"cycle_40regs_{baud}")
            settings = Settings(baud)
            found = self._cycle_s(Job(ONE, cycles * METERS + 1, settings=settings))
            limit = round(_limit_s(settings, ONE), 3)
            name = f"bus.cycle_40regs_{baud}_s"
            figures.append(Figure(name, round(found, 3), "s", limit=limit, bound=bound, of_limit=True))
        return Report(figures)

    def _chip(self) -> Report:
        self._say(f"cycle_40regs_chip: asyncio wakes every {CHIP_GRAIN_MS} ms")
        found = self._cycle_s(Job(ONE, 3 * METERS, grain_ms=CHIP_GRAIN_MS))
        limit = round(_limit_s(Settings(), ONE), 3)
        return Report([Figure("bus.cycle_40regs_chip_s", round(found, 3), "s", limit=limit)])

    def _two_buses(self) -> Report:
        self._say("two_buses: all meters on one line, then half of them on each of two")
        half = METERS // 2
        alone = self._cycle_s(Job(ONE, 3 * METERS))
        both = self._cycle_s(Job(ONE, 3 * half, units=(UNITS[:half], UNITS[half:])))
        return Report([Figure("bus.two_buses_ratio", round(both / alone, 3), "", limit=0.5, bound=TWO_BUSES)])

    def _gaps(self) -> Report:
        self._say("gap_violations: once more in virtual time")
        for layout, (blocks, cycles, _) in LAYOUTS.items():
            profiles = virtual.profile(self._runner.folder(layout), blocks)
            polls = cycles * METERS * len(blocks)
            self._early[OURS] += virtual.gap_violations(profiles, UNITS, polls)
        return Report(_compared("bus.gap_violations", "requests", self._early, 0))

    def _steps(self) -> Report:
        self._say(f"step_cpu: {len(SILENT)} of {METERS} meters are silent")
        done = self._runner.run(OURS, Job(ONE, STEP_CYCLES * METERS, silent=SILENT, steps=True))
        longest_us = max(row[2] for row in done.tasks)
        return Report([Figure("bus.step_cpu_ms", round(longest_us / 1000, 1), "ms", bound=STEP_MS)])

    def _glitch(self) -> Report:
        """One meter's replies begin with a stray byte: how many polls are lost, its own included."""
        self._say("good_polls_lost: a glitch byte before one meter's replies")
        job = Job(ONE, 2 * METERS, fault={"kind": "glitch", "units": [7], "every": 1})
        runs = {OURS: self._runner.run(OURS, job), **self._all(job)}
        lost = {client: job.polls - judge.verdict(done.polls, ONE, done.log).right for client, done in runs.items()}
        return Report(_compared("bus.good_polls_lost", f"of {job.polls}", lost, 0))

    def _faults(self) -> Report:
        wrong = dict.fromkeys(CLIENTS, 0)
        shown = Table("fault", title="Polls with a fault: right / wrong / nothing", title_justify="left")
        for client in wrong:
            shown.add_column(client, justify="right")
        profiles = virtual.profile(self._runner.folder("faults"), EIGHT)
        for kind, every in FAULTS.items():
            self._say(f"wrong_values: {kind}")
            verdicts = {OURS: virtual.faults(profiles, FAULTY, kind, every, POLLS)}
            job = Job(EIGHT, PEER_POLLS, units=(FAULTY,), fault={"kind": kind, "units": FAULTY, "every": every})
            for peer, done in self._all(job).items():
                verdicts[peer] = judge.verdict(done.polls, EIGHT, done.log)
            for client, worth in verdicts.items():
                wrong[client] += round(worth.wrong * POLLS / sum(worth))
            shown.add_row(kind, *(" / ".join(map(str, worth)) for worth in verdicts.values()))
        return Report(_compared("bus.wrong_values", f"of {POLLS * len(FAULTS)}", wrong, 0), [shown])

    def _silent(self) -> Report:
        """What one dead meter adds to a cycle: ours once it is backed off, the peers as long as they ask it."""
        self._say("silent_meter: one of the meters is dead")
        profiles = virtual.profile(self._runner.folder("silent"), ONE)
        cost = {OURS: virtual.silent_meter_s(profiles, UNITS, _limit_s(Settings(), ONE))}
        job = Job(ONE, 2 * METERS + 1, silent=UNITS[-1:])
        for peer, done in self._all(job).items():
            with_s = judge.steady_cycle_s(done.log, UNITS[0])
            asked = judge.requests(done.log)[: METERS - 1]
            cost[peer] = with_s - judge.cycle_s(asked, METERS - 1)
        found = {client: round(seconds, 3) for client, seconds in cost.items()}
        return Report(_compared("bus.silent_meter_s", "s", found, SILENT_METER_S))
