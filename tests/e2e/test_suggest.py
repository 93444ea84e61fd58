"""`placet policy suggest`: a patch that passes what people have always approved, never what they rejected; it applies nothing."""

import json
import random
import shutil
import sqlite3
import subprocess
import time

import pytest
from stored_requests import replace
from test_replay import BASE
from test_report import ulid

RULES = """
[[rules]]
name = "two"
when = 'action == "two.people"'
approvals = 2
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "owned"
when = 'action == "owner.asked"'
stages = [{ ask = ["finance"], within = "5m" }, { ask = ["owners"], within = "5m" }]

# What is small is still asked.
[[rules]]
name = "payments"
when = 'action.startsWith("payment.")'
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "rest"
stages = [{ ask = ["finance"], within = "10m" }]
"""


def case(number, now, action, amount, then, flag=False, currency="EUR", client="agent"):
    asked = now - number * 60_000 - 60_000
    decided = None if then == "pending" else asked + 30_000
    return {
        "number": number, "id": ulid(asked, number), "asked": asked, "action": action, "client": client, "then": then,
        "payload": {"amount": amount, "currency": currency} if amount else {"commit": "f00"}, "gone": False,
        "votes": [(asked + 1000, decided)] if then.startswith("people") else [], "decided": decided,
        "flag": asked + 50_000 if flag else None, "redeemed": None,
    }  # fmt: skip


def filled(gate, drawn):
    """The gate's database with those requests, each as (action, amount, what became of it, and more)."""
    gate.client("agent").asked("payment.send", payload={"amount": 1, "currency": "EUR"})
    assert gate.stop() == 0
    now = int(time.time() * 1000)
    connection = sqlite3.connect(gate.data / "gate.db")
    with connection:
        cases = [case(number, now, *fields, **more) for number, (fields, more) in enumerate(drawn)]
        replace(connection, cases, now)
    connection.close()


def suggested(gate):
    ran = gate.cli("policy", "suggest", "--json")
    assert ran.returncode == 0, ran
    return json.loads(ran.stdout)


def approved(action, count, top=100, **more):
    return [((action, 1 + number * (top - 1) / (count - 1), "people_approved"), more) for number in range(count)]


def test_a_hundred_of_a_hundred_below_an_amount_make_a_patch_that_applies_and_passes_nothing_rejected(local_gate):
    gate = local_gate(BASE % "" + RULES).start()
    drawn = approved("payment.send", 100) + approved("two.people", 50) + approved("owner.asked", 50)
    drawn += approved("payment.refund", 29)
    drawn += [
        (("payment.send", 150, "people_rejected"), {}), (("payment.send", 120, "people_approved"), {"flag": True}),
        (("payment.send", 130, "people_approved"), {}), (("payment.send", 3, "people_rejected"), {"currency": "USD"}),
        (("payment.send", 3, "people_rejected"), {"client": "other"}),
    ]  # fmt: skip
    drawn += [(("deploy.run", None, "people_approved"), {})] * 40
    random.Random(1).shuffle(drawn)
    filled(gate, drawn)
    before = gate.dump()
    found = suggested(gate)
    (only,) = found["suggestions"]
    assert (only["before"], only["client"], only["action"], only["currency"]) == (
        "payments",
        "agent",
        "payment.send",
        "EUR",
    )
    assert (only["up_to"], only["doubt_from"], only["approved"], only["of"]) == (100, 120, 100, 100)
    # Wilson's upper end of 0 of 100: z² / (n + z²).
    assert only["wrong"]["high"] == pytest.approx(3.841458820694124 / 103.841458820694124)
    assert found["asks_saved"] == 100
    assert {one["rule"]: one["why"] for one in found["nothing"]} == {
        "two": "several_people", "owned": "owners", "rest": "no_amount",
    }  # fmt: skip
    assert gate.dump() == before

    # The patch applies, the patched policy is valid, only observes at first, and in force it saves what was said.
    words = gate.cli("policy", "suggest", gate.policy).stdout
    assert "people approved 100 of 100 up to 100" in words, words
    patched = gate.folder / "patched.toml"
    shutil.copy(gate.policy, patched)
    subprocess.run(["patch", str(patched)], input=words, text=True, check=True, capture_output=True)
    assert gate.cli("policy", "check", patched).returncode == 0
    replay = lambda: json.loads(gate.cli("policy", "replay", patched, "--json").stdout)  # noqa: E731
    assert replay()["asks"]["saved"] == 0
    patched.write_text(patched.read_text().replace('mode = "observe"\n', ""))
    after = replay()
    assert (after["asks"]["saved"], after["rejected_would_pass"]["count"], after["flagged_would_pass"]["count"]) == (
        100,
        0,
        0,
    )
    assert after["undecided_would_pass"]["count"] == 0
    # What lacks the field, or has it as text, is still asked about.
    for payload in ({}, {"amount": "5", "currency": "EUR"}, {"amount": 5}, {"amount": -5, "currency": "EUR"}):
        request = gate.folder / "request.json"
        request.write_text(json.dumps({"action": "payment.send", "client": "agent", "payload": payload}))
        explained = json.loads(gate.cli("policy", "explain", patched, request, "--json").stdout)
        assert explained["rule"] == "payments", (payload, explained)


