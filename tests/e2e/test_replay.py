"""`placet policy replay`: over a hundred thousand generated requests against a second reckoning written here in Python, and
over what a real gate was asked, killed in the middle.
"""

import json
import math
import os
import random
import sqlite3
import time
from collections import Counter, defaultdict, deque
from datetime import UTC, datetime

import pytest
from local_gate import BINARY, SHARED
from stored_requests import DAY, HOUR, replace, status
from test_report import close, ulid

COUNT = 100_000
DAYS = 90

BASE = """
issuer = "https://gate.example.test"

[[clients]]
id = "agent"
rate_per_minute = 60000

[[clients]]
id = "other"
rate_per_minute = 60000
%s
[[reviewers]]
id = "bob"
roles = ["finance", "owners"]

[[reviewers]]
id = "olga"
roles = ["finance", "owners"]
"""

LEFT = """
[[clients]]
id = "left"
rate_per_minute = 60000

[[clients]]
id = "first"
"""

ASKS_ALL = """
[[rules]]
name = "all"
stages = [{ ask = ["finance"], within = "10m" }]
"""

NEW = """
[[rules]]
name = "often"
when = 'action == "refund.create" && count("1h", "payload.to") > 3'
decide = "reject"

[[rules]]
name = "small"
when = 'action == "payment.send" && payload.currency == "EUR" && payload.amount > 0 && payload.amount <= 20'
decide = "approve"

[[rules]]
name = "night"
when = 'action == "deploy.run" && now.getHours() < 6'
decide = "reject"

[[rules]]
name = "split"
when = 'action == "payment.send" && total("payload.amount", "24h", "payload.to") > 1000'
approvals = 2
stages = [{ ask = ["owners"], within = "1h" }]

[[rules]]
name = "payments"
when = 'action == "payment.send"'
valid_for = "10m"
stages = [{ ask = ["finance"], within = "10m", hours = "07:00-20:00 UTC" }]

[[rules]]
name = "refunds"
when = 'action == "refund.create"'
decide = "approve"

[[rules]]
name = "strange"
when = 'action == "odd.thing" && payload.none > 3'
stages = [{ ask = ["finance"], within = "10m" }]
"""

ENDS = {
    "people_approved": 40, "people_rejected": 8, "expired": 5, "withdrawn": 2, "pending": 2,
    "policy_approved": 30, "policy_rejected": 13,
}  # fmt: skip


def drawn(rng, number, now):
    """One request, and what became of it. Times keep away from the ends of the window."""
    asked = now - int(rng.random() * (DAYS + 2) * DAY) - 600_000
    while abs(asked - (now - DAYS * DAY)) < 600_000:
        asked += 700_000
    action = rng.choices(["payment.send", "refund.create", "deploy.run", "odd.thing"], (6, 3, 1, 0.3))[0]
    payload = {"commit": f"{rng.randrange(1 << 32):08x}"}
    if action in ("payment.send", "refund.create"):
        payload = {
            "amount": rng.choice((rng.randrange(1, 4000), rng.randrange(1, 60_000))) / 100,
            "currency": rng.choice(("EUR", "EUR", "USD")), "to": f"to-{rng.randrange(400)}",
        }  # fmt: skip
    one = {
        "number": number, "id": ulid(asked, number), "asked": asked, "action": action, "payload": payload,
        "client": rng.choices(["agent", "other", "left"], (6, 3, 0.3))[0], "then": rng.choices(list(ENDS), ENDS.values())[0],
        "votes": [], "flag": None, "redeemed": None, "decided": None, "gone": False,
    }  # fmt: skip
    if one["then"].startswith("people"):
        opened = asked + int(rng.expovariate(1 / 120_000))
        one["decided"] = opened + 1 + int(rng.expovariate(1 / 200_000))
        one["votes"] = [(opened if rng.random() < 0.9 else None, one["decided"])]
    elif one["then"] == "expired":
        one["decided"] = asked + 600_000
    elif one["then"] == "withdrawn":
        one["decided"] = asked + rng.randrange(1000, 500_000)
    elif one["then"].startswith("policy"):
        one["decided"] = asked
    if one["then"].endswith("approved"):
        if rng.random() < 0.02:
            one["flag"] = one["decided"] + 100_000
        if rng.random() < 0.5:
            one["redeemed"] = one["decided"] + rng.randrange(1, 1_200_000)
    # What the second client asked in the first days is past its retention.
    one["gone"] = one["client"] == "other" and asked < now - (DAYS - 2) * DAY
    return one


