"""JSON for files that people edit: a slip is named with its line instead of being read as something else.

MicroPython's own reader takes `{"a":}`, `[1 2]`, `{"a":[1}]`, a closing NUL and a key given twice without a word.
Here objects and arrays are read strictly (RFC 8259, each key once); a number or string goes to the built-in reader.
"""
import json

DEPTH = 8  # objects and arrays inside each other

_QUOTE, _BACKSLASH, _COMMA, _COLON = b'"\\,:'
_ARRAY, _ARRAY_END, _OBJECT, _OBJECT_END = b"[]{}"


def loads(raw):
    """Return the value of the JSON text `raw` (bytes, UTF-8).

    ValueError with args (line, allowed): the first line that is broken, and what would have been right there.
    """
    try:
        value, at = _value(raw, _blank(raw, 0), DEPTH)
        if at == len(raw):
            return value
        allowed = "the end"
    except IndexError:
        at, allowed = len(raw), "more: the text ends too early"
    except ValueError as error:
        at, allowed = error.args
    raise ValueError(raw[:at].count(b"\n") + 1, allowed)


def _value(raw, at, depth):
    """Return (value, offset behind it and the blanks after it); IndexError at the end, ValueError(offset, allowed)."""
    opening = raw[at]
    if opening != _OBJECT and opening != _ARRAY:
        return _scalar(raw, at)
    if not depth:
        raise ValueError(at, "less depth")
    value, closing = ({}, _OBJECT_END) if opening == _OBJECT else ([], _ARRAY_END)
    at = _blank(raw, at + 1)
    while raw[at] != closing:
        if value:
            at = _expect(raw, at, _COMMA)
        if opening == _ARRAY:
            item, at = _value(raw, at, depth - 1)
            value.append(item)
            continue
        if raw[at] != _QUOTE:
            raise ValueError(at, "a key in quotes")
        key, after = _scalar(raw, at)
        if key in value:
            raise ValueError(at, "each key once")
        value[key], at = _value(raw, _expect(raw, after, _COLON), depth - 1)
    return value, _blank(raw, at + 1)


def _scalar(raw, at):
    start = at
    if raw[at] == _QUOTE:
        at += 1
        while raw[at] != _QUOTE:
            if raw[at] < 32:
                raise ValueError(at, "a closing quote")
            at += 2 if raw[at] == _BACKSLASH else 1
        at += 1
    else:
        while at < len(raw) and raw[at] in b"+-.0123456789Eaeflnrstu":
            at += 1
    try:
        return json.loads(raw[start:at]), _blank(raw, at)
    except ValueError:
        pass
    raise ValueError(start, "a value")


def _expect(raw, at, mark):
    if raw[at] != mark:
        raise ValueError(at, "a comma or a closing bracket" if mark == _COMMA else "a colon")
    return _blank(raw, at + 1)


def _blank(raw, at):
    while at < len(raw) and raw[at] in b" \t\r\n":
        at += 1
    return at