def test_what_passes_by_the_present_policy_speaks_against_no_suggestion(local_gate):
    # People were asked about these before the rule that approves them: one of them was called a mistake.
    free = '\n[[rules]]\nname = "free"\nwhen = \'action == "free.thing"\'\ndecide = "approve"\n'
    gate = local_gate(BASE % "" + free + RULES).start()
    drawn = approved("payment.send", 40)
    drawn += [(("free.thing", 5, "people_approved"), {"flag": True}), (("free.thing", 6, "people_rejected"), {})]
    filled(gate, drawn)
    found = suggested(gate)
    assert [one["before"] for one in found["suggestions"]] == ["payments"]
    # What it saves is counted beside the policy as it is, which saves the other two already.
    assert found["asks_saved"] == 40


def test_a_rule_that_was_taken_over_is_not_suggested_again(local_gate):
    gate = local_gate(BASE % "" + RULES).start()
    filled(gate, approved("payment.send", 100))
    words = gate.cli("policy", "suggest", gate.policy).stdout
    subprocess.run(["patch", str(gate.policy)], input=words, text=True, check=True, capture_output=True)
    again = json.loads(gate.cli("policy", "suggest", gate.policy, "--json").stdout)
    assert (again["suggestions"], again["patch"]) == ([], None)
    assert {one["rule"]: one["why"] for one in again["nothing"]}["payments"] == "known"


@pytest.mark.parametrize(
    ("drawn", "why"),
    [
        ([], "never_decided"),
        (approved("payment.send", 29), "too_few"),
        ([*approved("payment.send", 40), (("payment.send", 0.5, "people_rejected"), {})], "rejected"),
        ([*approved("payment.send", 40), (("payment.send", 0.5, "people_approved"), {"flag": True})], "rejected"),
        ([*approved("payment.send", 40), (("payment.send", 0.5, "expired"), {})], "rejected"),
        ([(("payment.send", None, "people_approved"), {})] * 40, "no_amount"),
    ],
    ids=["nothing", "few", "rejected", "flagged", "expired", "no amount"],
)
def test_where_there_is_nothing_to_suggest_it_is_said_why(local_gate, drawn, why):
    gate = local_gate(BASE % "" + RULES).start()
    filled(gate, drawn)
    found = suggested(gate)
    assert found["suggestions"] == [] and found["patch"] is None
    assert {one["rule"]: one["why"] for one in found["nothing"]}["payments"] == why
    assert "# nothing to suggest" in gate.cli("policy", "suggest").stdout