def fill(database, truth, now):
    """What was asked, and an entry of the trail for each, also where a retention has removed the rest."""
    connection = sqlite3.connect(database)
    truth = sorted(truth, key=lambda one: one["asked"])
    with connection:
        (last,) = connection.execute("SELECT max(position) FROM audit").fetchone()
        replace(connection, [one for one in truth if not one["gone"]], now)
        for position, one in enumerate(truth, last + 1):
            at = (
                datetime.fromtimestamp(one["asked"] / 1000, UTC)
                .isoformat(timespec="milliseconds")
                .replace("+00:00", "Z")
            )
            entry = {"subject": one["id"], "seq": 1, "event": "request.asked", "client": one["client"], "timestamp": at}
            connection.execute(
                "INSERT INTO audit (position, subject, seq, recorded_at, entry) VALUES (?, ?, 1, ?, ?)",
                (position, one["id"], one["asked"], json.dumps(entry)),
            )
    connection.close()


# ---------------------------------------------------------------- the second reckoning


class Window:
    """What one client's requests with the same recipient add up to: of each, when, how much, until when, and if that is known."""

    def __init__(self):
        self.entries = deque()

    def before(self, at, reach):
        while self.entries and self.entries[0][0] <= at - DAY:
            self.entries.popleft()
        inside = [entry for entry in self.entries if entry[0] > at - reach and (entry[2] is None or entry[2] > at)]
        return inside, all(known for _, _, _, known in inside)


