"""A new configuration that came from outside: all of its files come into force together, or none.

    files `new.gateway.json`, `new.secrets.json`, ... are written, in any order, by whoever has them
    problems = incoming.take(["gateway.json", "secrets.json", "operator.der"])      # [] when they are in force

What makes them the ones in force is one renaming, which littlefs does as a whole: that of the list of their names. From
then on, whatever the moment of a power cut, the next start puts the rest in their places (gateway/build).
"""
import os

from micropython import const

LIST = "incoming"
_NEW = const("new.")


def take(names):
    """Judge the files `new.NAME` and put them into force; return the problems, as gateway/config says them.

    With problems the old ones stay, and the new are removed. OSError when flash cannot take it: the old ones stay too.
    """
    from gateway import config

    land()  # what an earlier call left
    texts = []
    for name in ("gateway.json", "secrets.json"):
        with open(_NEW + name, "rb") as file:
            texts.append(file.read())
    problems = config.read(texts[0], texts[1], config.profile)[2]
    if problems:
        for name in names:
            _gone(_NEW + name)
        return problems
    for name in names:
        os.stat(_NEW + name)  # OSError before anything is in force
    with open(LIST + ".new", "w") as file:
        file.write("\n".join(names))
    os.rename(LIST + ".new", LIST)
    land()
    return []


def land():
    """Put the files of a list that is in force in their places; nothing without one. It may be cut and called again."""
    try:
        with open(LIST) as file:
            names = file.read().split("\n")
    except OSError:
        return
    for name in names:
        try:
            os.rename(_NEW + name, name)
        except OSError as error:
            if error.errno != 2:  # it is in its place already
                raise
    os.remove(LIST)


def _gone(name):
    try:
        os.remove(name)
    except OSError:
        pass
