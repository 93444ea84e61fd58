"""The report over a hundred thousand generated requests, against a second reckoning written here in Python.

The truth is drawn first: who asked what, when it was told, opened, decided, called back, used and flagged. It is written
into the database in the stored form, and the command must count what the draw says.
"""

import json
import math
import os
import random
import sqlite3
import subprocess
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime

from local_gate import BINARY

COUNT = 100_000
DAY = 24 * 60 * 60 * 1000
ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CLIENTS = {"agent": 6, "other": 3, "zap": 1}
RULES = ["people", "quick", "ladder", None]
REVIEWERS = ["bob", "olga", "dave"]
WORDS = "pay the invoice of october for the hosting of our shop and say when it is done".split()


def ulid(millis, number):
    value = (millis << 80) | number
    return "".join(ULID[(value >> (5 * place)) & 31] for place in range(25, -1, -1))


def drawn(rng, number, now):
    """One request with everything that is to be known of it. Times keep away from the ends of the windows."""
    while True:
        asked = now - int(rng.random() ** 1.5 * 36 * DAY) - 600_000
        if all(abs(asked - (now - days * DAY)) > 600_000 for days in (7, 35)):
            break
    one = {
        "number": number, "id": ulid(asked, number), "client": rng.choices(list(CLIENTS), CLIENTS.values())[0],
        "rule": rng.choices(RULES, (5, 3, 2, 1))[0], "asked": asked,
        "words": rng.randrange(1, len(WORDS)), "told": [], "votes": [], "flag": None, "redeemed": None, "called": None,
        "given_up": 0, "reason": None, "decided": None,
    }  # fmt: skip
    kind = rng.choices(["people", "policy", "expired", "cancelled", "pending"], (60, 25, 8, 3, 4))[0]
    if one["rule"] is None:
        kind = "policy"
    if kind == "policy":
        one |= {"status": rng.choice(["approved", "rejected"]), "by": "policy", "decided": asked}
        if one["status"] == "rejected" and rng.random() < 0.1:
            one["reason"] = "the rule's condition could not be evaluated: no such field"
    else:
        people = rng.sample(REVIEWERS, rng.randrange(1, 3))
        if rng.random() < 0.97 or kind == "people":
            first = asked + rng.randrange(1, 20_000)
            for person in people:
                for channel in rng.choice((["email"], ["email", "sms"])):
                    one["told"].append((person, channel, first + rng.randrange(0, 5000)))
        if kind == "people":
            told = min(at for _, _, at in one["told"])
            opened = told + int(rng.expovariate(1 / 120_000))
            pressed = opened + int(rng.expovariate(1 / 6000))
            one |= {"status": rng.choices(["approved", "rejected"], (7, 1))[0], "by": "people", "decided": pressed}
            if rng.random() < 0.05 and one["status"] == "rejected":
                one["votes"].append((people[0], True, asked + 1, None))
            by_page = rng.random() < 0.9
            one["votes"].append((people[-1], one["status"] == "approved", pressed, opened if by_page else None))
        elif kind == "expired":
            one |= {"status": "expired", "by": "deadline", "decided": asked + 3_600_000}
        elif kind == "cancelled":
            one |= {"status": "cancelled", "by": "withdrawn", "decided": asked + rng.randrange(1000, 900_000)}
        else:
            one |= {"status": "pending", "by": None}
    if one["status"] == "approved":
        if rng.random() < 0.03:
            one["flag"] = one["decided"] + 100_000
        if rng.random() < 0.5:
            one["redeemed"] = one["decided"] + rng.randrange(1, 100_000)
    if one["decided"] and rng.random() < 0.4:
        one["called"] = one["decided"] + rng.randrange(0, 3000)
    elif one["decided"] and rng.random() < 0.02:
        one["given_up"] = 1
    return one


def decider(one):
    if one["by"] == "people":
        return {"reviewer": one["votes"][-1][0]}
    if one["by"] == "withdrawn":
        return {"client": one["client"]}
    return {"policy" if one["by"] == "policy" else "timeout": one["rule"]}


