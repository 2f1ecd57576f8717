"""A site of twelve gateways in one site.toml runs in the demo: real firmware, paced lines, nothing lost or wrong."""

import re

from click.testing import CliRunner

from meshems.cli import main
from meshems.site import Site
from test_demo import ended, seen, start

METERS = ("eastron-sdm120", "chint-ddsu666", "abb-b23", "orno-we514")


def twelve(tmp_path):
    """Return a site.toml as `site new` makes it, with two meters at each gateway; one has a second, slower line."""
    file = tmp_path / "site" / "site.toml"
    file.parent.mkdir()
    (file.parent / "operator.der").write_bytes(b"\x30\x00")
    done = CliRunner().invoke(main, ["site", "new", str(file), "--yes", "--gateways", "12", "--ca", "operator.der"])
    assert done.exit_code == 0, done.output
    count = iter(range(1, 99))

    def meters(match):
        two = next(count), next(count)
        rows = [f'  {{serial = "SN-{n}", address = {n}, profile = "{METERS[n % 4]}"}},' for n in two]
        return "\n".join(["meters = [", *rows, "]"])

    text = re.sub(r"meters = \[\n.*\n\]", meters, file.read_text())
    text = text.replace('gatewayId = "pole-07"', 'gatewayId = "pole-07"\nbuses = [{uart = 2}, {uart = 1, baud = 2400}]')
    text = text.replace('{serial = "SN-14", address = 14,', '{serial = "SN-14", bus = 1, address = 13, every = 900,')
    file.write_text(text)
    assert CliRunner().invoke(main, ["site", "keys", str(file)]).exit_code == 0
    return file


def test_a_site_of_twelve_gateways_runs_from_its_own_file_and_loses_nothing(tmp_path):
    file = twelve(tmp_path)
    assert Site.load(file).problems() == [] and len(Site.load(file).names) == 12
    before = {path: path.read_bytes() for path in file.parent.iterdir()}
    work = tmp_path / "work"
    work.mkdir()
    status, lines, figures = ended(start(work, "--site", str(file), "--seconds", "20"), work)
    assert status == 0, lines
    assert figures["stored"] == figures["acknowledged"] >= 24 * 3
    assert (figures["lost"], figures["wrong"], figures["duplicates"]) == (0, 0, 0)
    assert "24 of 24 meters good" in seen(lines, 20), lines
    assert {path: path.read_bytes() for path in file.parent.iterdir()} == before, "the site's files are only read"
