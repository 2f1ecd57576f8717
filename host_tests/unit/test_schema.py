"""The firmware's validator against the jsonschema library, and MicroPython against CPython.

Some thousand configurations, each one change away from a good one: both validators give the same verdict on every
one, and both interpreters name the same problems.
"""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from lib import schema

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"

GOOD = {
    "gateway": {
        "feederId": "feeder-01", "gatewayId": "pole-07", "board": "desktop",
        "buses": [{"uart": 1, "baud": 9600, "format": "8N1", "echo": False}, {"uart": 2}],
        "meters": [
            {"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120", "every": 60},
            {"serial": "SN-2", "bus": 1, "address": 247, "profile": "abb-b23"},
        ],
        "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": 1883, "format": "openami"}],
        "network": {"wifi": {"ssid": "village"}}, "clock": {"ntp": ["pool.ntp.org", "fe80::1"]},
    },
    "secrets": {
        "uplinks": {"operator": {"username": "pole-07", "password": "tr0ub4dor"}, "second": {"username": "u"}},
        "network": {"wifi": {"password": "correct horse"}},
    },
}  # fmt: skip
STRANGE = [
    None, True, False, 0, 1, 2, 247, 248, 1200, 9601, 65535, 65536, 86400, 86401, -1, 10**20, 1.5, 1e30,
    "", "x", "a b", "8N1", "mqtt", "9600", "ü", "a.b-c_d:e", "x" * 32, "x" * 33, "x" * 254, "a\nb", "[a]", "a\\d",
    [], {}, [[]], [{}], [None], {"uart": 1}, {"a": {"b": []}}, ["a"] * 5,
]  # fmt: skip


def rules(name):
    return json.loads((FIRMWARE / "schema" / f"{name}.json").read_text())


def ways(value, way=()):
    """The way to every value inside `value`, itself included."""
    yield way
    steps = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for step in steps:
        yield from ways(value[step], (*way, step))


def changed(good, way, change):
    """A copy of `good` in which `change(container, key)` was done where `way` leads."""
    holder = {"root": copy.deepcopy(good)}
    at = holder
    for step in ("root", *way)[:-1]:
        at = at[step]
    change(at, ("root", *way)[-1])
    return holder["root"]


def mutants(good):
    """Every value replaced by every strange one, every value left out, every object with a key more."""
    yield good
    for way in ways(good):
        for strange in STRANGE:
            yield changed(good, way, lambda at, key, new=strange: at.__setitem__(key, new))
        if way:
            yield changed(good, way, lambda at, key: at.__delitem__(key))
        else:
            yield changed(good, way, lambda at, key: at[key].update(unknown=1))
    for way in ways(good):
        at = good
        for step in way:
            at = at[step]
        if isinstance(at, dict) and way:
            yield changed(good, way, lambda at, key: at[key].update(unknown={"a": 1}))
        if isinstance(at, list):
            yield changed(good, way, lambda at, key: at[key].extend(at[key] * 3))


@pytest.mark.parametrize("name", GOOD)
def test_the_verdict_is_that_of_jsonschema(name):
    validator = jsonschema.Draft202012Validator(rules(name))
    verified = schema.verify(rules(name))
    verdicts = []
    for value in mutants(GOOD[name]):
        problems = schema.problems(verified, value)
        assert validator.is_valid(value) == (problems == []), (value, problems)
        verdicts.append(problems == [])
    assert len(verdicts) > 300 and 20 < sum(verdicts) < len(verdicts) // 2, (len(verdicts), sum(verdicts))


@pytest.mark.parametrize("name", GOOD)
def test_every_place_that_jsonschema_names_is_named(name):
    """More than the verdict: the paths of the problems agree, for one wrong value and for two at once."""
    validator = jsonschema.Draft202012Validator(rules(name))
    verified = schema.verify(rules(name))
    everything = list(mutants(GOOD[name]))
    for value in everything[:: 3 if name == "gateway" else 1]:
        theirs = set()
        for error in validator.iter_errors(value):
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
            if error.validator == "required":  # jsonschema names the object, we name the key
                missing = set(error.validator_value) - set(error.instance)
                theirs |= {f"{path}.{key}".lstrip(".") for key in missing}
            elif error.validator == "additionalProperties":
                surplus = set(error.instance) - set(error.schema["properties"])
                theirs |= {f"{path}.{key}".lstrip(".") for key in surplus}
            else:
                theirs.add(path.lstrip("."))
        assert {path for path, _, _ in schema.problems(verified, value)} == theirs, value


@pytest.mark.parametrize("name", GOOD)
def test_both_interpreters_name_the_same_problems(name):
    """In the same words, but that CPython shows ü as an escape."""
    everything = list(mutants(GOOD[name]))
    program = (
        "import json, sys\nfrom lib import schema\n"
        f"rules = schema.verify(json.load(open({str(FIRMWARE / 'schema' / name) + '.json'!r})))\n"
        "for line in sys.stdin:\n print(json.dumps(sorted(schema.problems(rules, json.loads(line)))))\n"
    )
    binary = os.environ.get("MICROPYTHON") or Path(sys.executable).parent / "micropython"
    done = subprocess.run(
        [binary, "-X", "heapsize=4M", "-c", program], env=dict(os.environ, MICROPYPATH=f"{FIRMWARE}:.frozen"),
        input="".join(json.dumps(value) + "\n" for value in everything), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(everything)
    verified = schema.verify(rules(name))
    for value, answer in zip(everything, answers, strict=True):
        ours = sorted(schema.problems(verified, value))
        assert answer == [[text.replace("\\u00fc", "ü") for text in problem] for problem in ours], value


def test_the_one_thing_that_is_stricter_than_the_standard():
    integer = {"type": "integer"}
    assert jsonschema.Draft202012Validator(integer).is_valid(60.0)
    assert schema.problems(integer, 60.0) == [("", "60.0", "integer")]


def test_a_closing_newline_is_no_character_of_a_name():
    """jsonschema matches with Python's `re`, whose `$` also stands before a last newline; ECMA 262's does not."""
    name = {"type": "string", "pattern": "^[a-z]+$"}
    assert schema.problems(name, "a\n") == [("", '"a\\n"', "string of a-z")]


@pytest.mark.parametrize("name", GOOD)
def test_defaults_are_valid_and_complete_the_value(name):
    validator = jsonschema.Draft202012Validator(rules(name))
    checked = 0
    for way in ways(rules(name)):
        part = rules(name)
        for step in way:
            part = part[step]
        if isinstance(part, dict) and "default" in part and "type" in part:
            jsonschema.Draft202012Validator(part).validate(part["default"])
            checked += 1
    assert checked
    for value in mutants(GOOD[name]):
        if validator.is_valid(value):
            schema.fill(rules(name), value)
            validator.validate(value)
            before = copy.deepcopy(value)
            schema.fill(rules(name), value)
            assert value == before
