"""Cuts the power of a journal at each operation on the cells, and tells what the contract says must be left.

The contract: what was acknowledged is there, unaltered and in order, unless the ring has taken it; of the rest only
the frame in flight may be there; a cursor is the one put last, or the one in flight; no ordinal ever names two
different records to a reader.
"""
import random

from fake_nor import ERASE_TEARS, PROGRAM_TEARS, Nor, PowerCut
from lib.journal import Journal

BLOCKS = 8 + 5
LENGTHS = (230, 17, 504, 96, 300, 8, 411, 40, 122, 0, 360, 57)
# What a later cut does to a program. Not "faint": a boot whose very first program is cut before any bit shows leaves
# nothing that the next boot could know of, and the page is used again (docs/journal.md, limits).
AGAIN = tuple(mode for mode in PROGRAM_TEARS if mode != "faint")
TAILS = (b"", b"\xff" * 200, b"\0" * 16, b"\xff" * 33)


def again():
    """A way to tear whatever a later cut meets: of a program, of an erase."""
    return random.choice(AGAIN), random.choice(ERASE_TEARS)


class World:
    """One flash, and what is known to have been stored on it."""

    def __init__(self, nor):
        self.nor = nor
        self.frames = {}  # ordinal: (payload, count) of each acknowledged frame
        self.next = 0  # ordinal after the newest of them
        self.cursors = {}
        self.doubts = []  # (id, ordinal) that was in flight in a cut: it may be read, until the next put
        self.flying = None  # (ordinal, payload, count) or (id, ordinal): what was asked and not yet acknowledged
        self.ghosts = {}  # ordinal: (payload, count) that was in flight in a cut: it may be there
        self.made = 0

    def clone(self, nor):
        twin = World(nor)
        twin.frames, twin.cursors, twin.ghosts = dict(self.frames), dict(self.cursors), dict(self.ghosts)
        twin.next, twin.flying, twin.made, twin.doubts = self.next, self.flying, self.made, list(self.doubts)
        return twin

    def boot(self):
        """Mount; nothing is programmed by it."""
        before = self.nor.ops
        self.journal = Journal(self.nor)
        self.journal.mount()
        assert self.nor.ops == before, "mount wrote"

    def append(self):
        """Store a frame that there was never one like, with lengths and last bytes that are hard on a log."""
        self.made += 1
        body = b"%d." % (self.made + 1000000)
        length = max(len(body), LENGTHS[self.made % len(LENGTHS)])
        tail = TAILS[self.made % len(TAILS)][: length - len(body)]
        payload = body + bytes([self.made & 255]) * (length - len(body) - len(tail)) + tail
        count = self.made % 4
        self.flying = (self.journal.next, payload, count)
        ordinal = self.journal.append(1, payload, count)
        assert ordinal == self.flying[0]
        self.acknowledge()

    def put(self, cursor, ordinal):
        self.flying = (cursor, ordinal)
        self.journal.put(cursor, ordinal)
        self.acknowledge()

    def acknowledge(self):
        if len(self.flying) == 3:
            ordinal, payload, count = self.flying
            self.frames[ordinal, payload[:7]] = (ordinal, payload, count)
            self.next = ordinal + count
        else:
            cursor, ordinal = self.flying
            self.cursors[cursor] = ordinal
            self.doubts = [doubt for doubt in self.doubts if doubt[0] != cursor]
        self.flying = None

    def cut(self):
        """Power is gone: what was in flight may be there, today or for ever."""
        if self.flying and len(self.flying) == 3:
            ordinal, payload, count = self.flying
            self.ghosts[ordinal, payload[:7]] = (ordinal, payload, count)
        elif self.flying:
            self.doubts.append(self.flying)
        self.flying = None

    def verify(self, floor):
        """Boot and check all of the contract; ordinals below `floor` may be gone."""
        self.boot()
        journal, reader, seen, at = self.journal, self.journal.reader(0), {}, -1
        while True:
            frame = reader.read()
            if frame is None:
                break
            kind, ordinal, count, payload, _ = frame
            payload = bytes(payload)
            assert kind == 1 and at <= ordinal, "out of order: %d after %d" % (ordinal, at)
            at = ordinal + count
            key = (ordinal, payload[:7])
            known = self.frames.get(key) or self.ghosts.get(key)
            assert known == (ordinal, payload, count), "never stored: %d" % ordinal
            seen[key] = 1
        for key, frame in self.frames.items():
            assert key in seen or frame[0] + frame[2] <= floor, "lost: %d of %d" % (frame[0], journal.next)
        assert journal.next >= max(at, self.next), "ordinal given twice"
        assert journal.next <= max([self.next] + [g[0] + g[2] for g in self.ghosts.values()]), "ordinals left out"
        for cursor, ordinal in self.cursors.items():
            got = journal.cursor(cursor)
            assert got == ordinal or (cursor, got) in self.doubts, "cursor %d: %r, not %d" % (cursor, got, ordinal)

    def recover(self, floor, frames=12):
        """Go on as a gateway does after a boot, then boot again and check; below `floor` an erase had begun."""
        for i in range(frames):
            self.append()
            if i % 5 == 1:
                self.put(i % 3, self.next - 1)
            if i % 3 == 2:
                self.journal.prepare()
        self.verify(max(floor, self.journal.first))


