"""The `meshems` command. Each subcommand loads what it needs when it is called, so that `--help` is quick."""

import importlib
import importlib.util
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import click
from click.core import ParameterSource

from meshems import __version__, paths

FOUND_BAD_INPUT = 2  # exit status, as click's own for wrong usage
ELSEWHERE = {  # modules with a click command of the same name; the last file of a group brings its other commands
    "profile": "meshems.tryout",
    "scan": "meshems.scan",
    "bench": "meshems.bench",
    "logs": "meshems.logs",
    "mesh": "meshems.meshmap",
    "board": "meshems.boardcmd",
    "build": "meshems.build",
    "catchup": "meshems.catchup",
    "site": "meshems.siteforms",
    "flash": "meshems.flash",
    "provision": "meshems.provision",
    "monitor": "meshems.monitor",
    "console": "meshems.console",
}


class Group(click.Group):
    """Finds the commands of the other modules when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        there = [name for name, module in ELSEWHERE.items() if importlib.util.find_spec(module)]
        return sorted([*super().list_commands(ctx), *there])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command `name`, None when there is none."""
        if name in ELSEWHERE and importlib.util.find_spec(ELSEWHERE[name]):
            command = getattr(importlib.import_module(ELSEWHERE[name]), name)
            assert isinstance(command, click.Command)
            return command
        return super().get_command(ctx, name)


def fail(text: str, status: int = 1, as_json: bool = False) -> None:
    """End the command with one line that says what is wrong and what to do; `as_json` on the standard output too."""
    if as_json:
        click.echo(json.dumps({"ok": False, "error": text}))
    click.echo(f"meshems: {text}", err=True)
    sys.exit(status)


def needed(module: str) -> ModuleType:
    """Return a module that stands on packages which a demo does not need; ends the command when they are missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        fail(f"found no package {error.name}, expected those of requirements/device.txt; `make device` installs them")
        raise


def refuse(file: Path, problems: Sequence[tuple[str, str, str]]) -> None:
    """End the command with every problem of `file`: path, what was found, what is allowed."""
    for path, found, allowed in problems:
        click.echo(f"{file}: {path}: found {found}, allowed {allowed}", err=True)
    count = len(problems)
    fail(f"{file} is refused: {count} problem{'s' if count > 1 else ''}", FOUND_BAD_INPUT)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="meshems")
def main() -> None:
    """Open energy-meter gateway: simulate it, run it, check its files.

    \b
    meshems demo                                   two gateways, twelve meters, a broker
    meshems scan --port /dev/ttyUSB0               which meters are on a line
    meshems run --config gateway.json --state ./board --uart 1=/dev/ttyUSB0
    """


def _uarts(ctx: click.Context, option: click.Parameter, values: Sequence[str]) -> dict[int, str]:
    uarts: dict[int, str] = {}
    for value in values:
        number, equals, path = value.partition("=")
        if not (number.isdigit() and equals and path):
            raise click.BadParameter(f"{value}: write N=PATH, as in 1=/tmp/line-1")
        if not Path(path).exists():
            raise click.BadParameter(f"{path}: no such terminal; start `meshems sim-meters --pty {path} ...` first")
        uarts[int(number)] = str(Path(path).absolute())
    return uarts


@main.command()
@click.option("--config", type=click.Path(path_type=Path), help="gateway.json; secrets.json beside it.")
@click.option("--state", required=True, type=click.Path(path_type=Path), help="The board's memory: made if missing.")
@click.option("--uart", "uarts", multiple=True, metavar="N=PTY", callback=_uarts, help="The terminal of UART N.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after so long; else at Ctrl-C or SIGTERM.")
@click.option("--repl", type=click.Path(path_type=Path), metavar="LINK",
              help="A link to a terminal, made here, with the board's REPL: as a chip's USB port.")  # fmt: skip
def run(
    config: Path | None, state: Path, uarts: dict[int, str], seconds: float | None, repl: Path | None
) -> None:  # fmt: skip
    """One gateway of the real firmware on the desktop board.

    \b
    meshems run --config gateway.json --state ./board --uart 1=/tmp/line-1
    meshems run --state ./board --uart 1=/tmp/line-1 --repl /tmp/pole-07

    With --repl no --config is needed: `meshems provision --port /tmp/pole-07` brings it.
    Its flash is files in the state directory and outlives it. Exit status: 0 stopped in good order, 1 the
    gateway failed, 2 the configuration is refused.
    """
    from meshems.run import RunError, check, install
    from meshems.run import run as run_gateway

    try:
        if repl:
            from meshems import terminal

            (state / "flash").mkdir(parents=True, exist_ok=True)
            if config and not (problems := check(config)):
                install(config, state)
            elif config:
                refuse(config, problems)
            sys.exit(terminal.run(state, uarts, repl, seconds, click.echo))
        if not config:
            raise click.UsageError("give --config FILE, or --repl LINK")
        problems = check(config)
        if problems:
            refuse(config, problems)
        for number, bus in enumerate(json.loads(config.read_bytes())["buses"]):
            if bus["uart"] not in uarts:
                click.echo(f"meshems: bus {number}: no --uart {bus['uart']}=PTY was given, its line is dead", err=True)
        sys.exit(run_gateway(config, state, uarts, seconds, click.echo))
    except OSError as error:
        fail(f"{error.filename or config}: {error.strerror or error}", FOUND_BAD_INPUT)
    except RunError as error:
        fail(str(error))


@main.command("sim-meters")
@click.option("--pty", required=True, type=click.Path(path_type=Path), help="Link to the terminal, made here.")
@click.option("--baud", default=9600, show_default=True, help="Of the line.")
@click.option("--format", "form", default="8N1", show_default=True, help="Data bits, parity, stop bits.")
@click.option("--spec", "spec_file", required=True, type=click.Path(path_type=Path), help="Who is there: JSON.")
@click.option("--log", "log_file", type=click.Path(path_type=Path), help="Each request and reply, as JSON lines.")
def sim_meters(pty: Path, baud: int, form: str, spec_file: Path, log_file: Path | None) -> None:
    """Simulated meters on one serial line that keeps the time of the wire.

    \b
    echo '{"units": [{"serial": "SN-1", "address": 1, "profile": "eastron-sdm120"}]}' > spec.json
    meshems sim-meters --pty /tmp/line-1 --baud 9600 --spec spec.json --log line-1.jsonl

    What a spec may say: docs/simulator.md. SIGUSR1 makes every unit fall silent; Ctrl-C or SIGTERM ends it.
    """
    from meshems.sim import spec as specs
    from meshems.sim.line import Line, Settings

    try:
        settings = Settings(baud, form)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        spec = _spec(spec_file)
        with specs.log_file(log_file, settings, spec) as log:
            line = Line(pty, settings, specs.stations(spec, paths.PROFILES, settings), log)

            def end(number: int, frame: FrameType | None) -> None:
                line.stop()

            def hush(number: int, frame: FrameType | None) -> None:
                line.silent = True

            signal.signal(signal.SIGINT, end)
            signal.signal(signal.SIGTERM, end)
            signal.signal(signal.SIGUSR1, hush)
            for text in specs.summary(spec, pty, settings):
                click.echo(text)
            line.run()
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _spec(file: Path) -> dict[str, Any]:
    """Return a simulator's spec with its defaults filled in; refuses one with problems."""
    from meshems.sim import spec as specs

    try:
        spec = json.loads(file.read_bytes())
    except ValueError as error:
        refuse(file, [("(file)", str(error), "JSON")])
    problems = specs.problems(spec, paths.PROFILES)
    if problems:
        refuse(file, problems)
    specs.fill(spec)
    assert isinstance(spec, dict)
    return spec


