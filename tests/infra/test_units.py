"""The units of infra/systemd, by systemd's own offline checks."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "infra/systemd"
SYSTEM = Path("/lib/systemd/system")

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze: tests/run says so")


@pytest.mark.parametrize("service", ["placet.service", "placet-backup.service"])
def test_a_service_may_do_little(service: str) -> None:
    """An exposure of 2.0 at most, where 10 is a service without any limit."""
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNITS / service)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr


def test_systemd_reads_every_line(tmp_path: Path) -> None:
    """In a root that has the system's own units and the programs that ours start."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for pattern in ("*.target", "*.slice", "*.socket", "*.service"):
        for unit in SYSTEM.glob(pattern):
            if unit.is_file() and not unit.is_symlink():
                shutil.copy(unit, units)
    for program in ("usr/bin/placet", "bin/sh", "bin/kill"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / program)
    ours = sorted(path.name for path in UNITS.iterdir())
    for name in ours:
        shutil.copy(UNITS / name, units)
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", *ours],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in ran.stderr.splitlines() if re.search(r"\bplacet", line)]
    assert said == [], ran.stderr


def test_the_backup_runs_as_the_gate_and_reads_its_folder() -> None:
    gate, backup = ((UNITS / name).read_text() for name in ("placet.service", "placet-backup.service"))
    for line in ("DynamicUser=yes", "User=placet", "UMask=0077"):
        assert f"\n{line}\n" in gate
        assert f"\n{line}\n" in backup
    assert "/var/lib/placet " in gate
    assert "--data /var/lib/placet " in backup
