"""docs/records.md: its example is the one that the firmware is tested with."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_bytes_of_the_example_are_those_of_the_test():
    page = (ROOT / "docs/records.md").read_text().partition("## Example")[2]
    written = "".join(re.findall(r"^\| `([0-9a-f ]+)` \|", page, re.MULTILINE)).replace(" ", "")
    tested = re.search(r'example = \(\n(.*?)\n    \)', (ROOT / "host_tests/unit/mp_records.py").read_text(), re.DOTALL)
    assert tested and written == re.sub(r'[\s"]', "", tested[1])
