"""The audit trail, its transparency log, and receipts: judged by the suite's own reckoning and by tlog-scales."""

import base64
import csv
import hashlib
import io
import json

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ed25519
from placet_client import check_problem, new_id, wait_until
from tlog_scales import signing, tlog
from tlog_scales.reader import TilesReader

FIRST = ["request_id", "timestamp", "approved_by", "approved", "token_hash"]


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_of(entry):
    """The leaf's hash, made from an entry as anybody could."""
    unsealed = {name: value for name, value in entry.items() if name != "hash"}
    leaf = rfc8785.dumps(unsealed)
    assert hashlib.sha256(leaf).hexdigest() == entry["hash"], entry
    return sha256(b"\0" + leaf)


def trail(asker, **query):
    """All pages of the trail, and how many there were."""
    entries, pages, cursor = [], 0, {}
    while True:
        text = "&".join(f"{name}={value}" for name, value in {**query, **cursor}.items())
        answer = asker.call("GET", f"/v1/audit?{text}" if text else "/v1/audit")
        assert answer.status == 200, answer
        assert answer.content_type.startswith("application/jsonl"), answer
        entries += [json.loads(line) for line in answer.body.decode().splitlines()]
        pages += 1
        following = answer.headers.get("x-placet-next-cursor")
        if following is None:
            return entries, pages
        assert f'cursor={following}>; rel="next"' in answer.headers["link"]
        cursor = {"cursor": following}


def of(entries, approval):
    return [entry for entry in entries if entry["subject"] == approval["approval_id"]]


def receipt(client, request_id, query=""):
    """The receipt, as soon as its entry is in the log: on AWS that takes a minute."""

    def look():
        answer = client.call("GET", f"/v1/requests/{request_id}/receipt{query}")
        if answer.status == 503:
            check_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
            return None
        assert answer.status == 200, answer
        return answer.json()

    return wait_until(look, 100, "a receipt")


def proof_of(text):
    """A `tlog-proof`, read by its specification."""
    head, _, checkpoint = text.partition("\n\n")
    first, index, *path = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    return int(index.removeprefix("index ")), [base64.b64decode(line) for line in path], checkpoint


def vkey_of(text):
    name, key_id, key = text.split("+", 2)
    raw = base64.b64decode(key)
    vkey = signing.Vkey(name, int(key_id, 16), raw[0], raw[1:])
    assert vkey.key_id == signing.Vkey(name, None, raw[0], raw[1:]).key_id
    return vkey


def check_receipt(found):
    """Everything that a receipt claims, with nobody's help but tlog-scales'."""
    leaves = [leaf_of(entry) for entry in found["entries"]]
    before = "0" * 64
    for number, entry in enumerate(found["entries"], 1):
        assert (entry["prev_hash"], entry["seq"]) == (before, number)
        before = entry["hash"]
    index, path, checkpoint = proof_of(found["proof"])
    head = tlog.Checkpoint.from_text(checkpoint)
    head.verify(vkey_of(found["log_key"]))
    tlog.InclusionProof(index, head.size, path).check(leaves[-1], head.root_hash)
    end = found["entries"][-1]
    if found["token"] is not None:
        assert end["token_hash"] == hashlib.sha256(found["token"].encode()).hexdigest()
    return end, head


def test_the_trail_tells_who_approved_what(gate, agent, auditor):
    asked = agent.asked("ask.pay", {"amount": 5, "to": new_id()})
    gate.link(asked, "bob").approve()
    ended = agent.state(asked["request_id"])
    agent.redeem(ended["token"], "worker 1")
    entries = of(trail(auditor)[0], asked)
    assert [entry["event"] for entry in entries] == [
        "request.asked", "stage.opened", "vote.cast", "request.approved", "token.redeemed",
    ]  # fmt: skip
    end = entries[3]
    assert list(end)[:5] == FIRST
    assert (end["request_id"], end["approved_by"], end["approved"]) == (asked["request_id"], "bob", True)
    assert end["token_hash"] == hashlib.sha256(ended["token"].encode()).hexdigest()
    assert ended["token"] not in json.dumps(entries)
    for entry in entries:
        leaf_of(entry)


