"""Gives the memory of modules back that are needed once: on the chip their code lies in the heap.

    once.call("lib.proto.modbus.rules", "problems", profile)
    once.forget("gateway.build")
"""
import sys


def forget(name):
    """Drop the module `name` ("lib.x.y"); its names stay in the interpreter's table."""
    package, part = name.rsplit(".", 1)
    del sys.modules[name]
    delattr(sys.modules[package], part)


def call(name, function, *args):
    """Return what `function` of the module `name` returns, and forget the module. One that was loaded before stays."""
    kept = name in sys.modules
    module = __import__(name, None, None, (function,))
    try:
        return getattr(module, function)(*args)
    finally:
        if not kept:
            forget(name)
