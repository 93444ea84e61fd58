"""`placet backup` while a gate serves under load, and a restored folder from which everything goes on."""

import hashlib
import itertools
import json
import os
import subprocess
import tarfile
import threading

import pytest
from local_gate import BINARY, SHARED, environment, placet
from placet_client import Link, new_id, wait_until
from served_gate import ServedGate


def restored(gate, backup, folder):
    """A gate over what the backup makes of a new folder."""
    folder.mkdir()
    again = ServedGate(folder, SHARED)
    ran = placet("restore", backup, "--data", again.data)
    assert ran.returncode == 0 and "redeemed" in ran.stderr, ran
    return again


def chains(entries):
    """The entries by their chain, in order; checks that none is missing in between and that each knows the one before."""
    by_subject = {}
    for entry in sorted(entries, key=lambda entry: entry["seq"]):
        by_subject.setdefault(entry["subject"], []).append(entry)
    for subject, chain in by_subject.items():
        assert [entry["seq"] for entry in chain] == list(range(1, len(chain) + 1)), subject
        assert all(after["prev_hash"] == before["hash"] for before, after in itertools.pairwise(chain)), subject
    return by_subject


def test_a_backup_under_load_restores_to_a_gate_where_everything_goes_on(local_gate, tmp_path):
    gate = local_gate().start()
    agent, executor = gate.client("agent"), gate.client("executor")
    pending = agent.asked(payload={"amount": 1})
    link = gate.link(pending, "bob")
    half = agent.asked("two.pay")
    assert gate.link(half, "bob").approve()["status"] == "pending"
    other_half = gate.link(half, "carol")
    approved = agent.asked("auto.approve", {"a": 1})
    redeemed = agent.asked("auto.approve", {"a": 2})
    agent.redeem(redeemed["token"], "executor-1")
    eddsa = executor.asked("auto.approve", {"a": 3})
    assert gate.cli("keys", "rotate").returncode == 0
    agent = gate.client("agent")

    stop, asked, problems = threading.Event(), [], []

    def load(client):
        while not stop.is_set():
            name = new_id("load")
            answer = client.ask("auto.approve", {"n": name}, request_id=name, sending={"fresh": True})
            if answer.status == 201:
                asked.append(name)
            else:
                problems.append(answer)

    threads = [threading.Thread(target=load, args=(agent,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    backups = []
    try:
        wait_until(lambda: len(asked) > 50, 30, "some load")
        for number in range(3):
            surely_in = list(asked)
            backup = tmp_path / f"backup{number}.tar"
            ran = gate.cli("backup", backup, "--json")
            assert ran.returncode == 0, ran
            assert json.loads(ran.stdout)["bytes"] > 0
            backups.append((backup, surely_in))
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert not problems, problems[:3]
    assert backup.stat().st_mode & 0o777 == 0o600
    assert not [name for name in os.listdir(gate.data) if "backup" in name]
    assert gate.stop() == 0

    for number, (backup, surely_in) in enumerate(backups):
        again = restored(gate, backup, tmp_path / f"restored{number}")
        try:
            again.start()
            client = again.client("agent")
            assert client.secret == agent.secret
            assert set(again.integrity()) == {"ok"}
            before = chains(gate.audit())
            after = chains(again.audit())
            for subject, chain in after.items():
                # The restored gate has gone on from where the backup ended.
                common = min(len(chain), len(before.get(subject, chain)))
                assert chain[:common] == before.get(subject, chain)[:common], subject
            for name in surely_in[:: max(1, len(surely_in) // 40)]:
                assert client.state(name)["status"] == "approved", name
            assert client.verify(approved["token"], payload={"a": 1})["valid"] is True
            assert again.client("executor").verify(eddsa["token"], payload={"a": 3})["valid"] is True
            assert client.redeem(redeemed["token"], "executor-2").status == 409
            assert client.redeem(redeemed["token"], "executor-1").json()["first"] is False
            assert Link(again.http, link.url).approve()["status"] == "approved"
            assert client.state(pending["request_id"])["approved"] is True
            assert len(again.endings_of(pending)) == 1
            assert [vote["reviewer"] for vote in client.state(half["request_id"])["votes"]] == ["bob"]
            assert Link(again.http, other_half.url).approve()["decided_by"] == ["bob", "carol"]
            assert {message["reviewer"] for message in again.messages(pending)} >= {"bob"}
            assert again.cli("doctor").returncode == 0
        finally:
            again.kill()


@pytest.fixture
def made(local_gate, tmp_path):
    """A serving gate, and a backup of it."""
    gate = local_gate().start()
    gate.client("agent").asked()
    file = tmp_path / "gate.tar"
    assert gate.cli("backup", file).returncode == 0
    return gate, file


def test_any_tar_can_open_a_backup_and_check_it(made):
    _gate, file = made
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert names[0] == "placet-backup.json" and {"gate.db", "keyring.json"} <= set(names)
        assert all(member.mode == 0o600 and member.isfile() for member in archive.getmembers())
        assert not {"serving.lock", "gate.url", "keyring.lock"} & set(names)
        manifest = json.load(archive.extractfile("placet-backup.json"))
        assert manifest["format"] == 1 and set(manifest["files"]) == set(names[1:])
        for name, entry in manifest["files"].items():
            content = archive.extractfile(name).read()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"]), name


def test_nothing_is_overwritten(made, tmp_path):
    gate, file = made
    before = file.read_bytes()
    again = gate.cli("backup", file)
    assert again.returncode == 1 and "--force" in again.stderr and file.read_bytes() == before, again
    assert gate.cli("backup", file, "--force").returncode == 0
    inside = gate.cli("backup", gate.data / "x.tar")
    assert inside.returncode == 2 and not (gate.data / "x.tar").exists(), inside

    serving = placet("restore", file, "--data", gate.data)
    assert serving.returncode == 1 and gate.url in serving.stderr, serving
    assert gate.alive()
    gate.stop()
    full = placet("restore", file, "--data", gate.data)
    assert full.returncode == 1 and "not empty" in full.stderr, full
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("mine")
    ran = placet("restore", file, "--data", other)
    assert ran.returncode == 1 and os.listdir(other) == ["precious"], ran


def test_a_backup_that_is_not_whole_restores_nothing(made, tmp_path):
    _, file = made
    bytes_ = file.read_bytes()
    middle = len(bytes_) // 2
    for number, damaged in enumerate(
        (
            b"",
            b"not a backup",
            bytes_[:middle],
            bytes_[: len(bytes_) - 4096],
            bytes_[:middle] + b"\x55" * 64 + bytes_[middle + 64 :],
        )
    ):
        bad, target = tmp_path / f"bad{number}.tar", tmp_path / f"target{number}"
        bad.write_bytes(damaged)
        ran = placet("restore", bad, "--data", target)
        assert ran.returncode == 1 and not target.exists(), (number, ran)
    ran = placet("restore", tmp_path / "none.tar", "--data", tmp_path / "target")
    assert ran.returncode == 3 and "none.tar" in ran.stderr, ran
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = placet("restore", file, "--data", empty)
    assert ran.returncode == 0 and (empty / "gate.db").exists(), ran
    assert all((empty / name).stat().st_mode & 0o077 == 0 for name in os.listdir(empty))


def test_a_backup_goes_through_a_pipe(made, tmp_path):
    gate, _ = made
    target = tmp_path / "piped"
    with subprocess.Popen(
        [str(BINARY), "backup", "-", "--data", str(gate.data)], stdout=subprocess.PIPE, env=environment()
    ) as out:
        ran = subprocess.run(
            [str(BINARY), "restore", "-", "--data", str(target), "--json"], stdin=out.stdout, capture_output=True, text=True, env=environment(),
        )  # fmt: skip
    assert (out.returncode, ran.returncode) == (0, 0), ran
    assert json.loads(ran.stdout)["data"] == str(target)


def test_there_is_nothing_to_back_up_where_no_gate_was(tmp_path):
    ran = placet("backup", tmp_path / "x.tar", "--data", tmp_path / "nothing")
    assert ran.returncode == 1 and not (tmp_path / "x.tar").exists(), ran
    (tmp_path / "empty").mkdir()
    ran = placet("backup", tmp_path / "x.tar", "--data", tmp_path / "empty")
    assert ran.returncode == 1 and not (tmp_path / "x.tar").exists(), ran