def stored(one, question, now):
    """The rows of one request: the question's and the state's JSON, and its messages that are over."""
    asked = dict(
        question, approval_id=one["id"], client=one["client"], request_id=f"gen-{one['number']}",
        summary=" ".join(WORDS[: one["words"]]), created_at=one["asked"], rule=one["rule"],
    )  # fmt: skip
    if one["rule"] is None or one["by"] == "policy":
        asked.pop("terms", None)
    if one["rule"] is None:
        asked.pop("rule")
    state = {
        "v": 1, "chain_seq": 1, "chain_hash": "0" * 64, "updated_at": one["decided"] or one["asked"],
        "votes": [
            {"reviewer": who, "approve": yes, "at": at, "stage": 0} | ({"opened_at": opened} if opened else {})
            for who, yes, at, opened in one["votes"]
        ],
    }  # fmt: skip
    closes = None
    if one["status"] == "pending":
        closes = now + 30 * DAY
        state["pending"] = {"stage": 0, "closes_at": closes, "asked": []}
    else:
        state["outcome"] = {"status": one["status"], "decided_at": one["decided"], "decided_by": [decider(one)]}
        if one["reason"]:
            state["outcome"]["reason"] = one["reason"]
    if one["flag"]:
        state["flag"] = {"by": "client:auditor", "at": one["flag"]}
    if one["redeemed"]:
        state["redemption"] = {"by": "x", "at": one["redeemed"]}
    past = [
        (f"notify_0_{channel}_{who}", {"notify": {"stage": 0, "reviewer": who, "channel": channel}}, 1, at)
        for who, channel, at in one["told"]
    ]
    if one["called"]:
        past.append(("callback_0", {"callback": {"number": 0}}, 1, one["called"]))
    if one["given_up"]:
        past.append(("callback_1", {"callback": {"number": 1}}, 0, one["decided"] + DAY))
    return asked, state, closes, past


def fill(database, truth, now):
    connection = sqlite3.connect(database)
    (text,) = connection.execute("SELECT question FROM questions ORDER BY id LIMIT 1").fetchone()
    question = json.loads(text)
    with connection:
        connection.execute("DELETE FROM questions")
        connection.execute("DELETE FROM requests")
        connection.execute("DELETE FROM past_messages")
        connection.execute("DELETE FROM outbox")
        for one in truth:
            asked, state, closes, past = stored(one, question, now)
            connection.execute(
                "INSERT INTO requests (id, key, version, client, approval_id, action, payload_sha256, status, closes_at, "
                "ended_at, state) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    one["number"] + 1, one["number"].to_bytes(16, "big"), one["client"], one["id"], asked["action"],
                    asked["payload_sha256"], one["status"], closes, one["decided"], json.dumps(state),
                ),
            )  # fmt: skip
            connection.execute("INSERT INTO questions VALUES (?, ?)", (one["number"] + 1, json.dumps(asked)))
            connection.executemany(
                "INSERT INTO past_messages VALUES (?, ?, 1, ?, ?, ?, ?)",
                [(one["id"], f"msg_{one['id']}_{name}", json.dumps(what), good, one["asked"], at) for name, what, good, at in past],
            )  # fmt: skip
    connection.close()
    return question


# ---------------------------------------------------------------- the second reckoning


def percentiles(times):
    times = sorted(times)
    if not times:
        return {"count": 0, "p50_seconds": None, "p95_seconds": None, "p99_seconds": None}
    rank = lambda share: times[math.ceil(len(times) * share / 100) - 1] / 1000  # noqa: E731
    return {"count": len(times), "p50_seconds": rank(50), "p95_seconds": rank(95), "p99_seconds": rank(99)}


def counted(requests):
    statuses, by = Counter(one["status"] for one in requests), Counter(one["by"] for one in requests)
    return {
        "asked": len(requests), **{name: statuses[name] for name in ("approved", "rejected", "expired", "cancelled", "pending")},
        "by_people": by["people"], "by_policy": by["policy"], "by_systems": 0,
    }  # fmt: skip


