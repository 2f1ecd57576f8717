"""Calls what is needed once, and gives the memory of its module back: on the chip code lies in the heap.

    once.call("lib.proto.modbus.rules", "problems", profile)
"""
import sys


def call(name, function, *args):
    """Return what `function` of the module `name` ("lib.x.y") returns. A module that was loaded before stays."""
    kept = name in sys.modules
    module = __import__(name, None, None, (function,))
    try:
        return getattr(module, function)(*args)
    finally:
        if not kept:
            package, part = name.rsplit(".", 1)
            del sys.modules[name]
            delattr(sys.modules[package], part)
