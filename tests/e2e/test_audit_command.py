"""`placet audit`: exported, tampered with, verified without a gate, witnessed, cut down by retention; and a gate that is killed
while it seals."""

import base64
import hashlib
import json
import random
import shutil
import sqlite3
import threading

import pytest
from local_gate import placet
from placet_client import new_id, wait_until
from test_cli import own
from tlog_scales import signing, tlog
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader


def run(*arguments, code=0, **options):
    ran = placet(*arguments, **options)
    assert ran.returncode == code, ran
    return ran.stdout


def verdict(*arguments, code=0):
    return json.loads(run("audit", "verify", *arguments, "--json", code=code))


def sealed(gate):
    return gate.query("SELECT leaves FROM log_head")[0][0]


def entries_of(folder):
    return (folder / "entries.jsonl").read_text().splitlines(keepends=True)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, module_gate):
    """A gate's export, made while it serves; and an older one."""
    gate = module_gate
    folder = tmp_path_factory.mktemp("exports")
    for _ in range(100):
        gate.agent.asked("auto.approve", {"to": new_id()})
    run("audit", "export", folder / "old", *own(gate))
    for _ in range(80):
        gate.agent.asked("auto.reject", {"to": new_id()})
    gate.asked = gate.agent.asked("ask.pay", {"to": new_id()})
    gate.link(gate.asked, "bob").approve()
    run("audit", "export", folder / "new", *own(gate))
    gate.exports = folder
    return gate


@pytest.fixture(scope="module")
def module_gate(local_gate_of_module):
    gate = local_gate_of_module().start()
    gate.agent = gate.client("agent")
    return gate


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported.exports / "new", tmp_path / "copy")
    return tmp_path / "copy"


def test_an_export_is_whole_and_says_whose_it_is(exported):
    new, old = exported.exports / "new", exported.exports / "old"
    key = run("audit", "key", *own(exported)).strip()
    whole = verdict(new, "--key", key, "--seen", old)
    assert whole["valid"] is True and whole["pinned"] is True
    assert whole["size"] == len(entries_of(new)) and whole["seen"] == len(entries_of(old))
    assert run("audit", "verify", new).startswith(f"intact: {whole['size']} entries of the log {key.split('+')[0]}")
    other = signing.PlainEd25519Signer("placet/log/0000000000000000", b"\7" * 32).vkey
    raw = base64.b64encode(b"\1" + other.pubkey).decode()
    assert verdict(new, "--key", f"{other.name}+{other.key_id:08x}+{raw}", code=1)["problem"] == "wrong_checkpoint"
    assert run("audit", "verify", new, "--key", "x", code=2) == ""
    assert run("audit", "verify", exported.exports / "nothing", code=3) == ""


def test_an_independent_verifier_reads_the_export(exported):
    folder = exported.exports / "new"
    reader = TilesReader(LocalBackend(folder))
    head = reader.get_checkpoint()
    name, key_id, raw = (folder / "log.vkey").read_text().strip().split("+", 2)
    raw = base64.b64decode(raw)
    head.verify(signing.Vkey(name, int(key_id, 16), raw[0], raw[1:]))
    assert reader.calculate_root_hash() == head.root_hash
    old = tlog.Checkpoint.from_text((exported.exports / "old" / "checkpoint").read_text())
    reader.get_consistency_proof(old.size, head.size).check(old.root_hash, head.root_hash)
    for index, line in enumerate(entries_of(folder)):
        hash_of = json.loads(line)["hash"]
        assert hashlib.sha256(reader.get_entry(index)).hexdigest() == hash_of


def rewrite(folder, change):
    lines = entries_of(folder)
    (folder / "entries.jsonl").write_text("".join(change(lines)))


def test_tampering_is_named_by_the_first_entry_that_it_was_done_to(copy):
    count = len(entries_of(copy))
    at = random.Random(14).randrange(20, count - 20)
    original = (copy / "entries.jsonl").read_text()

    def check(problem, index, change):
        rewrite(copy, change)
        found = verdict(copy, code=1)
        assert (found["valid"], found["problem"], found["index"]) == (False, problem, index), found
        assert f"entry {index}" in run("audit", "verify", copy, code=1)
        (copy / "entries.jsonl").write_text(original)

    check("changed", at, lambda lines: [*lines[:at], lines[at].replace('"agent"', '"mallory"'), *lines[at + 1 :]])
    check("dropped", at, lambda lines: [*lines[:at], *lines[at + 1 :]])
    check("inserted", at, lambda lines: [*lines[:at], lines[at - 1], *lines[at:]])
    check("reordered", at, lambda lines: [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])
    check("cut_off", count - 3, lambda lines: lines[:-3])
    check("inserted", count, lambda lines: [*lines, lines[0]])
    check("changed", at, lambda lines: [*lines[:at], "\0\n", *lines[at + 1 :]])
    assert verdict(copy)["valid"] is True