def wilson(wrong, of):
    if of < 30:
        return {"wrong": wrong, "of": of, "too_few": True, "rate": None, "low": None, "high": None}
    z, p = 1.959963984540054, wrong / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"wrong": wrong, "of": of, "too_few": False, "rate": p, "low": low, "high": high}


def fast(one, payload):
    pages = [pressed - opened for _, _, pressed, opened in one["votes"] if opened]
    if one["by"] != "people" or not pages:
        return None
    text = " ".join(WORDS[: one["words"]]) + " " + payload
    words = len("".join(letter if letter.isalnum() else " " for letter in text).split())
    return min(pages) < 1000 + 100 * words


def reckoned(requests, payload):
    told_at = {one["id"]: min((at for _, _, at in one["told"]), default=None) for one in requests}
    people = [one for one in requests if one["by"] == "people"]
    grouped = lambda key: [  # noqa: E731
        {"name": name, **counted(group), "decide": percentiles([one["decided"] - one["asked"] for one in group if one["by"] == "people"])}
        for name, group in sorted(by(requests, key).items())
    ]  # fmt: skip
    asks = defaultdict(Counter)
    for one in requests:
        for person in {who for who, _, _ in one["told"]}:
            first = min(at for who, _, at in one["told"] if who == person)
            asks[person][first // 3_600_000] += 1
    by_hour = [0] * 24
    for hours in asks.values():
        for hour, count in hours.items():
            by_hour[hour % 24] += count
    approved = [one for one in requests if one["status"] == "approved"]
    mistakes = lambda own: wilson(  # noqa: E731
        sum(bool(one["flag"]) for one in approved if (one["by"] == "policy") == own),
        sum((one["by"] == "policy") == own for one in approved),
    )
    pages = [fast(one, payload) for one in requests]
    return {
        "totals": counted(requests),
        "rules": grouped(lambda one: one["rule"] or "default"),
        "clients": grouped(lambda one: one["client"]),
        "times": {
            "notify": percentiles([told_at[one["id"]] - one["asked"] for one in requests if one["told"]]),
            "open": percentiles([one["votes"][-1][3] - told_at[one["id"]] for one in people if one["votes"][-1][3]]),
            "decide": percentiles([one["decided"] - one["asked"] for one in people]),
            "release": percentiles([
                min(at for at in (one["called"], one["redeemed"]) if at) - one["decided"]
                for one in requests if one["called"] or one["redeemed"]
            ]),
        },
        "errors": {
            "timeouts": sum(one["status"] == "expired" for one in requests),
            "unanswered": sum(one["status"] == "expired" and bool(one["told"]) for one in requests),
            "undelivered": sum(one["by"] in ("deadline", "withdrawn") and not one["told"] for one in requests),
            "callbacks_given_up": sum(one["given_up"] for one in requests),
            "conditions_failed": sum(bool(one["reason"]) for one in requests),
        },
        "load": {
            "by_hour_utc": by_hour,
            "reviewers": [
                {"reviewer": who, "asks": sum(hours.values()), "hours": len(hours), "busiest_hour": max(hours.values())}
                for who, hours in sorted(asks.items())
            ],
        },
        "fast_decisions": {"count": pages.count(True), "of": len(pages) - pages.count(None)},
        "false_approvals": {"flags": mistakes(False), "flags_by_policy": mistakes(True)},
    }  # fmt: skip


def by(requests, key):
    groups = defaultdict(list)
    for one in requests:
        groups[key(one)].append(one)
    return groups


def close(found, expected, where=""):
    """Equal, but that numbers with a point may differ in their last places."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), (where, found, expected)
        for name, value in expected.items():
            close(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), (where, found, expected)
        for index, value in enumerate(expected):
            close(found[index], value, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12), (where, found, expected)
    else:
        assert found == expected, (where, found, expected)


def test_the_report_of_a_hundred_thousand_requests_is_what_a_second_reckoning_says(local_gate):
    gate = local_gate().start()
    gate.client("agent").asked("ask.pay", payload={"amount": 12, "to": "ACME GmbH"})
    assert gate.stop() == 0
    now, rng = int(time.time() * 1000), random.Random(20261126)
    truth = [drawn(rng, number, now) for number in range(COUNT)]
    question = fill(gate.data / "gate.db", truth, now)
    ran = gate.cli("report", "--days", "7", "--json", seconds=300)
    assert ran.returncode == 0, ran.stderr
    numbers = json.loads(ran.stdout)
    end = datetime.fromisoformat(numbers["until"]).astimezone(UTC).timestamp() * 1000
    assert now - 1000 <= end <= now + 300_000
    week = [one for one in truth if one["asked"] >= end - 7 * DAY]
    before = [one for one in truth if end - 35 * DAY <= one["asked"] < end - 7 * DAY]
    assert len(week) > 10_000 and len(before) > 10_000
    expected = reckoned(week, question["payload"])
    close({name: numbers[name] for name in expected}, expected)
    earlier = reckoned(before, question["payload"])
    close(
        {name: numbers["before"][name] for name in (*earlier["totals"], "times")},
        earlier["totals"] | {"times": earlier["times"]},
    )
    days = Counter(one["asked"] // DAY for one in week)
    for day in numbers["by_day"]:
        start = datetime.fromisoformat(day["day"]).timestamp() * 1000
        assert day["asked"] == days[int(start // DAY)], day
    slow = sorted((one["decided"] - one["asked"], one["asked"]) for one in week if one["by"] == "people")[-10:][::-1]
    assert [one["decided_in_seconds"] for one in numbers["slowest"]] == [took / 1000 for took, _ in slow]


def test_the_report_is_said_in_words_and_written_as_a_page(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    agent.asked("auto.approve"), agent.asked("auto.reject"), agent.asked("ask.pay")
    words = gate.cli("report").stdout
    assert "3 asked: 1 approved, 1 rejected, 0 expired, 0 withdrawn, 1 open" in words, words
    page = gate.folder / "report.html"
    assert gate.cli("report", "--html", page).returncode == 0
    html = page.read_text()
    assert "<script" not in html and "<form" not in html and html.count("<svg") >= 3
    assert gate.cli("report", "--days", "61").returncode == 2


def test_the_report_at_an_address_is_for_an_auditor(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    agent.asked("auto.approve")
    secret = gate.secret("auditor")
    answer = placet_at(gate, secret, "auditor")
    assert answer.returncode == 0 and json.loads(answer.stdout)["totals"]["approved"] == 1, answer
    refused = placet_at(gate, gate.secret("agent"), "agent")
    assert refused.returncode == 1 and "auditor" in refused.stdout + refused.stderr, refused


def placet_at(gate, secret, client):
    environment = os.environ | {"PLACET_SECRET": secret}
    command = [BINARY, "report", "--json", "--url", gate.url, "--client", client, "--data", gate.folder / "none"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_report_s_link_opens_the_page_and_nothing_else(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    asked = agent.asked("auto.approve")
    link = gate.cli("report", "--link").stdout.strip()
    path = "/" + link.split("/", 3)[3]
    before = gate.query("SELECT count(*) FROM audit")
    for method in ("GET", "HEAD"):
        answer = gate.http.send(method, path)
        assert answer.status == 200 and "script-src 'none'" in answer.headers["content-security-policy"], answer
    assert gate.query("SELECT count(*) FROM audit") == before
    other = path[:-5] + ("A" if path[-5] != "A" else "B") + path[-4:]
    assert gate.http.send("GET", other).status == 404
    # The link is no key for anything else.
    assert gate.http.send("GET", path.replace("/report/", "/inbox/")).status in (404, 410)
    assert gate.http.send("GET", path.replace("/report/", "/r/")).status in (404, 410)
    body = f"flag={asked['request_id']}&client=agent&nonce=1-00".encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert gate.http.send("POST", path, form, body).status == 422
    assert not [entry for entry in gate.audit() if entry["event"] == "request.flagged"]
