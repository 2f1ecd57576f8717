"""Finds the partitions in which records are kept, and says what is wrong with them: needed at start only."""
import esp32

from gateway import log
from lib.journal import Journal
from lib.journal.block import HEAD, load_header
from lib.journal.cursors import CURSORS


def ring(label):
    """Return the journal in the partition `label`, mounted; None, and a line in the log, when it cannot be one there.

    That a board has no partition of this name is for the caller to say.
    """
    for part in esp32.Partition.find(esp32.Partition.TYPE_DATA, label=label):
        try:
            journal = Journal(part)
            journal.mount()
        except (OSError, ValueError) as error:
            log.error(label, "partition of %d bytes: %s" % (part.info()[3], error))
            return None
        _resized(journal, label)
        return journal
    return None


def journal():
    """Return the journal of this board, mounted: in its partition, or in memory when it has none that serves."""
    found = ring("journal")
    if found:
        return found
    from lib.journal.memory import Memory

    there = [part.info()[4] for part in esp32.Partition.find(esp32.Partition.TYPE_DATA)]
    log.error("journal", "found the partitions %s, needed `journal`: only 16 KB are kept, until a reset" % there)
    memory = Memory()
    memory.mount()
    return memory


def _resized(journal, label):
    """Say so when the blocks in the partition belong to a ring of another size: their records are gone."""
    if journal.head >= 0:
        return
    header = bytearray(HEAD)
    for place in range(4):  # unreadable blocks side by side that worn flash leaves
        found = load_header(journal.dev, CURSORS + place, header)
        if found and found[5] != journal._ring:
            sizes = journal._ring + CURSORS, found[5] + CURSORS
            log.error(label, "partition of %d blocks, its records were written to one of %d: it begins anew" % sizes)
            return
