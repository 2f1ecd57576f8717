"""Journals that break one rule of docs/journal.md on purpose, by a small patch to the real code: tests of the test.

    tried, wrong, example = count("no checksum")    # the journal stays wrong for the rest of this process
"""
from fake_cuts import Workload, errors
from fake_nor import BLOCK
from lib.journal import HEAD, Journal, block, cursors, mount, reader


def no_checksum():
    block.Frame._crc = lambda self, off: 0


def right_behind():
    def wrong(journal, pages, end):
        journal.end = end

    mount.resume = wrong


def last_byte(journal):
    """The offset after the last byte of the head block that is not FF."""
    at = journal.block(journal.head) * BLOCK
    return max(i + 1 for i in range(BLOCK) if journal.dev.image[at + i] != 255)


def behind_last_byte():
    def wrong(journal, pages, end):
        journal.end = (last_byte(journal) | 255) + 1

    mount.resume = wrong


def in_torn_block():
    def wrong(journal, pages, end):
        if end > HEAD:
            journal.end = (max(end, last_byte(journal)) | 255) + 1

    mount.resume = wrong


def header_only():
    right = mount.resume

    def wrong(journal, pages, end):
        right(journal, pages, end)
        if end == HEAD:
            journal.end = 256

    mount.resume = wrong


def replaced():
    reader.Reader._next_block = lambda self: 1 << 29


def trusts_blank():
    def wrong(self, seq):
        if mount.blank(self.dev, self.block(seq), 0):
            self._ahead = seq
        else:
            right(self, seq)

    right, Journal._erase = Journal._erase, wrong


def header_first():
    def wrong(self, seq):
        good = self._store(seq, 0, 0, (0x4A43, 1 | len(self.at) << 8, seq))
        for i, (cursor, ordinal) in enumerate(self.at.items()):
            good = good and self._store(seq, 16 + i * 16, seq, (0xC5 | cursor << 8, 0xFFFF, ordinal))
        return good

    cursors.Cursors._fill = wrong


def snapshot_only():
    def wrong(kept, pages):
        right(kept, pages)
        if kept.seq >= 0 and kept.end == BLOCK:
            kept.end = 256

    right, mount.slots = mount.slots, wrong


def right_behind_cursor():
    def wrong(kept, pages):
        right(kept, pages)
        while kept.end < BLOCK and kept.dev.image[kept.seq % 8 * BLOCK + kept.end - 16] == 255:
            kept.end -= 16

    right, mount.slots = mount.slots, wrong


def erases_at_mount():
    def wrong(self):
        right(self)
        self._live = not self.empty
        self.prepare()

    right, Journal.mount = Journal.mount, wrong


def _cursors(at, data):
    return at < cursors.CURSORS * BLOCK


def _cursor_head(at, data):
    return data and at % BLOCK == 0 and at < cursors.CURSORS * BLOCK


def _ring_head(at, data):
    return data and at % BLOCK == 0 and at >= cursors.CURSORS * BLOCK


# name: (the patch, what the error says, rounds over the cases, which cases). A first version falls into the first six.
MUTANTS = {
    "goes on right behind the last frame": (right_behind, "programmed twice", 1, {}),
    "no checksum": (no_checksum, "never stored", 1, {"only": ("half", "random")}),
    "goes on behind the last byte that is not FF": (behind_last_byte, "programmed twice", 1, {"only": ("none",)}),
    "goes on in a block that holds only its header": (header_only, "lost", 40, {"only": ("few",), "pick": _ring_head}),
    "a cursor block's header before its snapshot": (header_first, "cursor", 1, {"only": ("none",), "pick": _cursors}),
    "trusts a block that reads blank": (trusts_blank, "programmed twice", 1, {"only": ("soft",)}),
    "goes on in a block with a torn frame": (in_torn_block, "out of order", 5, {"only": ("few",)}),
    "reads what a later block has replaced": (replaced, "out of order", 5, {"only": ("few",)}),
    "goes on in a cursor block that nothing was added to": (
        snapshot_only, "cursor", 40, {"only": ("few",), "pick": _cursor_head},
    ),
    "goes on right behind the last cursor": (
        right_behind_cursor, "programmed twice", 1, {"only": ("faint",), "pick": _cursors},
    ),
    "erases at mount": (erases_at_mount, "mount wrote", 1, {"only": ("none",)}),
}  # fmt: skip
TRAPS = 6


def count(name, seed=1, frames=34):
    """Make the journal wrong; return (cases tried, those that broke the contract, one of them)."""
    mutant, says, times, cases = MUTANTS[name]
    mutant()
    tried = wrong = 0
    example = ""
    for error in errors(Workload(seed, frames), times, **cases):
        tried += 1
        if error:
            wrong += 1
            if says in error:
                example = error
    return tried, wrong, example
