"""infra/compose.yaml: its processes and settings as far as a machine without a container engine can run them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).with_name("compose_inside.py")


def unshared():
    """A network and a view of the files of its own, which end with what runs in them."""
    return ["unshare", "--net", "--mount", "--fork", "--kill-child"]


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*unshared(), "true"], capture_output=True).returncode != 0,
    reason="needs to be root, with namespaces",
)
def test_a_workflow_is_approved_through_everything_that_compose_starts(tmp_path):
    folder = tmp_path / "compose"
    folder.mkdir()
    ran = subprocess.run(
        [*unshared(), sys.executable, str(INSIDE), str(folder)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, timeout=500,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    with_tls = "" if shutil.which("caddy") else "; without Caddy, which is not here"
    assert ran.stdout == f"approved, and the run went on{with_tls}\n"
