"""Files that the stand-ins of this board share: the working directory is the board, ./flash its non-volatile memory."""
import json
import os


def flash(name):
    """Return the path of `name` in the flash directory, which exists afterwards."""
    try:
        os.mkdir("flash")
    except OSError:
        pass  # it is there
    return "flash/" + name


def save(path, text):
    """Write `text` to `path` whole or not at all: a kill at any instant leaves the old file or the new one."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def remove(path):
    """Remove the file `path`, if there is one."""
    try:
        os.remove(path)
    except OSError:
        pass


def level(pin, default):
    """Return what pins.json says lies at a pin, else `default`."""
    try:
        with open("pins.json") as file:
            return json.load(file).get(str(pin), default)
    except (OSError, ValueError):
        return default
