"""`meshems mesh`: the tree with the quality of its links, as text, JSON and picture."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from click.testing import CliRunner

from meshems import meshmap
from meshems.cli import main


def node(number, parent=0, etx=1.0, others=(), **more):
    neighbours = [{"id": parent, "rssi": -70, "etx": etx, "cost": 100}] if parent else []
    neighbours += [{"id": other, "rssi": -88, "etx": 3.5, "cost": 300} for other in others]
    said = {"gatewayId": f"pole-{number}", "id": number, "isRoot": not parent, "root": 1, "parent": parent}
    return {**said, "hops": 0, "cost": 0, "neighbours": neighbours, **more}


VILLAGE = [node(1), node(2, 1, 1.1), node(3, 1, 1.7, [2]), node(4, 3, 2.5, [2]), node(5, 3)]


def dump(tmp_path, nodes):
    file = tmp_path / "mesh.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in nodes))
    return file


def test_each_member_stands_under_its_parent_and_no_two_in_one_place(tmp_path):
    nodes = meshmap.load(dump(tmp_path, VILLAGE))
    meshmap.place(nodes)
    places = {one.id: one.at for one in nodes}
    assert len(set(places.values())) == 5
    for one in nodes[1:]:
        assert places[one.id][1] - places[one.parent][1] == meshmap.STEP_Y


def test_the_picture_has_a_line_for_each_link_in_the_colour_of_its_quality(tmp_path):
    nodes = meshmap.load(dump(tmp_path, VILLAGE))
    root = ElementTree.fromstring(meshmap.picture(nodes))
    lines = [one.attrib for one in root if one.tag.endswith("line")]
    tree = [one["stroke"] for one in lines if one["stroke-width"] == "3"]
    assert tree == [meshmap.COLOURS[one] for one in ("good", "fair", "poor", "good")]
    assert len(lines) - len(tree) == 2, "what is heard besides"
    texts = [one.text for one in root if one.tag.endswith("text")]
    assert "-70 dBm · 2.5" in texts and "pole-5" in texts


def test_places_that_are_known_are_kept(tmp_path):
    nodes = meshmap.load(dump(tmp_path, [node(1, x=0, y=0), node(2, 1, x=300, y=0), node(3, 1, x=0, y=150)]))
    meshmap.place(nodes)
    (ax, ay), (bx, by), (cx, cy) = [one.at for one in nodes]
    assert ay == by and ax == cx and (bx - ax) == 2 * (cy - ay) > 0


def test_members_without_a_way_and_a_circle_are_drawn_all_the_same(tmp_path):
    nodes = [node(1), node(2, 3), node(3, 2), node(4, 9, root=0), node(5, state="offline")]
    text = meshmap.picture(meshmap.load(dump(tmp_path, nodes)))
    assert text.count("<circle") == 5 and "pole-5 (offline)" in text


def test_a_name_cannot_break_the_picture(tmp_path):
    text = meshmap.picture(meshmap.load(dump(tmp_path, [node(1, gatewayId="<script>&")])))
    texts = [one.text for one in ElementTree.fromstring(text) if one.tag.endswith("text")]
    assert "<script>&" in texts


def test_the_command_prints_the_tree_or_json_and_writes_the_picture(tmp_path):
    file, out = dump(tmp_path, VILLAGE), tmp_path / "mesh.svg"
    done = CliRunner().invoke(main, ["mesh", "--dump", str(file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[:2] == ["pole-1 root", "  pole-2  -70 dBm, ETX 1.1"]
    assert "    pole-4  -70 dBm, ETX 2.5" in done.output.splitlines()
    assert out.read_text().startswith("<svg")
    done = CliRunner().invoke(main, ["mesh", "--dump", str(file), "--json"])
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5] and rows[3]["link"]["etx"] == 2.5


DEAF = {"id": 2, "rssi": None, "etx": 1}
ODD = [node("x"), node(1, neighbours=2), node(1, neighbours=[5]), node(1, neighbours=[DEAF])]


@pytest.mark.parametrize("text", ["{", "[]", "[1]", json.dumps({"id": 1}), "\udcff", *map(json.dumps, ODD)])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "mesh.jsonl"
    file.write_bytes(text.encode(errors="surrogateescape"))
    done = CliRunner().invoke(main, ["mesh", "--dump", str(file)])
    assert done.exit_code == 1 and len(done.output.splitlines()) == 1


def test_two_meshes_at_one_broker_are_not_drawn_as_one(tmp_path):
    file = dump(tmp_path, [node(1, feederId="f-1"), node(2, 1, feederId="f-1"), node(1, feederId="f-2")])
    done = CliRunner().invoke(main, ["mesh", "--dump", str(file)])
    assert done.exit_code == 1
    assert "number 1 at f-1 and f-2, expected one mesh: choose by --feeder" in done.output
    file = dump(tmp_path, [node(1, feederId="f-1"), node(2, 1, feederId="f-2")])
    assert CliRunner().invoke(main, ["mesh", "--dump", str(file)]).exit_code == 0, "a mesh may stand on two feeders"
