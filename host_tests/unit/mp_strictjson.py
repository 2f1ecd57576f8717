"""The strict reader: the values of good texts, and the line and the remedy of broken ones."""
from lib import strictjson

WASM = True


def broken(text):
    try:
        value = strictjson.loads(text.encode())
    except ValueError as error:
        return error.args
    raise AssertionError("%r was read as %r" % (text, value))


def test_good_texts_are_read():
    for text, value in (
        ('{"a": 1, "b": {}, "c": []}', {"a": 1, "b": {}, "c": []}),
        ('[1, -2, true, false, null, "x"]', [1, -2, True, False, None, "x"]),
        (' \r\n\t[ ] \n', []),
        ("[[1],{}]", [[1], {}]),
        ("17", 17),
        ('"a\\"b\\\\"', 'a"b\\'),
        ('{"a": {"a": 1}, "b": {"a": 2}}', {"a": {"a": 1}, "b": {"a": 2}}),
        ("[12345678901234567890]", [12345678901234567890]),
        ('"ä\\u00e4"', "ää"),
    ):
        assert strictjson.loads(text.encode()) == value, text


def test_a_slip_is_named_with_its_line():
    for text, line, allowed in (
        ("", 1, "more: the text ends too early"),
        ("\n\n", 3, "more: the text ends too early"),
        ('{"a": 1', 1, "more: the text ends too early"),
        ('{\n"a": "b', 2, "more: the text ends too early"),
        ('{\n"a": "b\n"}', 2, "a closing quote"),
        ('{\n"a": 1\n"b": 2}', 3, "a comma or a closing bracket"),
        ("[1 2]", 1, "a comma or a closing bracket"),
        ('{"a": [1}]', 1, "a comma or a closing bracket"),
        ('{"a": 1]', 1, "a comma or a closing bracket"),
        ('{"a" 1}', 1, "a colon"),
        ('{"a"}', 1, "a colon"),
        ('{"a":}', 1, "a value"),
        ("[1,]", 1, "a value"),
        ("[1,,2]", 1, "a value"),
        ("[}", 1, "a value"),
        ("[NaN]", 1, "a value"),
        ("[-Infinity]", 1, "a value"),
        ("[tru]", 1, "a value"),
        ("[1-2]", 1, "a value"),
        ("[0x10]", 1, "a comma or a closing bracket"),
        ("['a']", 1, "a value"),
        ("\ufeff{}", 1, "a value"),
        ('{"a": 1,}', 1, "a key in quotes"),
        ("{,}", 1, "a key in quotes"),
        ("{1: 2}", 1, "a key in quotes"),
        ('{\n"a": 1,\n"a": 2}', 3, "each key once"),
        ("{}}", 1, "the end"),
        ("{}\n\nx", 3, "the end"),
        ("{}\x00", 1, "the end"),
    ):
        assert broken(text) == (line, allowed), (text, broken(text))


def test_bytes_that_are_no_utf8_are_refused():
    try:
        strictjson.loads(b'{"a": 1,\n"b": "\xff"}')
    except ValueError as error:
        assert error.args == (2, "a value")
    else:
        raise AssertionError("read")


def test_depth_is_bounded():
    assert strictjson.loads(b"[" * strictjson.DEPTH + b"]" * strictjson.DEPTH) != 0
    assert broken("[" * 100000) == (1, "less depth")
    assert broken('{"a":' * 100000) == (1, "less depth")