def test_what_was_signed_is_not_changed_unseen(copy, exported):
    checkpoint = (copy / "checkpoint").read_text()
    (copy / "checkpoint").write_text((exported.exports / "old" / "checkpoint").read_text())
    assert verdict(copy, code=1)["problem"] in ("tile", "inserted")
    (copy / "checkpoint").write_text(checkpoint.replace("placet/log/", "placet/log/0", 1))
    assert verdict(copy, code=1)["problem"] == "wrong_checkpoint"
    (copy / "checkpoint").unlink()
    assert run("audit", "verify", copy, code=3) == ""
    (copy / "checkpoint").write_text(checkpoint)
    # A trail that claims to begin later than the log has signed.
    (copy / "horizon").write_text((copy / "horizon").read_text().replace("horizon 0", "horizon 256"))
    assert verdict(copy, code=1)["problem"] == "wrong_horizon"


def test_the_keys_of_tokens_are_those_that_the_log_has_signed(copy, exported):
    old, key = exported.exports / "old", run("audit", "key", *own(exported)).strip()
    jwks, note, vkey = ((copy / name).read_text() for name in ("jwks.json", "jwks.note", "log.vkey"))
    assert verdict(copy)["token_keys"] is True

    def refused(file, problem="wrong_token_keys", **written):
        """With those files in it, the one that is named is at fault; with those of before, none is."""
        before = {"jwks.json": jwks, "jwks.note": note, "log.vkey": vkey}
        for name, text in written.items():
            path = copy / name.replace("_", ".")
            path.write_text(text) if text is not None else path.unlink()
        found = verdict(copy, "--key", key, code=1)
        assert (found["valid"], found["problem"]) == (False, problem), found
        assert f"`{file}`" in found["message"] and f"`{file}`" in run("audit", "verify", copy, "--key", key, code=1)
        for name, text in before.items():
            (copy / name).write_text(text)

    keys = json.loads(jwks)["keys"]
    other = base64.urlsafe_b64encode(b"\7" * 32).decode().rstrip("=")
    refused("jwks.json", jwks_json=json.dumps({"keys": [keys[0] | {"x": other}]}))
    refused("jwks.json", jwks_json=json.dumps({"keys": [*keys, keys[0] | {"x": other, "kid": "other"}]}))
    refused("jwks.json", jwks_json=json.dumps({"keys": []}))
    refused("jwks.json", jwks_json=jwks + " ")
    refused("jwks.json", jwks_json=None)
    refused("jwks.note", jwks_note=None)
    refused("jwks.note", jwks_note="")
    refused(
        "jwks.note",
        jwks_note=note.replace(hashlib.sha256(jwks.encode()).hexdigest(), hashlib.sha256(b"{}").hexdigest()),
    )
    # What the log has signed for an older export, or of something else, is not about these keys.
    refused("jwks.note", jwks_json=(old / "jwks.json").read_text(), jwks_note=(old / "jwks.note").read_text())
    refused("jwks.note", jwks_note=(copy / "horizon").read_text())
    refused("jwks.note", jwks_note=(copy / "checkpoint").read_text())
    # A key of another log beside all of it.
    refused("log.vkey", "wrong_log_key", log_vkey="placet/log/0000000000000000+00000000+AQ==\n")
    # A log that was copied without them is whole, and says that they are not there.
    (copy / "jwks.json").unlink()
    (copy / "jwks.note").unlink()
    assert verdict(copy)["token_keys"] is False
    assert "has no `jwks.json`" in run("audit", "verify", copy)


