"""Finds the files that are data: profiles, schemas and the board's description.

They lie beside the modules, so they are looked for along `sys.path`: on a chip that is the root of
its file system, elsewhere the folders named by MICROPYPATH. What differs between boards is a path. An image has the
profiles in one file, a line each, because every file takes a block of flash; one in `profiles/` comes before those.
"""
import io
import json
import sys

PACKED = "profiles.jsonl"


def open_data(name):
    """Return the data file `name` ("profiles/x.json") open for reading; OSError when no folder has it."""
    for folder in sys.path:
        try:
            return open(folder + "/" + name if folder else name)
        except OSError:
            pass
    if name.startswith("profiles/"):
        start = '{"id":"%s",' % name[9:-5]
        with open_data(PACKED) as file:
            for line in file:
                if line.startswith(start):
                    return io.StringIO(line)
    raise OSError(2, name)


def load(name):
    """Return the parsed JSON of the data file `name`; OSError when it is missing, ValueError when it is broken."""
    with open_data(name) as file:
        return json.load(file)
