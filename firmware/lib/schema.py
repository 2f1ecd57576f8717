"""Validator for the part of JSON Schema 2020-12 that a device's own files need; one for chip and desk.

    rules = schema.verify(json.load(file))
    for path, found, allowed in schema.problems(rules, value): ...
    schema.fill(rules, value)

Each schema has one `type`. Beside it: enum (string, integer), minimum maximum, minLength maxLength pattern,
items minItems maxItems, properties required additionalProperties, default, and $schema $id title description,
which say nothing about the value. `verify` refuses any other keyword, so no schema claims more than is checked.

Stricter than the standard in one thing: an integer is written as one, 60.0 is refused. A `pattern` has the form
`^[characters]+$`; it is applied one character at a time, because MicroPython's `re` recurses over its input.
"""
import json
import re

SHOWN = 40  # characters of a found value

_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "maxItems"),
    "string": ("enum", "minLength", "maxLength", "pattern"),
    "integer": ("enum", "minimum", "maximum"),
    "boolean": (),
}
_ALWAYS = ("type", "default", "title", "description", "$schema", "$id")
_RANGES = {"array": ("minItems", "maxItems"), "string": ("minLength", "maxLength"), "integer": ("minimum", "maximum")}


def verify(schema):
    """Return `schema`; ValueError names the first keyword in it that `problems` would not honour."""
    kind = schema.get("type") if isinstance(schema, dict) else schema
    if str(kind) not in _TYPES:
        raise ValueError("type %s" % kind)
    for word in schema:
        if word not in _ALWAYS and word not in _KEYWORDS[kind]:
            raise ValueError("%s of %s" % (word, kind))
    pattern = schema.get("pattern", "^[a]+$")
    inside = pattern[2:-3]
    if pattern != "^[" + inside + "]+$" or not inside or "]" in inside or "\\" in inside:
        raise ValueError("pattern " + pattern)
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in known:
            raise ValueError("required " + name)
    for part in known.values():
        verify(part)
    if "items" in schema:
        verify(schema["items"])
    if schema.get("additionalProperties", False) is not False:
        verify(schema["additionalProperties"])
    return schema


def problems(schema, value, path=""):
    """Return every problem of `value` as (path, found, allowed); an empty list when it is valid.

    `path` is where `value` stands; below it go `.key` and `[index]`. Recurses as deep as the schema does,
    however deep the value is.
    """
    found = []
    _walk(schema, value, path, found)
    return found


def fill(schema, value):
    """Put the defaults of the schema into `value`, which is valid; lists and objects are copied."""
    if isinstance(value, list):
        for item in value:
            fill(schema.get("items", {}), item)
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        for name in known:
            if name not in value and "default" in known[name]:
                default = known[name]["default"]
                value[name] = default.copy() if isinstance(default, (list, dict)) else default
        rest = schema.get("additionalProperties")
        for name in value:
            fill(known.get(name) or rest or {}, value[name])


def show(value):
    """Return `value` as JSON text of at most SHOWN characters; an object or array by its type."""
    for kind in ("object", "array"):
        if isinstance(value, _TYPES[kind]):
            return kind
    text = json.dumps(value[:SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _walk(schema, value, path, found):
    kind = schema["type"]
    # True is an int in CPython and none in MicroPython
    if not isinstance(value, _TYPES[kind]) or isinstance(value, bool) and kind != "boolean" or not _fits(schema, value):
        found.append((path, show(value), _allowed(schema)))
    elif kind == "object":
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        for name in schema.get("required", ()):
            if name not in value:
                found.append((_join(path, name), "nothing", _allowed(known[name])))
        for name in value:
            part = known.get(name, rest)
            if part is False:
                found.append((_join(path, name), "unknown key", ", ".join(sorted(known))))
            elif part is not True:
                _walk(part, value[name], _join(path, name), found)
    elif kind == "array" and "items" in schema:
        for i, item in enumerate(value):
            _walk(schema["items"], item, "%s[%d]" % (path, i), found)


def _join(path, name):
    name = show(name).strip('"')
    return path + "." + name if path else name


def _fits(schema, value):
    """Tell whether a value of the right type keeps the other rules that concern it alone."""
    if value not in schema.get("enum", (value,)):
        return False
    kind = schema["type"]
    if kind in _RANGES:
        least, most = _RANGES[kind]
        size = value if kind == "integer" else len(value)
        if size < schema.get(least, size) or size > schema.get(most, size):
            return False
    if "pattern" in schema:
        one = re.compile(schema["pattern"][1:-2])
        for character in value:
            if not one.match(character):
                return False
        return value != ""
    return True


def _allowed(schema):
    """Return in a few words what the schema of one value allows."""
    if "enum" in schema:
        return ", ".join([str(one) for one in schema["enum"]])
    text = kind = schema["type"]
    if kind in _RANGES:
        least, most = _RANGES[kind]
        if least in schema or most in schema:
            text += " %s..%s" % (schema.get(least, ""), schema.get(most, ""))
    if "pattern" in schema:
        text += " of " + schema["pattern"][2:-3]
    return text
