"""What the board shows to who stands before it: light, screen, button; loaded where the configuration asks for it.

    await Panel(gateway, lamp, screen, button, pages).run(life)

Each of the three may be None. What to read from it: docs/panel.md.
"""
import asyncio
import time

from micropython import const

from gateway import calls, clock, lamp, log
from gateway.metering import MISSES

_TICK_MS = const(50)
_LAMP = const(4)  # ticks
_LOOK = const(20)  # ticks from one look at what is shown to the next
_TURN = const(100)  # ticks that a page is shown where there is no button
_DARK = const(6000)  # ticks without a press after which the screen goes dark: it wears where it shines
_AGAIN = const(600)  # ticks after which a screen that did not answer is tried again
_STARTING_MS = const(60000)


class Panel:
    """One task: `run(life)`. `pages` are functions that return up to eight lines."""

    def __init__(self, gateway, light, screen, button, pages):
        self._gateway = gateway
        self._lamp = light
        self._screen = screen
        self._button = button
        self._pages = pages
        self._at = 0
        self._lit = None  # whether the screen shines; None: it has to be set up
        self._away = 0  # ticks until the screen is tried again
        self._idle = 0  # ticks without a press
        self._lines: list = []
        self._row = 0
        self._well = False  # once all was well, or the start is over

    async def run(self, life):
        """Show, and hear the button, for ever."""
        tick = 0
        while True:
            life.beat()
            tick += 1
            if self._lamp and tick % _LAMP == 0:
                self._lamp.step(self.codes())
            if self._screen:
                press = self._button and self._button.step(time.ticks_ms())
                if press:
                    self.press(*press)
                self._show(tick)
            await asyncio.sleep_ms(_TICK_MS)

    def codes(self):
        """Return the codes of gateway/lamp that hold now; () when all is well."""
        gateway = self._gateway
        found = []
        mesh = getattr(gateway, "mesh", None)
        if [outlet for outlet in gateway.outlets if not outlet.client.connected] or mesh and not mesh.node.routes.root:
            found.append(lamp.UPLINK)
        meters = [meter for bus in gateway.buses for meter in bus.meters]
        if [meter for meter in meters if meter.misses >= MISSES]:
            found.append(lamp.METER)
        if not gateway.clock.trusted():
            found.append(lamp.CLOCK)
        if not self._well:
            asked = not [meter for meter in meters if not meter.polls]
            self._well = asked and not found or clock.uptime_ms() >= _STARTING_MS
        return tuple(found) if self._well else (lamp.STARTING,)

    def press(self, name, long):
        """Take a press of the button `name`: the next page, or with "b" the one before; a long one reads all meters."""
        self._idle = 0
        if name not in ("a", "b"):
            return  # the door
        if long:
            calls.read_now(self._gateway, [meter.serial for bus in self._gateway.buses for meter in bus.meters])
        elif self._lit:  # else it only wakes the screen
            self._at = (self._at + (1 if name == "a" else -1)) % len(self._pages)
        self._lines = []

    def _show(self, tick):
        """Draw one line that has changed, so that the loop is never held for long."""
        if self._away:
            self._away -= 1
            return
        try:
            if self._lit is None:
                self._screen.begin()
                self._lit = False
            self._idle += 1
            if self._idle > _DARK and self._button:
                if self._lit:
                    self._screen.power(False)
                    self._lit = False
                return
            if not self._button and tick % _TURN == 0:
                self._at = (self._at + 1) % len(self._pages)
                self._lines = []
            if tick % _LOOK == 0 or not self._lines:
                self._lines = self._pages[self._at]()[:8]
                self._lines += [""] * (8 - len(self._lines))
            for row in range(8):
                if self._screen.line(row, self._lines[row], row == 0):
                    return
            if not self._lit:
                self._screen.power(True)
                self._lit = True
        except OSError as error:
            log.warn("panel", "screen: %r" % error)
            self._lit = None
            self._away = _AGAIN
