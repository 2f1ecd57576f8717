"""What was sent and is not yet acknowledged: packet ids out, the acknowledged prefix in order back. No I/O."""
from array import array


class Window:
    """At most `messages` and `room` bytes; a message of more than `room` goes alone. A message makes no garbage here.

    A subscription takes a place too, so that its id is nobody else's; its mark is the id negated, so that the broker's
    answer to a subscription is never taken for that to a message. `count` and `bytes` are what is on the way.
    """

    def __init__(self, messages, room):
        self._room = room
        self._marks = [0] * messages  # a ring: +id, -id, or 0 when acknowledged or free
        self._tokens = [None] * messages
        self._sizes = array("I", self._marks)
        self._times = array("I", self._marks)
        self.newest = 0  # packet id given last
        self.clear()

    def clear(self):
        """Forget everything but the newest id."""
        self._first = 0  # place of the oldest
        self.count = self.bytes = 0
        for i in range(len(self._marks)):
            self._marks[i] = 0
            self._tokens[i] = None

    def fits(self, size):
        """Return whether a message of `size` bytes may go now."""
        return not self.count or self.count < len(self._marks) and self.bytes + size <= self._room

    def add(self, size, now, token=None, subscription=False):
        """Take a place, only when it `fits`; return the packet id. `now` is in ticks of the caller's clock."""
        pid = self.newest % 65535 + 1
        while pid in self._marks or -pid in self._marks:
            pid = pid % 65535 + 1
        self.newest = pid
        i = (self._first + self.count) % len(self._marks)
        self._marks[i] = -pid if subscription else pid
        self._tokens[i] = token
        self._sizes[i] = size
        self._times[i] = now
        self.count += 1
        self.bytes += size
        return pid

    def ack(self, mark, on_ack):
        """Acknowledge +id or -id, then call on_ack(token) in order for what is acknowledged with all before it.

        Returns False when nothing with that mark is on the way. A token None is not reported.
        """
        if mark not in self._marks:
            return False
        i = self._marks.index(mark)
        self._marks[i] = 0
        self.bytes -= self._sizes[i]
        while self.count and not self._marks[self._first]:
            i = self._first
            token = self._tokens[i]
            self._tokens[i] = None
            self._first = (i + 1) % len(self._marks)
            self.count -= 1
            if token is not None:
                on_ack(token)
        return True

    def since(self):
        """Return when the oldest message on the way was added; only while count > 0."""
        return self._times[self._first]
