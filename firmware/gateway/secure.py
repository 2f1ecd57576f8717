"""TLS for an outlet: the broker's certificate has to be signed by the one authority that is pinned, for its name.

What is needed is a DER file in the gateway's root folder; a chain of RSA certificates costs memory that a small board
has not: ECDSA P-256 is meant.
"""
import asyncio
import ssl


class Pinned:
    """An SSLContext that trusts the authority in `file` and nobody else; within `async with` no bus is asking.

    OSError when the file cannot be read, ValueError when it is no certificate in DER. `lines` are the locks of the
    buses: a step of a handshake computes for up to a second, and the instant of an answer that comes meanwhile would
    be taken too late. So it waits for what is on the wire, one time-out at most, and whoever asks next waits for it.
    """

    def __init__(self, file, lines):
        with open(file, "rb") as opened:
            raw = opened.read()
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.verify_mode = ssl.CERT_REQUIRED  # type: ignore[attr-defined]  # and with that the name
        made.load_verify_locations(cadata=raw)
        self.wrap_socket = made.wrap_socket
        self._lines = lines
        self._held = []

    async def __aenter__(self):
        try:
            for lock in self._lines:
                await lock.acquire()
                self._held.append(lock)
        except asyncio.CancelledError:
            self._free()
            raise

    async def __aexit__(self, *error):
        self._free()

    def _free(self):
        for lock in self._held:
            lock.release()
        self._held.clear()


class Link:
    """The task of one outlet's connection; `link(outlet, life)` is who keeps it, None for the outlet itself."""

    def __init__(self, outlet, now, link=None):
        self._outlet = outlet
        self._clock = now
        self._link = link

    async def run(self, life):
        """Keep the connection from when the time is known: before, every certificate is out of its dates."""
        while self._clock.now() is None:
            self._outlet.client.state = "waits for the time"
            life.beat()
            await asyncio.sleep_ms(500)
        if self._link:
            await self._link(self._outlet, life)
        else:
            await self._outlet.client.run(life.beat)
