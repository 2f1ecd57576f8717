"""Brings a board's journal to the desk, over the cable: block by block, each by its hash, so that it can go on later.

    fetched = fetch(session, folder, bar)       # folder/journal.bin, and the files that say what its numbers mean

A block that is here already, and one that is blank, is not sent: a second call brings what is new since the first.
"""

import os
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from meshems.journal import BLOCK
from meshems.remote import RemoteError, Session

HASHED, SENT = 64, 8  # blocks in one program: the watchdog is fed in between
DIGITS = 16  # of a hash: these are copies, nobody forges them
TRIES = 3
BLANK = b"\xff" * BLOCK
IMAGE = "journal.bin"

FACTS = """
import esp32, json, machine, os
from binascii import hexlify
found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="journal")
names = [name for name in os.listdir() if name.startswith("ids.") or name.startswith("schema")]
print(json.dumps({
    "id": hexlify(machine.unique_id()).decode(), "size": found[0].info()[3] if found else 0,
    "names": [name for name in names if os.stat(name)[0] & 0x8000],
}))
"""
READ = """
import esp32, json
from binascii import b2a_base64, hexlify
from hashlib import sha256
part = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="journal")[0]
buf = bytearray(4096)
for n in BLOCKS:
    part.readblocks(n, buf)
    print(json.dumps([n, TOLD]))
"""
HASH = "hexlify(sha256(buf).digest()).decode()[:DIGITS]".replace("DIGITS", str(DIGITS))
DATA = "b2a_base64(buf).decode()[:-1]"


@dataclass
class Fetched:
    """What was brought: `sent` of `blocks` blocks came over the cable."""

    id: str
    image: Path
    blocks: int
    sent: int


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()[:DIGITS]


def folder_of(facts_id: str) -> Path:
    """Return the folder for a board of which nobody said where its journal goes."""
    return Path(f"board-{facts_id}")


def fetch(board: Session, folder: Path | None, bar: Callable[[str, int, int], None]) -> Fetched:
    """Bring the journal of `board` into `folder`; `bar(what, done, of)` hears how far it is.

    RemoteError when there is none, or when the line breaks; what came until then stays and is not sent again.
    """
    facts = board.ask(FACTS)
    if not facts["size"]:
        raise RemoteError(
            f"{board.port}: found no partition `journal` on this board, expected one; its records are in its memory "
            "alone, and only the operator has the older ones"
        )
    folder = folder or folder_of(facts["id"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in facts["names"]:
        (folder / name).write_bytes(board.read(name))
    image = folder / IMAGE
    count = facts["size"] // BLOCK
    if not image.exists() or image.stat().st_size != facts["size"]:
        image.write_bytes(BLANK * count)
    with image.open("r+b") as file:
        theirs = _hashes(board, count, bar)
        ours = [_hash(file.read(BLOCK)) for _ in range(count)]
        wanted = [n for n in range(count) if theirs[n] != ours[n]]
        for n in [n for n in wanted if theirs[n] == _hash(BLANK)]:
            _put(file.fileno(), n, BLANK)
        wanted = [n for n in wanted if theirs[n] != _hash(BLANK)]
        left, tries = wanted, 0
        while left:
            if tries == TRIES:
                raise RemoteError(
                    f"{board.port}: found block {left[0]} damaged each time, expected it whole; take another cable"
                )
            tries += 1
            for i in range(0, len(left), SENT):
                for n, text in board.said(_program(left[i : i + SENT], DATA)):
                    data = _decoded(text)
                    if _hash(data) == theirs[n]:
                        _put(file.fileno(), n, data)
                        theirs[n] = ""
                bar("blocks", len(wanted) - sum(1 for n in wanted if theirs[n]), len(wanted))
            left = [n for n in wanted if theirs[n]]
    return Fetched(facts["id"], image, count, len(wanted))


def _program(blocks: list[int], told: str) -> str:
    return READ.replace("BLOCKS", repr(blocks)).replace("TOLD", told)


def _hashes(board: Session, count: int, bar: Callable[[str, int, int], None]) -> list[str]:
    found: list[str] = []
    for first in range(0, count, HASHED):
        rows = list(board.said(_program(list(range(first, min(first + HASHED, count))), HASH)))
        found += [text for _, text in rows]
        bar("hashes", len(found), count)
    if len(found) != count:
        raise RemoteError(f"{board.port}: found {len(found)} hashes, expected {count}; do it again")
    return found


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text)
    except ValueError:
        return b""


def _put(file: int, block: int, data: bytes) -> None:
    """Write a block at once: what is here is not sent again, however this ends."""
    os.pwrite(file, data, block * BLOCK)
