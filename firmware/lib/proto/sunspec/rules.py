"""The rules of a SunSpec profile.

    {"v": 1, "proto": "sunspec", "id": "sunspec", "n": "SunSpec meter or inverter", "ph": 3, "ser": ["9600N1"],
     "lim": [125, 1, 20, 1000],             as in a Modbus profile; at least 80 registers in a read
     "models": [201, 202, 203, 204],        the first of these in the unit's chain is read
     "q": [["1.8.0"], ["32.7.0"]],          the columns; one that the unit's model does not have is never there
     "probe": [[3, 40000, 2, "u32", [1400204883]]], "conf": "M", "note": "..."}     as in a Modbus profile
"""

from lib import once, schema
from lib.proto import modbus

_LEAST = 80  # registers in a read: the longest part of a model has 76
_COMMON = ("id", "n", "ph", "ser", "lim", "probe", "conf", "note")


def problems(profile):
    """Return every problem of any parsed JSON as (path, found, allowed); [] when it is a good profile."""
    ids = once.call("lib.proto.sunspec.models", "ids")
    codes = once.call("lib.proto.sunspec.models", "codes")
    row = {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "string", "enum": codes}}
    rules = {
        "v": {"type": "integer", "enum": [1]},
        "proto": {"type": "string", "enum": ["sunspec"]},
        "models": {"type": "array", "minItems": 1, "items": {"type": "integer", "enum": ids}},
        "q": {"type": "array", "minItems": 1, "maxItems": len(codes), "items": row},
    }
    rules.update([(key, {}) for key in _COMMON])
    if not isinstance(profile, dict):
        return schema.problems({"type": "object"}, profile)
    found = []
    for key in profile:
        if key not in rules:
            found.append((schema.show(key).strip('"'), "unknown key", ", ".join(sorted(rules))))
    for key in ("v", "proto", "models", "q"):
        if key not in profile:
            found.append((key, "nothing", rules[key]["type"]))
        else:
            found.extend(schema.problems(rules[key], profile[key], key))
    seen = {}
    for i, row in enumerate(profile["q"] if isinstance(profile.get("q"), list) else ()):
        if isinstance(row, list) and len(row) == 1 and isinstance(row[0], str):
            if row[0] in seen:
                found.append(("q[%d][0]" % i, schema.show(row[0]), "another code than q[%d]" % seen[row[0]]))
            seen[row[0]] = i
    limits = profile.get("lim")
    if isinstance(limits, list) and limits and isinstance(limits[0], int) and limits[0] < _LEAST:
        found.append(("lim[0]", str(limits[0]), "integer %d..125" % _LEAST))
    # what both kinds have in common is judged as in a Modbus profile that is good otherwise
    like = {key: profile[key] for key in _COMMON if key in profile}
    like.update({"v": 1, "blk": [[3, 0, 12, 1]], "q": [["x", 0, 0, "u32", 0, ""]]})
    return found + [problem for problem in modbus.check(like) if problem[0].split("[")[0] not in ("blk", "q")]
