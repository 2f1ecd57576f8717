"""`meshems provision`: the command; provisioning.py does the work, commissioning.py what is left on paper."""

import getpass
import json
import sys
from pathlib import Path

import click

from meshems.run import RunError

FAILED, BAD = 1, 2  # exit status


@click.command()
@click.option("--port", required=True, metavar="PORT", help="The board's serial port.")
@click.option("--site", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The site: site.toml.")
@click.option("--gateway", metavar="ID", help="Which of its gateways this board becomes.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Instead of a site: a gateway.json, with secrets.json beside it.")  # fmt: skip
@click.option("--installer", default=getpass.getuser, show_default="who is logged in", help="Named in the record.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=".", show_default=True,
              help="Folder of the label and the record.")  # fmt: skip
@click.option("--no-test", is_flag=True, help="Leave out the self-test.")
@click.option("--replace", is_flag=True, help="Also when the board is another gateway so far.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: what was found and done.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.svg", help="Save what is said as a picture.")
def provision(
    port: str, site: Path | None, gateway: str | None, config: Path | None, installer: str, out: Path, no_test: bool,
    replace: bool, as_json: bool, picture: Path | None,
) -> None:  # fmt: skip
    """Make a board with firmware on it one gateway of a site: configuration, secrets, clock, self-test, label, record.

    \b
    meshems provision --site site.toml --gateway pole-07 --port /dev/ttyACM0
    meshems provision --config gateway.json --port /dev/ttyACM0 --json

    The gateway on the board is interrupted and runs again at the end. Broken off at any point, the board has the
    configuration that it had, or the new one as a whole; do it again then.

    Exit status: 0 done, 1 done and the self-test found something, 2 not done.
    """
    from meshems.cli import fail, needed

    commissioning, work = needed("meshems.commissioning"), needed("meshems.provisioning")
    if bool(site) == bool(config) or bool(site) != bool(gateway):
        raise click.UsageError("give --site FILE and --gateway ID, or --config FILE")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if not as_json:
            click.echo(text)

    try:
        plan = work.Plan.of_site(site, str(gateway)) if site else work.Plan.of_files(Path(str(config)))
        done = work.carry_out(
            plan, port, say, installer=installer, test=not no_test, replace=replace,
            tell=lambda row: say(commissioning.line(row)),
        )  # fmt: skip
        files = commissioning.write(done, out)
    except work.Refused as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        if as_json:
            click.echo(json.dumps({"ok": False, "error": str(error), "problems": error.problems}))
        fail(f"{len(error.problems)} to mend; nothing was changed", BAD)
    except RunError as error:
        fail(str(error), BAD, as_json)
    except OSError as error:
        fail(f"{error.filename or port}: {error.strerror or error}", BAD, as_json)
    if as_json:
        click.echo(json.dumps(work.result(done, files)))
    for row in commissioning.closing(done, files):
        say(row)
    if picture:
        commissioning.picture(said, f"meshems provision --site {site} --gateway {gateway} --port {port}", picture)
    sys.exit(FAILED if done.failed else 0)
