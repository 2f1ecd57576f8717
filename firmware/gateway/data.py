"""Finds the files that are data: profiles, schemas and the board's description.

They lie beside the modules, so they are looked for along `sys.path`: on a chip that is the root of
its file system, elsewhere the folders named by MICROPYPATH. What differs between boards is a path.
"""
import json
import sys


def open_data(name):
    """Return the data file `name` ("profiles/x.json") open for reading; OSError when no folder has it."""
    for folder in sys.path:
        try:
            return open(folder + "/" + name if folder else name)
        except OSError:
            pass
    raise OSError(2, name)


def load(name):
    """Return the parsed JSON of the data file `name`; OSError when it is missing, ValueError when it is broken."""
    with open_data(name) as file:
        return json.load(file)
