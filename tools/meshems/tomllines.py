"""In which line of a TOML text each value stands, so that a problem can be shown where it was written.

    at = lines(text)                              # {"gateways[0].meters[2].address": 14, ...}
    line = line_of(at, "gateways[0].gatewayId")   # of the key, or of the nearest thing around it

The text has been parsed before: what is no TOML is not looked for here. Paths are those of lib/schema.
"""

import re

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
_KEY = re.compile(r'[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|\'[^\']*\'')
_PLAIN = re.compile(r"[^,\]}#\n]+")  # number, boolean, date


def lines(text: str) -> dict[str, int]:
    """Return the line, counted from 1, of each key, table and element of a TOML text, by its path."""
    return _Scan(text).run()


def line_of(at: dict[str, int], path: str) -> int | None:
    """Return the line of `path`; of what is not there, that of the nearest thing around it; None at the top."""
    while path and path not in at:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return at.get(path)


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[str, int] = {}
        self._tables: dict[str, int] = {}  # arrays of tables: how many there are

    def run(self) -> dict[str, int]:
        inside = ""
        while self._blank():
            if self._text[self._at] == "[":
                many = self._text.startswith("[[", self._at)
                self._at += 1 + many
                inside = self._table(self._at, self._key(), many)
                self._at = self._text.index("]", self._at) + 1 + many
            else:
                self._pair(inside)
        return self._found

    def _blank(self) -> bool:
        """Pass over blanks and comments; return whether something follows."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at < len(self._text)

    def _note(self, path: str, start: int) -> None:
        self._found.setdefault(path, self._text.count("\n", 0, start) + 1)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._blank()
            match = _KEY.match(self._text, self._at)
            if not match:
                raise ValueError(f"no key at {self._at}")
            parts.append(match[0].strip("\"'"))
            self._at = match.end()
            self._blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _table(self, start: int, parts: list[str], many: bool) -> str:
        """Return the path of a header's table: within the last element of each array of tables on its way."""
        path = ""
        for i, part in enumerate(parts):
            path = f"{path}.{part}" if path else part
            if many and i == len(parts) - 1:
                self._tables[path] = self._tables.get(path, 0) + 1
            self._note(path, start)
            if path in self._tables:
                path += f"[{self._tables[path] - 1}]"
            self._note(path, start)
        return path

    def _pair(self, inside: str) -> None:
        start = self._at
        for part in self._key():
            inside = f"{inside}.{part}" if inside else part
            self._note(inside, start)
        self._at += 1  # =
        self._blank()
        self._value(inside)

    def _value(self, path: str) -> None:
        first = self._text[self._at]
        if first in "[{":
            self._at += 1
            index = 0
            while self._blank() and self._text[self._at] not in "]}":
                if self._text[self._at] == ",":
                    self._at += 1
                elif first == "{":
                    self._pair(path)
                else:
                    self._note(f"{path}[{index}]", self._at)
                    self._value(f"{path}[{index}]")
                    index += 1
            self._at += 1
            return
        match = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
        if not match:
            raise ValueError(f"no value at {self._at}")
        self._at = match.end()