def test_a_witness_signs_one_history(exported, tmp_path):
    state, new, old = tmp_path / "witness", exported.exports / "new", exported.exports / "old"
    first = run("audit", "witness", old, "--state", state, "--name", "witness.example")
    second = run("audit", "witness", new, "--state", state)
    assert (state / "witness.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "cosigned").write_text(first)
    key = (state / "witness.vkey").read_text().strip()
    assert verdict(new, "--seen", tmp_path / "cosigned", "--witness", key)["seen"] == len(entries_of(old))
    # Nobody else's checkpoint has the witness's signature.
    assert verdict(new, "--seen", old / "checkpoint", "--witness", key, code=1)["problem"] == "wrong_seen"
    # An older head is no growth, and a witness signs none.
    assert "cut off" in run("audit", "witness", old, "--state", state, code=1)
    # tlog-scales checks the timestamped cosignature.
    head = tlog.Checkpoint.from_text(second)
    name, key_id, raw = key.split("+", 2)
    raw = base64.b64decode(raw)
    assert raw[0] == 4
    head.verify(signing.Vkey(name, int(key_id, 16), raw[0], raw[1:]))


def test_the_receipt_of_a_changed_payload_proves_what_was_approved(exported, tmp_path):
    payload = {"amount": 5000, "currency": "EUR", "to": "ACME GmbH", "secret": "s3cr3t", "note": new_id()}
    asked = exported.agent.asked("title.edit", payload=payload)
    link = exported.link(asked, "bob")
    fields = {"decision": "approve", "nonce": link.nonce(), "edit:payload.amount": "4500"}
    assert link.post_fields(fields).json()["status"] == "approved"
    receipt = tmp_path / "receipt.json"
    receipt.write_text(run("audit", "receipt", asked["request_id"], *own(exported)))
    for amount, code in ((4500, 0), (5000, 1)):
        said = tmp_path / "payload.json"
        said.write_text(json.dumps(payload | {"amount": amount}))
        proven = verdict(receipt, "--payload", said, code=code)
        assert code or proven["status"] == "approved", proven


def test_a_receipt_and_a_trail_are_verified_as_files(exported, tmp_path):
    key = run("audit", "key", *own(exported)).strip()
    receipt = tmp_path / "receipt.json"
    receipt.write_text(run("audit", "receipt", exported.asked["request_id"], *own(exported)))
    proven = verdict(receipt, "--key", key, "--seen", exported.exports / "old")
    assert (proven["status"], proven["decided_by"], proven["pinned"]) == ("approved", "bob", True)
    text = receipt.read_text()
    assert proven["has_token"] is True
    receipt.write_text(json.dumps(json.loads(text) | {"token": None}))
    assert verdict(receipt)["has_token"] is False
    assert "holds no token" in run("audit", "verify", receipt)
    receipt.write_text(json.dumps(json.loads(text) | {"approved_by": "mallory"}))
    assert verdict(receipt, code=1)["problem"] == "malformed"
    receipt.write_text(text.replace('"approved_by": "bob"', '"approved_by": "eve"'))
    assert verdict(receipt, code=1)["problem"] == "entry_changed"
    trail = tmp_path / "trail.jsonl"
    trail.write_text(run("audit", "show", "--format", "jsonl", *own(exported)))
    assert verdict(trail)["entries"] == len(trail.read_text().splitlines())
    trail.write_text(trail.read_text().replace('"bob"', '"eve"', 1))
    assert verdict(trail, code=1)["problem"] == "changed"
    pending = exported.agent.asked("ask.pay", {"to": new_id()})
    assert run("audit", "receipt", pending["request_id"], *own(exported), code=1) == ""


def test_the_trail_is_shown_as_people_read_it(exported):
    shown = run("audit", "show", "--limit", "5", *own(exported))
    assert len(shown.splitlines()) == 6 and "RECORDED" in shown
    mine = json.loads(run("audit", "show", "--reviewer", "bob", "--limit", "2", "--json", *own(exported)))["entries"]
    assert [entry["event"] for entry in mine] == ["vote.cast", "request.approved"]
    everything = run("audit", "show", "--format", "csv", *own(exported)).splitlines()
    assert everything[0].startswith("request_id,timestamp,approved_by,approved,token_hash,")
    assert len(everything) > 300


def auditor_at(gate, *arguments, code=0, client="auditor"):
    """`placet audit …` from a machine that has the auditor's secret and nothing else of the gate."""
    environment = {
        "PLACET_SECRET": gate.secret(client),
        "PLACET_CLIENT": client,
        "PLACET_DATA": str(gate.folder / "no"),
    }
    return run("audit", *arguments, "--url", gate.url, code=code, env=environment)


def test_an_auditor_takes_the_trail_away_from_an_address(exported, tmp_path):
    for _ in range(350):
        exported.agent.asked("auto.approve", {"to": new_id()})
    wait_until(lambda: sealed(exported) == len(exported.audit()), 20, "a log that has everything")
    run("audit", "export", tmp_path / "here", *own(exported))
    said = json.loads(auditor_at(exported, "export", tmp_path / "there", "--json"))
    assert said["size"] == sealed(exported) and said["size"] > 1000, said
    here, there = files_of(tmp_path / "here"), files_of(tmp_path / "there")
    # What an address says of the keys of tokens is signed by nobody.
    assert here.keys() - there.keys() == {"jwks.json", "jwks.note"} and there.keys() <= here.keys()
    assert [name for name in there if here[name] != there[name]] == []
    key = auditor_at(exported, "key").strip()
    assert key == run("audit", "key", *own(exported)).strip()
    assert verdict(tmp_path / "there", "--key", key, "--seen", exported.exports / "old")["pinned"] is True
    for arguments in (
        ["--limit", "7"],
        ["--reviewer", "bob", "--limit", "2", "--json"],
        ["--client", "agent", "--rule", "auto_approve", "--limit", "3", "--json"],
        ["--format", "csv"],
        ["--format", "jsonl", "--since", "2020-01-01", "--until", "2100-01-01T00:00:00Z"],
        ["--since", "2100-01-01"],
    ):
        assert auditor_at(exported, "show", *arguments) == run("audit", "show", *arguments, *own(exported)), arguments


def test_only_an_auditor_gets_the_trail_at_an_address(exported, tmp_path):
    for command in (["show"], ["show", "--format", "csv"], ["export", tmp_path / "mine"]):
        ran = placet(
            "audit", *command, "--url", exported.url, "--auditor", "agent",
            env={"PLACET_SECRET": exported.secret("agent"), "PLACET_DATA": str(tmp_path / "no")},
        )  # fmt: skip
        assert ran.returncode == 1 and ran.stdout == "" and "auditor" in ran.stderr, ran
    assert not (tmp_path / "mine").exists()
    assert auditor_at(exported, "export", exported.exports / "new", code=2) == ""
    ran = placet("audit", "show", "--url", exported.url, env={"PLACET_DATA": str(tmp_path / "no")})
    assert ran.returncode == 2 and "PLACET_SECRET" in ran.stderr, ran


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_gate_seals_everything_once(local_gate, tmp_path):
    gate = local_gate().start()
    for round_number in range(3):
        agent = gate.client("agent")
        stop = threading.Event()

        def ask(agent=agent, stop=stop):
            while not stop.is_set():
                try:
                    agent.asked("auto.approve", {"to": new_id()})
                except (OSError, AssertionError):
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        before = sealed(gate)
        for thread in threads:
            thread.start()
        # Killed after it has sealed something of this round, with more on the way.
        wait_until(lambda before=before: sealed(gate) > before, 20, "a sealed batch")
        gate.kill()
        stop.set()
        for thread in threads:
            thread.join(20)
        folder = tmp_path / f"export-{round_number}"
        run("audit", "export", folder, *own(gate))
        whole = verdict(folder, *(["--seen", tmp_path / f"export-{round_number - 1}"] if round_number else []))
        assert whole["size"] == len(gate.audit()) == sealed(gate)
        gate.start()


def test_whoever_holds_the_database_cannot_rewrite_it_unseen(local_gate, tmp_path):
    gate = local_gate().start()
    agent = gate.client("agent")
    for _ in range(5):
        agent.asked("auto.approve", {"to": new_id()})
    run("audit", "export", tmp_path / "before", *own(gate))
    gate.stop()
    database = sqlite3.connect(gate.data / "gate.db")
    database.execute("DROP TRIGGER audit_is_never_updated")
    database.execute("UPDATE audit SET entry = replace(entry, '\"agent\"', '\"other\"') WHERE position = 3")
    database.commit()
    database.close()
    # The tiles still hold the hash of what was there.
    run("audit", "export", tmp_path / "after", *own(gate))
    found = verdict(tmp_path / "after", code=1)
    assert (found["problem"], found["index"]) == ("changed", 2)
    # And an entry that was changed before it was sealed breaks its own hash.
    assert verdict(tmp_path / "before")["valid"] is True


def test_retention_takes_entries_and_leaves_every_proof(local_gate, tmp_path):
    gate = local_gate().start()
    agent = gate.client("agent")
    kept = agent.asked("auto.approve", {"to": new_id()})
    receipt = tmp_path / "receipt.json"
    receipt.write_text(run("audit", "receipt", kept["request_id"], *own(gate)))
    for _ in range(200):
        agent.asked("auto.approve", {"to": new_id()})
    run("audit", "export", tmp_path / "before", *own(gate))
    pruned = json.loads(run("audit", "prune", "--older-than", "0s", "--json", *own(gate)))
    assert pruned["removed"] > 100 and pruned["min_index"] % 256 == 0 and pruned["min_index"] > 0
    run("audit", "export", tmp_path / "after", *own(gate))
    whole = verdict(tmp_path / "after", "--seen", tmp_path / "before")
    assert whole["first"] == pruned["min_index"]
    assert verdict(receipt, "--seen", tmp_path / "before")["valid"] is True
    assert verdict(tmp_path / "before")["valid"] is True
    # It goes on, and nothing that is young goes.
    agent.asked("auto.approve", {"to": new_id()})
    assert json.loads(run("audit", "prune", "--older-than", "1d", "--json", *own(gate)))["removed"] == 0
