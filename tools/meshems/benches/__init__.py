"""The benchmarks behind `meshems bench`. What each figure means and how it is measured: docs/benchmarks.md.

figures.py   a figure: its JSON line, whether it keeps its bound
rig.py       the firmware as .mpy, and one gateway of it with a heap of a given size
broker.py    a broker that counts, and that can be cut
base.py      the suite `base`: boot.py, heap.py, imports.py, loop.py
"""
