"""What the tests of the journal do again and again."""
from lib.journal import Journal
from lib.journal import mount as mount  # stays loaded: a test boots often

RING = 8  # the device's first block that is not of the cursors


def boot(nor):
    journal = Journal(nor)
    journal.mount()
    return journal


def rest(reader):
    """What the reader has to say until its end, payloads copied."""
    found = []
    while True:
        frame = reader.read()
        if frame is None:
            return found
        kind, ordinal, count, payload, fresh = frame
        found.append((kind, ordinal, count, bytes(payload), fresh))


def filled(nor, frames, length=100, count=2):
    journal = boot(nor)
    for i in range(frames):
        journal.append(1, bytes([i & 255]) * length, count)
    return journal
