"""`meshems mesh`: a picture of the mesh, from what its roots keep retained at a broker, or from a file.

nodes = load(Path("mesh.jsonl"))            # or retained("127.0.0.1", 1883)
Path("mesh.svg").write_text(picture(nodes))

What a node tells is docs/northbound/mesh.schema.json; a simulation may leave out what the picture does not need, and
add `x` and `y` in metres. Where all have them they are the places, else the tree is drawn from the roots down.
"""

import html
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

TOPICS = ("/gateway/mesh", "/status")
NEEDED = ("gatewayId", "id", "isRoot", "root", "parent", "hops", "cost", "neighbours")
NUMBERS = ("id", "root", "parent", "hops", "cost")
GOOD, FAIR = 1.25, 2.0  # ETX up to which a link is good, or fair
COLOURS = {"good": "#2e7d32", "fair": "#e09500", "poor": "#c62828", "unknown": "#666666"}
STEP_X, STEP_Y, EDGE, WIDTH = 150.0, 120.0, 70.0, 1100.0
RADIUS = 9


class MapError(Exception):
    """Why there is no picture, in one line."""


@dataclass
class Node:
    """A member as it told of itself; `state` is that of its status, "" where none is known."""

    said: dict[str, Any]
    state: str = ""
    at: tuple[float, float] = field(default=(0.0, 0.0))

    @property
    def id(self) -> int:
        return int(self.said["id"])

    @property
    def name(self) -> str:
        return str(self.said["gatewayId"])

    @property
    def parent(self) -> int:
        return int(self.said["parent"])

    def link(self, to: int) -> dict[str, Any] | None:
        """Return what it says of the neighbour `to`."""
        found = [one for one in self.said["neighbours"] if one["id"] == to]
        return found[0] if found else None

    def summary(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        kept = {key: self.said[key] for key in NEEDED}
        return {**kept, "state": self.state or None, "link": self.link(self.parent)}


def quality(link: dict[str, Any] | None) -> str:
    """Return good, fair or poor by ETX, unknown without a link."""
    if not link:
        return "unknown"
    return "good" if link["etx"] <= GOOD else "fair" if link["etx"] <= FAIR else "poor"


def checked(bodies: Iterable[Any]) -> list[Node]:
    """Return the nodes of parsed tables, the newest of each id; MapError when one is none, or they are of two sites."""
    nodes: dict[int, Node] = {}
    for number, body in enumerate(bodies, 1):
        missing = [key for key in NEEDED if key not in body] if isinstance(body, dict) else list(NEEDED)
        if missing:
            raise MapError(f"table {number} has no {', '.join(missing)}")
        wrong = [key for key in NUMBERS if not isinstance(body[key], int)]
        if not isinstance(body["neighbours"], list) or not all(map(_heard, body["neighbours"])):
            wrong.append("neighbours")
        if wrong:
            raise MapError(f"table {number}: found no sense in {', '.join(wrong)}, expected as in mesh.schema.json")
        same = nodes.get(body["id"])
        if same and same.said.get("feederId") != body.get("feederId"):
            feeders = f"{same.said.get('feederId')} and {body.get('feederId')}"
            raise MapError(f"found number {same.id} at {feeders}, expected one mesh: choose by --feeder")
        nodes[body["id"]] = Node(body, body.get("state", ""))
    return [nodes[key] for key in sorted(nodes)]


def _heard(row: Any) -> bool:
    """Return whether this is what a member says of a neighbour."""
    return isinstance(row, dict) and all(isinstance(row.get(key), int | float) for key in ("id", "rssi", "etx"))


def load(file: Path) -> list[Node]:
    """Return the nodes of a file: one JSON object a line, or one array; MapError, OSError."""
    try:
        text = file.read_text()
        if text.lstrip().startswith("["):
            bodies = json.loads(text)
        else:
            bodies = [json.loads(row) for row in text.splitlines() if row]
    except ValueError as error:
        raise MapError(f"{file}: {error}") from None
    return checked(bodies)


def retained(
    host: str, port: int, feeder: str = "+", seconds: float = 2.0, user: str | None = None, password: str | None = None
) -> list[Node]:
    """Return the nodes whose tables a broker keeps; MapError when it is not reached or refuses."""
    from paho.mqtt import client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    got: dict[str, bytes] = {}
    refused: list[str] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if user:
        client.username_pw_set(user, password)

    def connected(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refused.append(str(reason))
        for topic in TOPICS:
            client.subscribe(f"openami/v1/{feeder}/+{topic}", qos=1)

    def message(_client: Any, _data: Any, message: Any) -> None:
        got[message.topic] = bytes(message.payload)

    client.on_connect, client.on_message = connected, message
    try:
        client.connect(host, port)
    except OSError as error:
        raise MapError(f"{host}:{port}: {error.strerror or error}") from None
    client.loop_start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not refused:
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()
    if refused:
        raise MapError(f"{host}:{port}: {refused[0]}")
    bodies = []
    for topic, payload in sorted(got.items()):
        if topic.endswith(TOPICS[0]):
            try:
                body = json.loads(payload)
                body["state"] = json.loads(got.get(topic[: -len(TOPICS[0])] + TOPICS[1], b"{}")).get("state", "")
            except (ValueError, AttributeError, TypeError):
                raise MapError(f"{topic}: no JSON object") from None
            bodies.append(body)
    return checked(bodies)


def place(nodes: Sequence[Node]) -> tuple[float, float]:
    """Give each node its place on the picture, in pixels; return its size."""
    if all("x" in node.said and "y" in node.said for node in nodes):
        xs, ys = [[float(node.said[key]) for node in nodes] for key in ("x", "y")]
        scale = (WIDTH - 2 * EDGE) / max(max(xs) - min(xs), max(ys) - min(ys), 1.0)
        for node, x, y in zip(nodes, xs, ys, strict=True):
            node.at = EDGE + (x - min(xs)) * scale, EDGE + (y - min(ys)) * scale
    else:
        _tree(nodes)
    return max(node.at[0] for node in nodes) + EDGE, max(node.at[1] for node in nodes) + EDGE


def _tree(nodes: Sequence[Node]) -> None:
    """Place roots on top, and whoever has no way to one beside them; each parent over the middle of its children."""
    known = {node.id: node for node in nodes}
    below: dict[int, list[Node]] = {}
    tops = []
    for node in nodes:
        if node.said["isRoot"] or node.parent not in known or node.parent == node.id:
            tops.append(node)
        else:
            below.setdefault(node.parent, []).append(node)
    placed: set[int] = set()
    free = 0.0

    def settle(node: Node, level: int) -> float:
        nonlocal free
        placed.add(node.id)
        xs = [settle(child, level + 1) for child in below.get(node.id, []) if child.id not in placed]
        if not xs:
            xs = [free]
            free += STEP_X
        node.at = EDGE + (xs[0] + xs[-1]) / 2, EDGE + level * STEP_Y
        return node.at[0] - EDGE

    for node in sorted(tops, key=lambda node: not node.said["isRoot"]):
        settle(node, 0)
    for node in nodes:  # two that call each other parent hang on nobody
        if node.id not in placed:
            settle(node, 0)


def picture(nodes: Sequence[Node]) -> str:
    """Return an SVG of the tree: its links by quality, with dBm and ETX; the other links that are heard, faint."""
    width, height = place(nodes)
    known = {node.id: node for node in nodes}
    height += 30
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    drawn = set()
    for node in nodes:
        for one in node.said["neighbours"]:
            pair = frozenset((node.id, one["id"]))
            other = known.get(one["id"])
            if other and pair not in drawn and node.parent != other.id and other.parent != node.id:
                drawn.add(pair)
                rows.append(_line(node.at, other.at, 'stroke="#dddddd" stroke-width="1"'))
    for node in nodes:
        parent = known.get(node.parent)
        if parent and parent is not node:
            link = node.link(parent.id)
            colour = COLOURS[quality(link)]
            rows.append(_line(node.at, parent.at, f'stroke="{colour}" stroke-width="3"'))
            if link:
                x, y = (node.at[0] + parent.at[0]) / 2, (node.at[1] + parent.at[1]) / 2
                text = f"{link['rssi']} dBm · {link['etx']:g}"
                rows.append(
                    f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle" fill="{colour}" stroke="white" '
                    f'stroke-width="3" paint-order="stroke">{text}</text>'
                )
    for node in nodes:
        x, y = node.at
        lost = node.state == "offline" or not node.said["root"]
        fill = "#1565c0" if node.said["isRoot"] else "#bbbbbb" if lost else "#90caf9"
        size = RADIUS + 4 if node.said["isRoot"] else RADIUS
        rows.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{size}" fill="{fill}" stroke="#333333"/>')
        label = html.escape(node.name) + (" (offline)" if node.state == "offline" else "")
        rows.append(f'<text x="{x:.0f}" y="{y + size + 13:.0f}" text-anchor="middle">{label}</text>')
    legend = f"{len(nodes)} members; ETX up to {GOOD:g} green, up to {FAIR:g} amber, above red"
    rows.append(f'<text x="10" y="{height - 10:.0f}" fill="#555555">{legend}</text>')
    return "\n".join([*rows, "</svg>"]) + "\n"


def _line(one: tuple[float, float], other: tuple[float, float], style: str) -> str:
    return f'<line x1="{one[0]:.0f}" y1="{one[1]:.0f}" x2="{other[0]:.0f}" y2="{other[1]:.0f}" {style}/>'


def _text(nodes: Sequence[Node]) -> list[str]:
    """Return the tree as lines, each below its parent and further in."""
    lines = []
    known = {node.id for node in nodes}

    def tell(node: Node, depth: int, seen: frozenset[int]) -> None:
        link = node.link(node.parent)
        more = f"  {link['rssi']} dBm, ETX {link['etx']:g}" if link else ""
        lines.append("  " * depth + node.name + (" root" if node.said["isRoot"] else more) + f" {node.state}".rstrip())
        for child in nodes:
            if child.parent == node.id and child.id not in seen and not child.said["isRoot"]:
                tell(child, depth + 1, seen | {child.id})

    for node in nodes:
        if node.said["isRoot"] or node.parent not in known:
            tell(node, 0, frozenset((node.id,)))
    return lines


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The broker that the roots publish to.")
@click.option("--port", default=1883, show_default=True, type=click.IntRange(1, 65535))
@click.option("--user", help="Its password is asked for, or taken from MESHEMS_PASSWORD.")
@click.option("--feeder", default="+", help="Only this feederId; else all.")
@click.option("--seconds", default=2.0, show_default=True, help="How long to wait for what is retained.")
@click.option(
    "--dump", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file instead of a broker."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Write the picture.")
@click.option("--json", "as_json", is_flag=True, help="Print each member as JSON, a line each, instead of the tree.")
def mesh(
    host: str, port: int, user: str | None, feeder: str, seconds: float, dump: Path | None, out: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """The tree of a mesh with the quality of its links: from a broker, or from a file of a simulation.

    \b
    meshems mesh --host broker.example.org --out mesh.svg
    meshems mesh --dump mesh.jsonl --out mesh.svg --json

    A file has one table a line, as a root keeps them at .../gateway/mesh; with x and y they are places on a map.
    """
    import os

    from meshems.cli import fail

    password = None
    if user and not dump:
        password = os.environ.get("MESHEMS_PASSWORD") or click.prompt("Password", hide_input=True, err=True)
    try:
        nodes = load(dump) if dump else retained(host, port, feeder, seconds, user, password)
        if not nodes:
            raise MapError("no member of a mesh has told of itself")
        if out:
            out.write_text(picture(nodes))
    except MapError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}")
    for line in [json.dumps(node.summary()) for node in nodes] if as_json else _text(nodes):
        sys.stdout.write(line + "\n")
