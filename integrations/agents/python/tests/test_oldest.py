"""The verifiers with the oldest libraries that the package allows: an old PyJWT does not look at `crit`, for one."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("PLACET_CACHE", Path.home() / ".cache/placet")) / "agents-oldest"


@pytest.fixture(scope="module")
def oldest():
    """A folder with each dependency in its lowest version, installed once per machine."""
    wanted = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = [re.sub(r">=([^,]+),.*", r"==\1", one) for one in wanted]
    assert all("==" in one for one in pins), pins
    stamp = CACHE / "stamp"
    if not stamp.exists() or stamp.read_text() != "\n".join(pins):
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--upgrade",
            "--target",
            str(CACHE),
            *pins,
        ]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, f"the oldest versions cannot be had: {ran.stderr[-1000:]}"
        stamp.write_text("\n".join(pins))
    return CACHE


def test_every_fixture_is_judged_alike_with_the_oldest_libraries(oldest):
    env = {**os.environ, "PYTHONPATH": str(oldest), "PYTHONDONTWRITEBYTECODE": "1"}
    version = subprocess.run(
        [sys.executable, "-c", "import jwt; print(jwt.__version__)"], env=env, capture_output=True, text=True
    ).stdout.strip()
    assert version == "2.10.0", version
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:randomly",
        str(HERE / "test_fixtures.py"),
    ]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, cwd=HERE.parent)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert re.search(r"\d{3} passed", ran.stdout)