class Workload:
    """A short life in which the ring wraps and the cursor journal wraps; `cases` yields a world cut in each way."""

    def __init__(self, seed=1, frames=34):
        random.seed(seed)
        self.nor = Nor(BLOCKS)
        world = World(self.nor)
        world.boot()
        while world.journal.head < 4 or world.journal.end < 3000:
            world.append()
        puts = 7 * 252 + 255  # the cursor journal is about to go from its block 7 back to 0
        for i in range(puts):
            world.put(i % 3, world.next * i // puts)
        self.base, self.torn, self.after = Nor(BLOCKS), Nor(BLOCKS), Nor(BLOCKS)
        self.base.copy(self.nor)
        self.worlds = []  # (operations, first, world) when something was asked, and when it was acknowledged
        self.nor.trace, self.nor.ops = [], 0
        self.nor.watch = lambda: world.journal.first
        self.world = world
        self.gone = 0  # below it, nothing was there before the call
        for i in range(frames):
            self._note(world.append)
            if i % 2:
                self._note(world.put, i % 3, world.next)
            if i % 4 == 1:
                world.journal.prepare()
        self.trace, self.nor.trace = self.nor.trace, None
        assert world.journal.head >= 6 and world.journal._cursors.seq == 8, "wrapped both"

    def _note(self, ask, *args):
        world, begin = self.world, self.nor.ops
        for key in [key for key in world.frames if key[0] < self.gone]:
            del world.frames[key]
        self.gone = world.journal.first
        before = world.clone(None)
        ask(*args)
        # What the cut sees in flight: the call as it was made.
        if ask == world.append:
            key = [k for k in world.frames if k not in before.frames][0]
            before.flying = world.frames[key]
            before.made = world.made
        else:
            before.flying = args
        self.worlds.append((begin, self.nor.ops, before))

    def cases(self, only=None, step=1, pick=lambda at, data: True):
        """Yield (name, world, floor) for each operation of the life, or those to `pick`, cut short in each way."""
        nor, torn, index = self.after, self.torn, 0
        nor.copy(self.base)
        for k, (at, data, first) in enumerate(self.trace):
            while index < len(self.worlds) - 1 and self.worlds[index + 1][0] <= k:
                index += 1
            begin, end, before = self.worlds[index]
            if k >= end:  # between two calls: an erase ahead
                before = self.worlds[index + 1][2] if index + 1 < len(self.worlds) else self.world
            if k % step == 0 and pick(at, data):
                for mode in PROGRAM_TEARS if data else ERASE_TEARS:
                    if only and mode not in only:
                        continue
                    torn.copy(nor)
                    torn.tear(at, data, mode)
                    world = before.clone(torn)
                    if k >= end:
                        world.flying = None
                    world.cut()
                    yield "%s of operation %d at %d" % (mode, k, at), world, first
            nor.do(at, data)


def check(world, floor, nested=0):
    """Verify, go on and verify again; `nested`: lose power once more within, at that operation."""
    world.verify(floor)
    nor = world.nor
    if nested:
        nor.cut_at, nor.cut_mode = nor.ops + nested, again()
        try:
            world.recover(floor)
        except PowerCut:
            pass
        nor.cut_at = -1
        floor = max(floor, world.journal.first)
        world.cut()
        world.verify(floor)
    world.recover(floor)


def errors(workload, times=1, **kwargs):
    """Yield, for each case, what is wrong with it: None for a journal that keeps the contract."""
    for _ in range(times):
        for name, world, floor in workload.cases(**kwargs):
            try:
                check(world, floor)
                yield None
            except (AssertionError, OSError, IndexError, ValueError) as error:
                yield "%s: %s" % (name, error)