def reckoned(truth, start, end):
    """What the new policy does with each request that can be replayed, and why the others cannot."""
    done, left = [], Counter()
    gone = [one["asked"] for one in truth if one["gone"]]
    gone_until = {"other": (max(gone) // DAY + 1) * DAY}
    for client in ("agent", "other", "left"):
        windows = defaultdict(Window)
        of_client = sorted(
            (one for one in truth if one["client"] == client and one["asked"] < end), key=lambda one: one["id"]
        )
        for one in of_client:
            at, payload = one["asked"], one["payload"]
            meant = at >= start
            if one["gone"]:
                left["gone"] += meant
                continue
            if client == "left":
                left["client"] += meant
                continue
            window = windows[payload.get("to")]
            unapproved = None if status(one) in ("approved", "pending") else one["decided"]
            counts = None if one["then"] == "policy_rejected" else (unapproved, True)
            if meant:
                rule, now, why = judged(one, window, at, gone_until.get(client))
                if why:
                    left[why] += 1
                    counts = (None, False)
                else:
                    done.append((one, rule, now))
                    if now == "approves":
                        counts = (None, True)
                    elif now == "rejects":
                        counts = None
                    elif one["then"].startswith("policy"):
                        counts = (None, False)
            if counts:
                window.entries.append((at, payload.get("amount"), *counts))
    return done, left


def judged(one, window, at, gone_until):
    action, payload = one["action"], one["payload"]
    hour = at // HOUR % 24
    if action == "refund.create":
        if gone_until and at - HOUR < gone_until:
            return None, None, "total_gone"
        inside, known = window.before(at, HOUR)
        if not known:
            return None, None, "total"
        return ("often", "rejects", None) if len(inside) + 1 > 3 else ("refunds", "approves", None)
    if action == "payment.send":
        if payload["currency"] == "EUR" and payload["amount"] <= 20:
            return "small", "approves", None
        if gone_until and at - DAY < gone_until:
            return None, None, "total_gone"
        inside, known = window.before(at, DAY)
        if not known:
            return None, None, "total"
        if math.fsum(amount for _, amount, _, _ in inside) + payload["amount"] > 1000:
            return "split", "asks", None
        return "payments", "asks" if 7 <= hour < 20 else "rejects", None
    if action == "deploy.run":
        return ("night" if hour < 6 else None), "rejects", None
    return "strange", "asks", None


def was_asked(one):
    return not one["then"].startswith("policy")


def expected_of(truth, start, end):
    done, left = reckoned(truth, start, end)
    asked = [(one, rule, now) for one, rule, now in done if was_asked(one)]
    saved = [one for one, _, now in asked if now != "asks"]
    presses = [(opened, at) for one in saved for opened, at in one["votes"]]
    # What was asked had one stage of ten minutes for finance.
    otherwise = sum(now == "asks" and rule == "split" for _, rule, now in asked) + sum(
        now == "asks" and rule == "payments" for _, rule, now in asked
    )
    newly_asked = [one for one, _, now in done if now == "asks" and not was_asked(one)]
    passes = [one for one, _, now in done if now == "approves"]
    denied = [one for one, _, now in done if now == "rejects" and one["then"].endswith("approved")]
    same = lambda one, rule, now: (  # noqa: E731
        (now == "approves" and one["then"] == "policy_approved")
        or (now == "rejects" and one["then"] == "policy_rejected")
        or (now == "asks" and was_asked(one) and rule == "strange")
    )
    valid = {"payments": 600_000}
    rules = {name: [entry for entry in done if entry[1] == name] for name in
             ("often", "small", "night", "split", "payments", "refunds", "strange", None)}  # fmt: skip
    # What the gate itself was asked for its form is in the trail, and gone like the others.
    left["gone"] += 1
    return {
        "requests": 1 + sum(one["asked"] >= start for one in truth), "replayed": len(done),
        "changed": sum(not same(*entry) for entry in done), "other_rule": len(done),
        "asks": {
            "then": len(asked), "now": sum(now == "asks" for _, _, now in done), "saved": len(saved),
            "added": len(newly_asked), "otherwise": otherwise,
        },
        "saved": {
            "reviewer_minutes": pytest.approx(sum(min(at - opened, 600_000) for opened, at in presses if opened) / 60_000, abs=0.006),
            "presses": sum(bool(opened) for opened, _ in presses), "presses_unknown": sum(not opened for opened, _ in presses),
            "waiting_minutes": pytest.approx(
                sum(one["decided"] - one["asked"] for one in saved if one["then"].startswith("people")) / 60_000, abs=0.006
            ),
        },
        "pairs": {
            (then, now): count for (then, now), count in Counter((one["then"], now) for one, _, now in done).items()
        },
        "lists": {
            "rejected_would_pass": [one for one in passes if one["then"].endswith("rejected")],
            "flagged_would_pass": [one for one in passes if one["then"] == "people_approved" and one["flag"]],
            "undecided_would_pass": [one for one in passes if one["then"] in ("expired", "withdrawn", "pending")],
            "newly_asked": newly_asked, "newly_denied": denied,
        },
        "used_too_late": sum(
            now != "rejects" and one["then"].endswith("approved") and bool(one["redeemed"])
            and one["redeemed"] - one["decided"] > valid.get(rule, HOUR)
            for one, rule, now in done
        ),
        "conditions_failed": len(rules["strange"]),
        "rules": [
            {
                "name": name or "default", "observes": False, "observed": 0, "hits": len(hits),
                **{now: sum(entry[2] == now for entry in hits) for now in ("approves", "asks", "rejects")},
                "were_approved": sum(one["then"] == "people_approved" for one, _, _ in hits),
                "were_rejected": sum(one["then"] == "people_rejected" for one, _, _ in hits),
                "were_undecided": sum(one["then"] in ("expired", "withdrawn", "pending") for one, _, _ in hits),
                "were_decided_by_policy": sum(not was_asked(one) for one, _, _ in hits),
                "conditions_failed": len(hits) if name == "strange" else 0,
            }
            for name, hits in rules.items()
        ],
        "not_replayed": dict(+left),
    }  # fmt: skip


def peak_of(*command):
    """What a command prints, and the most memory that it held, in bytes."""
    read, write = os.pipe()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
    os.close(write)
    with open(read, "rb") as output:
        printed = output.read()
    _, ended, usage = os.wait4(process, 0)
    assert ended == 0, (ended, printed)
    return printed, usage.ru_maxrss * 1024


def filled(gate, count, now):
    gate.client("first").asked("payment.send", payload={"amount": 12, "to": "ACME GmbH"})
    assert gate.stop() == 0
    rng = random.Random(20261127)
    truth = [drawn(rng, number, now) for number in range(count)]
    fill(gate.data / "gate.db", truth, now)
    return truth


def test_the_replay_of_a_hundred_thousand_requests_is_what_a_second_reckoning_says(local_gate):
    now = int(time.time() * 1000)
    gate = local_gate(BASE % LEFT + ASKS_ALL).start()
    truth = filled(gate, COUNT, now)
    new = gate.folder / "new.toml"
    new.write_text(BASE % "" + NEW)
    command = [str(BINARY), "policy", "replay", str(new), "--json", "--data", str(gate.data)]
    printed, _ = peak_of(*command, "--list", "10000")
    found = json.loads(printed)
    start, end = (datetime.fromisoformat(found[name]).timestamp() * 1000 for name in ("from", "until"))
    expected = expected_of(truth, start, end)
    assert min(expected["not_replayed"].values()) > 100, expected["not_replayed"]
    assert len(expected["not_replayed"]) == 4 and expected["asks"]["saved"] > 1000 and expected["asks"]["added"] > 100
    lists = expected.pop("lists")
    pairs = expected.pop("pairs")
    left = expected.pop("not_replayed")
    saved = expected.pop("saved")
    close({name: found[name] for name in expected}, expected)
    assert found["saved"] == saved
    assert {(pair["then"], pair["now"]): pair["requests"] for pair in found["pairs"]} == pairs
    assert {one["why"]: one["requests"] for one in found["not_replayed"]} == left
    for name, ones in lists.items():
        newest = sorted(ones, key=lambda one: (one["asked"], one["id"]), reverse=True)[:10_000]
        assert found[name]["count"] == len(ones) > 0, name
        assert [case["approval_id"] for case in found[name]["requests"]] == [one["id"] for one in newest], name
    # What is held does not grow with what was asked: a fiftieth of it takes about as much.
    few_gate = local_gate(BASE % LEFT + ASKS_ALL).start()
    filled(few_gate, COUNT // 50, now)
    _, of_few = peak_of(*command[:-1], str(few_gate.data))
    _, of_many = peak_of(*command)
    assert of_many - of_few < 24 * 1024 * 1024, (of_few, of_many)


# ---------------------------------------------------------------- over a real gate


def shown(gate, path, *arguments):
    ran = gate.cli("policy", "replay", path, "--json", *arguments)
    assert ran.returncode == 0, ran
    return json.loads(ran.stdout)


def test_replaying_the_policy_in_force_changes_nothing_though_the_gate_was_killed(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    agent.asked("auto.approve"), agent.asked("auto.reject"), agent.asked("no.such.rule")
    approved, open_yet = agent.asked("ask.pay", payload={"amount": 5}), agent.asked("ask.pay", payload={"amount": 7})
    gate.link(approved, "bob").approve()
    gate.kill()
    gate.start()
    agent = gate.client("agent")
    rejected = agent.asked("ask.pay", payload={"amount": 9})
    gate.link(rejected, "bob").reject()
    agent.cancel(open_yet["request_id"])
    gate.kill()
    # Half of a history: the next process finds what was committed, and no more.
    before = gate.dump()
    found = shown(gate, gate.policy)
    assert (found["requests"], found["replayed"], found["changed"], found["other_rule"]) == (6, 6, 0, 0), found
    assert found["policy"]["in_force"] and not found["not_replayed"]
    assert gate.dump() == before
    # While it serves, too; and a policy that lets what was rejected pass says so by its name.
    gate.start()
    lax = gate.folder / "lax.toml"
    text = gate.policy.read_text()
    lax.write_text(
        text.replace(
            "[[rules]]", '[[rules]]\nname = "lax"\nwhen = \'action == "ask.pay"\'\ndecide = "approve"\n\n[[rules]]', 1
        )
    )
    found = shown(gate, lax)
    assert found["asks"]["saved"] == 3 and not found["policy"]["in_force"]
    assert [case["request_id"] for case in found["rejected_would_pass"]["requests"]] == [rejected["request_id"]]
    assert [case["request_id"] for case in found["undecided_would_pass"]["requests"]] == [open_yet["request_id"]]
    words = gate.cli("policy", "replay", lax).stdout
    assert "rejected, and would pass alone: 1" in words and rejected["request_id"] in words, words
    assert gate.cli("policy", "replay", lax, "--since", "0s").returncode == 2
    assert gate.cli("policy", "replay", lax, "--since", "soon").returncode == 2
    assert gate.cli("policy", "replay", gate.folder / "none.toml").returncode == 3


def test_what_is_gone_by_retention_is_counted_and_a_policy_with_faults_is_refused(local_gate):
    gate = local_gate(SHARED).start()
    agent = gate.client("agent")
    asked = [agent.asked("auto.approve") for _ in range(3)]
    gate.stop()
    connection = sqlite3.connect(gate.data / "gate.db")
    with connection:
        (number,) = connection.execute(
            "SELECT id FROM requests WHERE approval_id = ?", (asked[1]["approval_id"],)
        ).fetchone()
        connection.execute("DELETE FROM questions WHERE id = ?", (number,))
        connection.execute("DELETE FROM requests WHERE id = ?", (number,))
    connection.close()
    found = shown(gate, gate.policy)
    assert (found["requests"], found["replayed"], found["changed"]) == (3, 2, 0)
    assert [(left["why"], left["requests"]) for left in found["not_replayed"]] == [("gone", 1)]
    bad = gate.folder / "bad.toml"
    bad.write_text('[[rules]]\nname = "x"\n')
    ran = gate.cli("policy", "replay", bad)
    assert ran.returncode == 1 and "decide" in ran.stderr, ran