@main.command()
@click.option(
    "--gateways", default=2, show_default=True, type=click.IntRange(1, 32), help="Each with a line of its own."
)
@click.option("--meters", default=12, show_default=True, type=click.IntRange(1, 500), help="In all, split evenly.")
@click.option("--seconds", type=click.FloatRange(min=1), help="How long to measure; else until Ctrl-C.")
@click.option(
    "--fault", "faults", multiple=True, metavar="dead:SERIAL@20-40", help="A meter is silent from s 20 to 40."
)
@click.option("--kill", "kills", multiple=True, metavar="GATEWAY@30", help="Cut a gateway's power at s 30, for 15 s.")
@click.option("--mesh", is_flag=True, help="Only the first gateway reaches the broker; the others reach it by radio.")
@click.option(
    "--picture", type=click.Path(path_type=Path), metavar="FILE.svg", help="Save the last table as a picture."
)
@click.option("--site", type=click.Path(path_type=Path), metavar="FILE", help="The gateways and meters of a site.toml.")
def demo(
    gateways: int, meters: int, seconds: float | None, faults: Sequence[str], kills: Sequence[str], mesh: bool,
    picture: Path | None, site: Path | None,
) -> None:  # fmt: skip
    """Gateways of the real firmware, simulated meters read every 5 s, a broker and a subscriber that counts.

    \b
    meshems demo --gateways 2 --meters 12 --seconds 60
    meshems demo --seconds 90 --fault dead:SN-3@20-40 --kill pole-1@30
    meshems demo --mesh --gateways 8 --meters 24 --seconds 90 --kill pole-3@30
    meshems demo --site site.toml --seconds 60

    A meter is named by its serial or its number in the table, a gateway pole-1, pole-2, ... Ends with
    `stored N, acknowledged N, lost L, duplicates D, wrong W, uncommitted U`; exit status 1 when something
    was lost or wrong, or when fewer readings arrived than the cadence promises.
    """
    from meshems.broker import BrokerMissing
    from meshems.demo import Plan, PlanError, run_demo
    from meshems.run import RunError

    try:
        if site:
            given = click.get_current_context().get_parameter_source
            if {given("gateways"), given("meters"), given("mesh")} != {ParameterSource.DEFAULT}:
                raise click.UsageError("--gateways, --meters and --mesh are those of --site: leave them out")
            from meshems.sitedemo import plan_of
            from meshems.siteforms import good

            plan = plan_of(good(site, keys_made=False), seconds, faults, kills)
        else:
            plan = Plan.of(gateways, meters, seconds, faults, kills, mesh)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    try:
        sys.exit(run_demo(plan, picture, f"meshems demo --site {site}" if site else ""))
    except (BrokerMissing, RunError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


if __name__ == "__main__":
    main()
