"""The validator: what it finds, where it says it is, and what it refuses to promise."""
from lib import schema

WASM = True

RULES = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "meters"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8, "pattern": "^[A-Za-z0-9._-]+$"},
        "meters": {
            "type": "array",
            "maxItems": 3,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["address"],
                "properties": {
                    "address": {"type": "integer", "minimum": 1, "maximum": 247},
                    "baud": {"type": "integer", "enum": [9600, 19200], "default": 9600},
                    "echo": {"type": "boolean", "default": False},
                },
            },
        },
        "clock": {
            "type": "object",
            "default": {},
            "properties": {"ntp": {"type": "array", "items": {"type": "string"}, "default": ["pool.ntp.org"]}},
        },
        "secrets": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"retry": {"type": "integer", "default": 3}}},
        },
    },
}


def found(value):
    return sorted(schema.problems(schema.verify(RULES), value))


def one(rules, value):
    return schema.problems(schema.verify(rules), value, "x")


def test_what_is_valid_has_no_problems():
    assert found({"name": "pole-7", "meters": []}) == []
    assert found({"name": "pole-7", "meters": [{"address": 1}, {"address": 247, "baud": 19200, "echo": True}]}) == []
    assert found({"name": "pole-7", "meters": [], "secrets": {"any name": {}}, "clock": {"ntp": []}}) == []


def test_every_problem_is_listed_at_once_with_its_path():
    meters = [{"address": 0}, {}, {"address": 5, "baud": 300}]
    assert found({"meters": meters, "clock": {"ntp": ["a", 7]}, "nmae": 1}) == [
        ("clock.ntp[1]", "7", "string"),
        ("meters[0].address", "0", "integer 1..247"),
        ("meters[1].address", "nothing", "integer 1..247"),
        ("meters[2].baud", "300", "9600, 19200"),
        ("name", "nothing", "string 1..8 of A-Za-z0-9._-"),
        ("nmae", "unknown key", "clock, meters, name, secrets"),
    ]


def test_a_type_is_not_another_type():
    integer, boolean, string = {"type": "integer"}, {"type": "boolean"}, {"type": "string"}
    for value, text in ((True, "true"), (False, "false"), (None, "null"), ("1", '"1"'), ([], "array"), ({}, "object")):
        assert one(integer, value) == [("x", text, "integer")]
    for value in (0, 1, None, "true", [], {}):
        assert len(one(boolean, value)) == 1
    for value in (0, True, None, [], {}):
        assert len(one(string, value)) == 1
    assert one({"type": "object"}, []) == [("x", "array", "object")]
    assert one({"type": "array"}, {}) == [("x", "object", "array")]
    assert one({"type": "integer", "enum": [1]}, True) == [("x", "true", "1")]


def test_a_number_with_a_point_is_no_integer():
    import json

    assert one({"type": "integer"}, json.loads("1.5")) == [("x", "1.5", "integer")]
    assert one({"type": "integer"}, json.loads("60.0")) == [("x", "60.0", "integer")]


def test_bounds_are_inclusive():
    for rules, good, bad in (
        ({"type": "integer", "minimum": 1, "maximum": 247}, (1, 247), (0, 248, -1, 1 << 40)),
        ({"type": "integer", "minimum": -5}, (-5, 1 << 40), (-6,)),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ("ab", "abc", "äöü"), ("", "a", "abcd")),
        ({"type": "array", "minItems": 1, "maxItems": 2}, ([0], [0, 0]), ([], [0, 0, 0])),
    ):
        for value in good:
            assert one(rules, value) == [], value
        for value in bad:
            assert len(one(rules, value)) == 1, value


def test_a_pattern_holds_for_every_character():
    host = {"type": "string", "pattern": "^[A-Za-z0-9.:-]+$"}
    for value in ("127.0.0.1", "broker.example.org", "fe80::1", "a-b"):
        assert one(host, value) == [], value
    for value in ("", "a b", "a\n", "\n", "ä", "a/b", "a_b", "a]", "mqtt://a"):
        assert len(one(host, value)) == 1, value


def test_a_long_text_does_not_exhaust_the_stack():
    assert one({"type": "string", "pattern": "^[a]+$"}, "a" * 20000) == []
    assert len(one({"type": "string", "pattern": "^[a]+$"}, "a" * 20000 + "b")) == 1


def test_a_deep_value_does_not_exhaust_the_stack():
    deep = []
    for _ in range(2000):
        deep = [deep]
    assert found({"name": "a", "meters": [deep]}) == [("meters[0]", "array", "object")]


def test_what_is_shown_is_short_and_on_one_line():
    _, text, _ = one({"type": "integer"}, "a" * 1000)[0]
    assert text == '"' + "a" * 36 + "..."
    _, text, _ = one({"type": "integer"}, "line\nline")[0]
    assert text == '"line\\nline"'
    path, _, _ = found({"name": "a", "meters": [], "k" * 1000: 1})[0]
    assert len(path) <= schema.SHOWN


def test_a_key_need_not_be_a_string():
    """MicroPython's JSON reader takes {1: 2}."""
    assert found({"name": "a", "meters": [], 1: 2}) == [("1", "unknown key", "clock, meters, name, secrets")]


def test_defaults_are_filled_in_at_every_depth():
    value = {"name": "a", "meters": [{"address": 1}, {"address": 2, "echo": True}], "secrets": {"operator": {}}}
    schema.fill(RULES, value)
    assert value == {
        "name": "a",
        "meters": [{"address": 1, "baud": 9600, "echo": False}, {"address": 2, "baud": 9600, "echo": True}],
        "clock": {"ntp": ["pool.ntp.org"]},
        "secrets": {"operator": {"retry": 3}},
    }


def test_a_filled_default_belongs_to_the_value():
    first, second = {}, {}
    schema.fill(RULES, first)
    first["clock"]["ntp"].append("other")
    schema.fill(RULES, second)
    assert second["clock"]["ntp"] == ["pool.ntp.org"]
    assert RULES["properties"]["clock"]["default"] == {}


def test_a_schema_that_claims_more_than_is_checked_is_refused():
    text = {"type": "string"}
    for rules in (
        {},
        True,
        {"type": "number"},
        {"type": ["string", "integer"]},
        {"type": "string", "format": "hostname"},
        {"type": "string", "minimum": 1},
        {"type": "integer", "maxLength": 1},
        {"type": "integer", "multipleOf": 2},
        {"type": "string", "pattern": "[a]+"},
        {"type": "string", "pattern": "^[a]*$"},
        {"type": "string", "pattern": "^[]+$"},
        {"type": "string", "pattern": "^[a]+[b]+$"},
        {"type": "string", "pattern": "^[\\d]+$"},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {"a": {"type": "string", "const": "b"}}},
        {"type": "object", "properties": {"a": text}, "required": ["b"]},
        {"type": "object", "additionalProperties": {"anyOf": [text]}},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "array", "items": False},
        {"type": "array", "uniqueItems": True},
    ):
        try:
            schema.verify(rules)
        except ValueError:
            continue
        raise AssertionError(rules)
