"""The shipped schemas, the strict JSON reader and docs/config.md hold together."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from gateway import config
from lib import schema, strictjson

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("gateway.json", "secrets.json")
DOCUMENT = (ROOT / "docs" / "config.md").read_text()


def rules(name):
    return json.loads((ROOT / "firmware" / "schema" / name).read_text())


def example(name):
    """The complete example that stands in docs/config.md."""
    return re.search(rf"^```json {re.escape(name)}\n(.*?)^```", DOCUMENT, re.S | re.M)[1]


def keys(rules, path=""):
    """The way to every key that a schema allows, written as in docs/config.md; values only, not their containers."""
    if rules["type"] == "array":
        yield from keys(rules["items"], path + "[]")
    if rules["type"] == "object":
        parts = dict(rules.get("properties", {}))
        if isinstance(rules.get("additionalProperties"), dict):
            parts["NAME"] = rules["additionalProperties"]
        for name, part in parts.items():
            yield from keys(part, f"{path}.{name}".lstrip("."))
    elif rules["type"] != "array":
        yield path.removesuffix("[]"), rules


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_schema_is_one_and_is_wholly_checked(name):
    jsonschema.Draft202012Validator.check_schema(rules(name))
    schema.verify(rules(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_refuses_unknown_keys_everywhere(name):
    objects = [part for part in _parts(rules(name)) if part["type"] == "object"]
    assert len(objects) > 3
    for part in objects:
        assert part.get("additionalProperties") is not True and "additionalProperties" in part, part


def _parts(rules):
    yield rules
    for part in [*rules.get("properties", {}).values(), rules.get("items"), rules.get("additionalProperties")]:
        if isinstance(part, dict):
            yield from _parts(part)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_the_document_is_valid_and_complete(name):
    value = json.loads(example(name))
    jsonschema.validate(value, rules(name))
    before = json.dumps(value)
    schema.fill(rules(name), value)
    assert json.dumps(value) == before, "the example leaves something out"


def test_the_example_in_the_document_runs():
    conf, secrets, problems = config.read(*(example(name).encode() for name in NAMES), config.profile)
    assert problems == []
    assert conf["gatewayId"] == "pole-07" and secrets["uplinks"]["operator"]["username"] == "pole-07"


@pytest.mark.parametrize("name", NAMES)
def test_the_document_has_a_row_for_each_key_with_its_values_and_default(name):
    rows = {row[0].strip(" `"): row for line in DOCUMENT.splitlines() if (row := line.strip("|").split(" | "))[1:]}
    found = dict(keys(rules(name)))
    assert found
    for key, part in found.items():
        assert key in rows, key
        row = " ".join(rows[key])
        for word in ("minimum", "maximum", "maxLength"):
            if word in part and "pattern" not in part:
                assert re.search(rf"\b{part[word]}\b", row), (key, word)
        for value in [*part.get("enum", []), *([part["default"]] if "default" in part else [])]:
            assert (str(value).lower() if isinstance(value, bool) else str(value)) in row, (key, value)


def test_the_document_names_no_key_that_is_not_there():
    known = {key for name in NAMES for key, _ in keys(rules(name))}
    named = set(re.findall(r"^\| `([^`]+)` \|", DOCUMENT, re.M))
    assert named == known


def once(pairs):
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def refuse(constant):
    raise ValueError(constant)


def test_the_strict_reader_agrees_with_cpython_on_every_slip_of_one_character():
    text = '{"a": [1, -23, {"b": true}, []], "c d": {"e\\"": null, "f": "x\\\\y", "g": {}}}\n'
    texts = {text}
    for i in range(len(text) + 1):
        texts.add(text[:i] + text[i + 1 :])
        texts |= {text[:i] + mark + text[j:] for mark in '{}[],:"\\ 0aN\n\x00' for j in (i, i + 1)}
    verdicts = []
    for changed in sorted(texts):
        try:
            value = json.loads(changed, object_pairs_hook=once, parse_constant=refuse)
        except ValueError:
            value = ValueError
        try:
            ours = strictjson.loads(changed.encode())
        except ValueError as error:
            line, allowed = error.args
            assert 1 <= line <= changed.count("\n") + 1 and allowed
            ours = ValueError
        assert ours == value, changed
        verdicts.append(value is ValueError)
    assert len(verdicts) > 1000 and 100 < sum(verdicts) < len(verdicts) - 100