def test_the_trail_comes_by_time_client_rule_reviewer_and_page(gate, agent, other, auditor):
    mine = [agent.asked("ask.pay", {"to": new_id()}) for _ in range(3)]
    theirs = other.asked("auto.approve", {"to": new_id()})
    gate.link(mine[0], "bob").approve()
    everything, pages = trail(auditor)
    assert pages == 1
    small, pages = trail(auditor, limit=3)
    assert pages > 3
    known = {entry["hash"] for entry in everything}
    assert [entry for entry in small if entry["hash"] in known] == everything
    assert of(trail(auditor, client="other")[0], theirs) and not of(trail(auditor, client="other")[0], mine[0])
    assert not of(trail(auditor, rule="people")[0], theirs) and of(trail(auditor, rule="people")[0], mine[0])
    assert [e["event"] for e in of(trail(auditor, reviewer="bob")[0], mine[0])] == ["vote.cast", "request.approved"]
    assert trail(auditor, reviewer="nobody")[0] == []
    at = of(everything, mine[1])[0]["timestamp"]
    assert of(trail(auditor, since=at)[0], mine[1]) and not of(trail(auditor, until=at)[0], mine[1])
    assert trail(auditor, since="2999-01-01")[0] == [] and trail(auditor, until="1999-01-01")[0] == []


def test_csv_opens_in_a_spreadsheet_and_runs_nothing(gate, agent, auditor):
    asked = agent.asked("ask.pay", {"to": new_id()})
    reason = '=HYPERLINK("https://evil.example","click"), +1\n@SUM(A1)'
    gate.link(asked, "bob").post("reject", gate.link(asked, "bob").nonce(), reason)
    answer = auditor.call("GET", "/v1/audit?format=csv&client=agent&limit=5000")
    assert answer.content_type.startswith("text/csv"), answer
    rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert list(rows[0])[:5] == FIRST
    mine = [row for row in rows if row["subject"] == asked["approval_id"]]
    assert [row["event"] for row in mine][-1] == "request.rejected"
    assert mine[-1]["detail"] == "'" + reason
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())


def test_a_receipt_proves_an_outcome_without_the_gate(gate, agent, auditor):
    asked = agent.asked("ask.pay", {"amount": 7, "to": new_id()})
    gate.link(asked, "bob").approve()
    token = agent.state(asked["request_id"])["token"]
    mine = receipt(agent, asked["request_id"])
    assert mine["token"] == token
    end, head = check_receipt(mine)
    assert (end["event"], end["approved_by"]) == ("request.approved", "bob")
    theirs = receipt(auditor, asked["request_id"])
    assert theirs["token"] is None, "a token goes to the client that asked, and to its executors"
    assert check_receipt(theirs)[0] == end
    assert receipt(auditor, asked["request_id"], "?client=agent")["entries"] == mine["entries"]
    assert len(json.dumps(mine)) < 8192
    # The head that it was made under is a head of the log that everybody sees.
    now = tlog.Checkpoint.from_text(gate.http.send("GET", "/v1/log/checkpoint").body.decode())
    assert now.origin == head.origin and now.size >= head.size


def test_every_kind_of_end_has_a_receipt(gate, agent):
    cancelled = agent.asked("ask.pay", {"to": new_id()})
    agent.cancel(cancelled["request_id"])
    alone = agent.asked("auto.reject", {"to": new_id()})
    for asked, event in ((cancelled, "request.cancelled"), (alone, "request.rejected")):
        end, _ = check_receipt(receipt(agent, asked["request_id"]))
        assert (end["event"], end["approved"]) == (event, False)


class OverHttp:
    """The tiles of a gate, as tlog-scales reads them."""

    def __init__(self, auditor):
        self.auditor = auditor

    def get(self, *path):
        answer = self.auditor.call("GET", "/v1/log/" + "/".join(path))
        return answer.body if answer.status == 200 else None


