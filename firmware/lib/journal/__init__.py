"""An append-only log in a ring of flash blocks, with cursors: the store-and-forward buffer. Format: docs/journal.md.

    journal = Journal(partition)
    journal.mount()
    ordinal = journal.append(1, payload, 12)    # 12 records in one frame; on flash when it returns
    reader = journal.reader(journal.cursor(7) or journal.first)
    frame = reader.read()                       # (kind, ordinal, count, payload, fresh), None at the end
    journal.put(7, ordinal + 12)

It knows nothing of what a record means; `index` finds where a time is. A device is what `esp32.Partition` is:
readblocks(n, buf, off), writeblocks(n, buf, off) that does not erase, ioctl 4 count, 5 size, 6 erase.
"""
from errno import EAGAIN, EIO

from micropython import const

from lib import once
from lib.journal.block import BLOCK, HEAD, MAX, Frame, load_header, size, store_header
from lib.journal.cursors import CURSORS, Cursors
from lib.journal.reader import Reader

_RECORDS = const(1024)  # offsets of records that a frame's header can name
_TRIES = const(3)  # blocks that one append may use up


class Journal:
    """`first` and `next`: ordinals of the oldest record and of the next one. `stats`: erases, failed (programs that
    did not read back), lost (holes that readers met).

    For the reader: dev; head, tail (numbers of the newest and oldest block, head -1 in an empty ring), end (offset
    after the newest frame, BLOCK when nothing more goes into that block).
    """

    volatile = False  # whether a reset loses all of it: memory.py

    def __init__(self, dev):
        self.dev = dev
        self._ring = dev.ioctl(4, 0) - CURSORS
        if self._ring <= _TRIES or dev.ioctl(5, 0) != BLOCK:
            raise ValueError("journal partition: at least %d blocks of %d" % (CURSORS + _TRIES + 1, BLOCK))
        self.stats = {"erases": 0, "failed": 0, "lost": 0}
        self._cursors = Cursors(dev, self.stats)
        self._frame = Frame(dev)
        self._header = bytearray(HEAD)
        self.head = self._seq = -1  # _seq: the last number used up, by a block that failed too
        self.tail = self.first = self.next = self._base = self._t0 = self._erases = self._boots = 0
        self.end = BLOCK
        self._ahead = -1  # number of the block that prepare() erased
        self._tries = _TRIES
        self._live = False  # something was appended in this session

    def block(self, seq):
        """Return the device's block that holds the block number `seq`."""
        return CURSORS + seq % self._ring

    def header(self, seq):
        """Return (seq, ordinal, t0, erases, boots, blocks) of a block of the ring, or None when it is not there."""
        found = load_header(self.dev, self.block(seq), self._header)
        return found if found and found[0] == seq and found[5] == self._ring else None

    @property
    def empty(self):
        """Return whether the ring holds no block at all, or none that was not given up (mount.py)."""
        return self.tail > self.head

    def mount(self):
        """Find the newest block and where it goes on, whatever the partition contains. Writes nothing."""
        once.call("lib.journal.mount", "mount", self)

    def _trim(self, tail):
        """Let the first readable block from `tail` on be the oldest."""
        found = None
        while tail <= self.head and not found:
            found = self.header(tail)
            tail += not found
        self.tail = tail
        self.first = found[1] if found else self.next

    def _erase(self, seq):
        """Erase the place of block `seq`. Its erase count is kept, or is its neighbour's when there is none."""
        block = self.block(seq)
        if seq - self._ring >= self.tail:
            self._trim(seq - self._ring + 1)
        old = load_header(self.dev, block, self._header)
        self._erases = old[3] + 1 if old else max(1, self._erases)
        self.dev.ioctl(6, block)
        self.stats["erases"] += 1
        self._ahead = seq

    def buffer(self):
        """Return a memoryview of MAX bytes in which the payload of an append may be written: it is not copied then."""
        return self._frame.buffer()

    def room(self):
        """Return how large a payload the head block still takes; 0 when the next frame will open a block."""
        left = BLOCK - 8 - self.end
        return min(left, MAX) if left > 0 and self.next - self._base < _RECORDS else 0

    def append(self, kind, payload, count, when=0):
        """Store a frame of `count` records (0..63) and return the ordinal of its first; kind 0..14, at most MAX bytes.

        It is on flash, read back and found right, when this returns. `when` (u32) is for `index`: it may be any count
        that grows with time, 0 while it is not known.
        OSError EAGAIN: the block of the frames before is worn. Nothing was stored, room() is 0: the payload that
        leaned on those frames must be written anew. OSError EIO: flash is beyond use.
        """
        length = len(payload)
        if not (0 <= kind < 15 and 0 <= count < 64 and length <= MAX):
            raise ValueError("frame")
        self._live = True
        word = kind << 12 | length
        room = self.room()
        if not room or length > room:
            self._open(word, count, payload, when)
        else:
            self._frame.seek(self.block(self.head), self.head, 0)
            if not self._frame.store(self.end, word, self.next - self._base << 6 | count, payload):
                self.stats["failed"] += 1
                self.end = BLOCK
                raise OSError(EAGAIN)
        ordinal = self.next
        self._t0 = max(when, self._t0)
        self.end += size(length)
        self.next += count
        return ordinal

    def _open(self, word, count, payload, when):
        """Open a block with its first frame. A block that will not take it is passed over with its number."""
        frame = self._frame
        when = max(when, self._t0)
        for seq in range(self._seq + 1, self._seq + 1 + self._tries):
            block = self.block(seq)
            try:
                if self._ahead != seq:
                    self._erase(seq)
                self._ahead = -1
                fields = (seq, self.next, when, self._erases, self._boots, self._ring)
                frame.seek(block, seq, 0)
                if store_header(self.dev, block, self._header, fields) and frame.store(HEAD, word, count, payload):
                    self.head = self._seq = seq
                    self._base, self.end, self._tries = self.next, HEAD, _TRIES
                    return
            except OSError:
                pass
            self.stats["failed"] += 1
        # A supply too weak to program must not eat the ring: from now on the same block is tried, and no other.
        self._seq = seq - 1
        self._tries = 1
        raise OSError(EIO)

    def prepare(self):
        """Erase the next block when the head is more than half full; return whether it did. For idle moments.

        Only after an append: a boot loop must not erase.
        """
        seq = self._seq + 1
        if not self._live or self._ahead == seq or self.end <= BLOCK // 2:
            return False
        try:
            self._erase(seq)
        except OSError:
            self.stats["failed"] += 1
            return False
        return True

    def cursor(self, cursor):
        """Return the ordinal kept under the id, or None."""
        return self._cursors.at.get(cursor)

    def put(self, cursor, ordinal):
        """Keep an ordinal under an id (0..253), power-safe; OSError when flash is beyond use."""
        self._cursors.put(cursor, ordinal)

    def reader(self, ordinal):
        """Return a Reader that begins with the block that holds `ordinal`."""
        return Reader(self, ordinal)

    def _last(self, field, value):
        """Return the number of the last block whose header's `field` is at most `value`; the tail's when none is."""
        low, high = self.tail, self.head
        while low < high:
            middle = seq = (low + high + 1) // 2
            found = self.header(seq)
            while not found and seq < high:
                seq += 1
                found = self.header(seq)
            if found and found[field] <= value:
                low = seq
            else:
                high = middle - 1
        return min(low, self.head)
