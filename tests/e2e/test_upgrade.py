"""A gate on a folder that an earlier version wrote, and an earlier gate on a folder of a later one.

`tests/fixtures/folders/N.tar` is a backup that the first version with the stored form N made; none is ever rewritten. A new
form adds one, from a binary of that form:

    PLACET=target/debug/placet ~/.cache/placet/e2e-venv/bin/python tests/e2e/test_upgrade.py tests/fixtures/folders/N.tar
"""

import hashlib
import json
import sqlite3
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "stories")]

from local_gate import SHARED, placet  # noqa: E402
from served_gate import ServedGate  # noqa: E402

FOLDERS = sorted((HERE.parent / "fixtures/folders").glob("*.tar"), key=lambda path: int(path.stem))


def made(file):
    """Writes the backup of a gate with something of every kind: approved, used up, half decided, waiting."""
    with tempfile.TemporaryDirectory() as folder:
        gate = ServedGate(folder, SHARED).start()
        agent = gate.client("agent")
        approved = agent.asked(request_id="approved-1", payload={"amount": 1})
        gate.link(approved, "bob").approve()
        redeemed = agent.asked("auto.approve", {"amount": 2}, request_id="redeemed-1")
        agent.redeem(redeemed["token"], "executor-1")
        half = agent.asked("two.pay", request_id="half-1")
        gate.link(half, "bob").approve()
        agent.asked(request_id="waiting-1", callback_url="https://nobody.example.com/callback")
        ran = gate.cli("backup", file)
        assert ran.returncode == 0, ran
        assert gate.stop() == 0


@pytest.fixture(params=FOLDERS, ids=lambda path: f"form-{path.stem}")
def folder(request, tmp_path):
    """A data folder of an earlier version, with the policy of its time."""
    (tmp_path / "gate").mkdir()
    gate = ServedGate(tmp_path / "gate", SHARED)
    ran = placet("restore", request.param, "--data", gate.data)
    assert ran.returncode == 0, ran
    return gate


def test_what_was_decided_is_read_as_it_was(folder):
    """Before a gate serves, and so before anything old may be forgotten."""
    for name, status, events in (
        ("approved-1", "approved", {"vote.cast", "request.approved"}),
        ("redeemed-1", "approved", {"request.approved", "token.redeemed"}),
    ):
        ran = folder.cli("show", name, "--client", "agent", "--json")
        shown = json.loads(ran.stdout)
        assert ran.returncode == 0 and shown["approval"]["status"] == status, ran
        assert events <= {entry["event"] for entry in shown["history"]}
    # What waited then is there, with what was said of it.
    for name, votes in (("half-1", 1), ("waiting-1", 0)):
        shown = json.loads(folder.cli("show", name, "--client", "agent", "--json").stdout)
        assert shown["approval"]["request_id"] == name and len(shown["approval"]["votes"]) == votes, shown


def test_a_gate_serves_it_with_the_same_keys(folder):
    before = folder.cli("client", "secret", "agent").stdout
    folder.start()
    assert folder.cli("client", "secret", "agent").stdout == before
    agent = folder.client("agent")
    asked = agent.asked()
    assert folder.link(asked, "bob").approve()["status"] == "approved"
    # What waited then was settled by its deadline, and by nothing else.
    for name in ("half-1", "waiting-1"):
        answer = agent.get(name)
        assert answer.status == 404 or answer.json()["status"] in ("pending", "expired")
    assert folder.stop() == 0


def test_a_folder_of_a_later_version_is_refused_and_left_as_it_is(local_gate):
    gate = local_gate().start()
    gate.client("agent").asked()
    assert gate.stop() == 0
    with sqlite3.connect(gate.data / "gate.db") as later:
        later.execute("PRAGMA user_version = 99")
    later.close()

    def content():
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in gate.data.rglob("*")
            if path.is_file() and path.name in ("gate.db", "keyring.json")
        }

    before = content()
    ran = placet("serve", "--data", gate.data, "--listen", "127.0.0.1:0")
    assert ran.returncode == 3 and "newer" in ran.stderr, ran
    assert content() == before


if __name__ == "__main__":
    made(Path(sys.argv[1]).resolve())