def test_an_independent_reader_follows_the_log(gate, agent, auditor):
    for _ in range(3):
        agent.asked("auto.approve", {"to": new_id()})
    mine = agent.asked("auto.approve", {"to": new_id()})
    found = receipt(agent, mine["request_id"])
    end, old = check_receipt(found)
    index, _, _ = proof_of(found["proof"])
    reader = TilesReader(OverHttp(auditor))
    head = reader.get_checkpoint()
    head.verify(vkey_of(found["log_key"]))
    assert reader.calculate_root_hash() == head.root_hash
    # The entry is in the bundle, the bundle is in the tiles, and today's log has grown from the receipt's.
    entry = reader.get_entry(index)
    assert sha256(b"\0" + entry) == leaf_of(end)
    reader.get_inclusion_proof(index, head.size).check(sha256(b"\0" + entry), head.root_hash)
    reader.get_consistency_proof(old.size, head.size).check(old.root_hash, head.root_hash)
    everything = trail(auditor)[0]
    assert leaf_of(everything[index]) == sha256(b"\0" + entry)


def test_the_logs_key_is_no_key_for_tokens(gate, agent):
    mine = agent.asked("auto.approve", {"to": new_id()})
    raw = base64.b64decode(receipt(agent, mine["request_id"])["log_key"].split("+", 2)[2])[1:]
    ed25519.Ed25519PublicKey.from_public_bytes(raw)
    keys = gate.http.send("GET", "/.well-known/jwks.json").json()["keys"]
    assert all(base64.urlsafe_b64decode(key["x"] + "=") != raw for key in keys)


def test_what_was_refused_is_in_the_trail_once(gate, agent):
    def refused(approval):
        entries = [entry for entry in gate.audit_of(approval) if entry["event"] == "vote.refused"]
        assert not any(entry["approved"] or "approved_by" in entry or "token_hash" in entry for entry in entries)
        return [(entry["actor"], entry["detail"].split(",")[0]) for entry in entries]

    asked = agent.asked("ask.pay")
    bob, carol = gate.link(asked, "bob"), gate.link(asked, "carol")
    late = carol.nonce()
    bob.approve()
    before = agent.state(asked["request_id"])
    for _ in range(2):
        check_problem(carol.post("reject", late), 409, "already_decided")
    assert refused(asked) == [("carol", "reject")]
    assert agent.state(asked["request_id"]) == before
    own = agent.asked("owned.pay")
    alice = gate.link(own, "alice")
    for _ in range(2):
        check_problem(alice.post("approve", alice.nonce()), 403, "forbidden")
    assert refused(own) == [("alice", "approve")]


def test_a_refused_use_of_a_token_is_in_the_trail_once(gate, agent, other):
    def refused(approval):
        entries = [entry for entry in gate.audit_of(approval) if entry["event"] == "token.refused"]
        assert not any(entry["approved"] or "approved_by" in entry or "token_hash" in entry for entry in entries)
        return [(entry["actor"], entry["detail"]) for entry in entries]

    asked = agent.asked("ask.pay")
    gate.link(asked, "bob").approve()
    ended = agent.ended(asked["request_id"])
    token = ended["token"]
    why = "refused: it is the token of another client, whose executor this one is not"
    for run in ("run-1", "run-2"):
        assert other.redeem(token, run).status == 422
    expected = [("client:other", f"run-1, {why}")]
    assert refused(asked) == expected
    assert agent.redeem(token, "run-1", payload={"another": "thing"}).code == "payload_mismatch"
    assert refused(asked)[1:] == [("client:agent", "run-1, refused: " + refused(asked)[1][1].split(": ")[1])]
    assert agent.redeem(token, "run-1").json()["first"]
    assert not agent.redeem(token, "run-1").json()["first"]
    for run in ("run-2", "run-3", "run-2"):
        check_problem(agent.redeem(token, run), 409, "already_redeemed")
    assert len(refused(asked)) == 3, refused(asked)
    assert refused(asked)[2] == ("client:agent", "run-2, refused: the token was already redeemed by `run-1`")
    # Nothing of the request has changed, and what is no token of the gate's is no entry.
    assert agent.state(asked["request_id"]) == ended
    head, claims, signature = token.split(".")
    for forged in (f"{head}.{claims}.{signature[::-1]}", "x", ""):
        for client in (agent, other):
            assert client.redeem(forged, "run-9").status == 422
    assert len(refused(asked)) == 3
