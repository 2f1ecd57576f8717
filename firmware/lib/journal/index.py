"""Finds a time in a journal, by the hints in its block headers: needed seldom.

    ordinal = index.find(journal, when)
"""


def find(journal, when):
    """Return an ordinal such that whatever was appended with a hint of `when` or later is behind it."""
    for _ in range(2):  # one block early: its hint is that of its first frame, and a boot forgets the others
        found = journal.header(journal._last(2, when - 1))
        if not found:
            return journal.first
        when = found[2]
    return found[1]
