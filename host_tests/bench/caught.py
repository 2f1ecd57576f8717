"""Gives the gateway that `app.main()` builds of the configuration in the current folder, and what it would run.

gateway = caught.gateway()      # built, not run
caught.main(run)                # run(coroutine) takes the place of asyncio.run
"""

import asyncio

from gateway import app

made = []
_Gateway = app.Gateway
_run = asyncio.run


def _make(*args):
    made.append(_Gateway(*args))
    return made[-1]


def main(run):
    """Let app.main() build the gateway and hand its coroutine to `run`."""

    def first(coroutine):
        asyncio.run = lambda end: end.close()  # what comes after it, the gateway's end, is not run
        return run(coroutine)

    app.Gateway = _make
    asyncio.run = first
    try:
        app.main()
    finally:
        app.Gateway = _Gateway
        asyncio.run = _run
    if not made:
        raise SystemExit("the configuration is refused")


def gateway():
    """Return the gateway; nothing of it runs."""
    main(lambda coroutine: coroutine.close())
    return made.pop()
