"""A site with a mesh: good by the firmware's own validator, and in the demo its own roots, ids and keys."""

import json

from click.testing import CliRunner

from meshems.cli import main
from meshems.demo import Fleet
from meshems.run import check
from meshems.site import Site
from meshems.sitedemo import plan_of
from test_site import MESHED, SECRET, made


def run(*arguments):
    done = CliRunner().invoke(main, ["site", *map(str, arguments)])
    return done.exit_code, done.output


def test_each_member_of_a_mesh_passes_the_firmwares_own_check(tmp_path):
    site = Site.load(made(tmp_path, MESHED, f'[mesh]\nsecret = "{SECRET.hex()}"\n'))
    assert site.problems() == []
    for name in site.names:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "gateway.json").write_text(json.dumps(site.config(name)))
        (folder / "secrets.json").write_text(json.dumps(site.secrets(name)))
        assert check(folder / "gateway.json") == []


def test_a_new_mesh_is_good_once_its_keys_are_made(tmp_path):
    file = tmp_path / "site.toml"
    status, said = run("new", file, "--yes", "--gateways", 3, "--mesh")
    assert status == 0, said
    status, said = run("check", file)
    assert status == 2 and "mesh.secret: found nothing, allowed as `meshems site keys" in said
    status, said = run("keys", file)
    assert status == 0 and "mesh.secret" in said
    assert run("check", file)[0] == 0
    site = Site.load(file)
    assert list(site.secrets("pole-01")["mesh"]) == ["secret"] and site.secrets("pole-01")["mesh"]["secret"] not in said
    keys = [site.secrets(name)["mesh"] for name in site.names[1:]]
    assert keys[0]["net"] == keys[1]["net"] and keys[0]["node"] != keys[1]["node"]


def test_what_is_wrong_with_a_member_is_told_where_it_stands(tmp_path):
    site = Site.load(made(tmp_path, MESHED.replace("id = 2", "id = 0"), None))
    assert [str(one).partition(": ")[2] for one in site.problems(keys_made=False)] == [
        "gateways[1].mesh.id: found 0, allowed integer 1..65534"
    ]  # fmt: skip


def test_in_the_demo_the_members_have_their_ids_and_only_a_root_has_an_outlet(tmp_path):
    plan = plan_of(Site.load(made(tmp_path, MESHED.replace("id = 2", "id = 77"), None)), 60)
    assert plan.mesh == {"pole-01": {"id": 1, "root": True}, "pole-02": {"id": 77, "root": False}}
    root = tmp_path / "demo"
    root.mkdir()
    Fleet(plan, root, 4711)
    for name, outlets, kept in (("pole-01", 1, {"secret"}), ("pole-02", 0, {"site", "net", "node"})):
        config = json.loads((root / name / "gateway.json").read_text())
        assert len(config["uplinks"]) == outlets and config["mesh"] == plan.mesh[name]
        assert set(json.loads((root / name / "secrets.json").read_text())["mesh"]) == kept
        assert check(root / name / "gateway.json") == []
