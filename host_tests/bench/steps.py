"""Runs the steps of a JSON list, given as a file: what wasm.mjs is for the 32-bit build."""

import json
import sys

with open(sys.argv[1]) as file:
    steps = json.load(file)
for step in steps:
    exec(step)
