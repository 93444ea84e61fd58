"""The README's quickstart, from an installed package; how long it takes is printed, and nothing is asserted of it."""

import re
import sys

from conftest import ROOT, run


def test_the_quickstart_leads_from_the_package_to_a_decision(built):
    said = run(sys.executable, ROOT / "tests/packages/quickstart.py", built / "wheels").stdout
    print(said)
    assert re.findall(r"^ +\d+\.\d\d s  (\w+)", said, re.MULTILINE) == ["install", "placet", "placet", "placet", "from"]
