"""The fixtures that all verifiers share are what their generators write."""

import subprocess
import sys

import pytest
from local_gate import HERE

FIXTURES = HERE / "../fixtures"


@pytest.mark.parametrize("generator", ["generate.py", "jws.py"])
def test_the_files_are_what_their_generator_writes(generator):
    ran = subprocess.run([sys.executable, FIXTURES / generator, "--check"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran
