"""gateway/meters: meters of one profile share its batches, unless the ratios are theirs alone."""
import json
import os
import sys

from gateway.ids import Ids
from gateway.meters import made

ROWS = [["0.4.2", 0, 0, "u16", 0, ""], ["31.7.0", 0, 1, "u16", -2, "A"]]
PROFILE = {
    "v": 2, "id": "mine", "n": "mine", "ph": 1, "ser": ["9600N1"], "lim": [32, 1, 20, 500], "blk": [[3, 0, 2, 1]],
    "q": ROWS, "conf": "L",
}  # fmt: skip
DATA = b"\x00\x28\x00\x7b"  # 40, 1.23 A


def batches(ratio, *meters):
    """The batches of meters of a profile with this `ratio`; each of `meters` is the ratios of its configuration."""
    for folder in ("data", "data/profiles"):
        try:
            os.mkdir(folder)
        except OSError:
            pass
    if "data" not in sys.path:
        sys.path.insert(0, "data")  # the current folder is not on the path of every board
    with open("data/profiles/mine.json", "w") as file:
        json.dump(dict(PROFILE, ratio=ratio) if ratio else PROFILE, file)
    rows = [
        dict(own, serial="S%d" % i, bus=0, address=i + 1, profile="mine", every=60) for i, own in enumerate(meters)
    ]
    found = made({"buses": [{"uart": 1, "baud": 9600, "format": "8N1"}], "meters": rows}, Ids())[0][1]
    assert [meter.serial for meter in found] == [row["serial"] for row in rows]
    assert len({meter.schema for meter in found}) == 1
    return [meter.batches for meter in found]


def test_meters_without_ratios_share_their_batches():
    one, other = batches(None, {}, {})
    assert one is other and one[0].decode(DATA) == [40000, 1230]
    one, other = batches({"ct": ""}, {}, {})
    assert one is other and one[0].decode(DATA) == [40000, 1230]


def test_a_configured_ratio_is_that_meters_alone():
    plain, scaled, third, last = batches({"ct": ""}, {}, {"ct": [200, 5]}, {"ct": [100, 5]}, {})
    assert plain is last
    assert [one[0].decode(DATA)[1] for one in (plain, scaled, third)] == [1230, 49200, 24600]


def test_a_ratio_that_a_meter_says_is_that_meters_alone():
    one, other, fixed = batches({"ct": "0.4.2"}, {}, {}, {"ct": [1, 1]})
    assert one is not other
    assert one[0].decode(DATA)[1] == 49200 and fixed[0].decode(DATA)[1] == 1230
    assert other[0].decode(b"\x00\x02\x00\x7b")[1] == 2460 and one[0].decode(DATA)[1] == 49200
