"""A rule that only observes: in the trail, in the report, in `policy check`, `explain` and `replay`; it decides nothing."""

import json

RULES = """
issuer = "https://gate.example.test"

[[clients]]
id = "agent"
owner = "olga"
rate_per_minute = 60000

[[reviewers]]
id = "bob"
roles = ["finance"]
email = "bob@example.com"

[[reviewers]]
id = "olga"
roles = ["owners"]
email = "olga@example.com"

[[rules]]
name = "generous"
mode = "observe"
when = 'action == "pay.out" && payload.amount <= 1000'
decide = "approve"

[[rules]]
name = "careful"
mode = "observe"
when = 'payload.amount > 10'
stages = [{ ask = ["owners"], within = "10m" }]

[[rules]]
name = "little"
when = 'action == "pay.out" && payload.currency == "EUR" && payload.amount > 0 && payload.amount <= 20'
decide = "approve"

[[rules]]
name = "more"
when = 'action == "pay.out"'
stages = [{ ask = ["finance"], within = "10m" }]
"""


def test_what_only_observes_is_recorded_and_decides_nothing(local_gate):
    gate = local_gate(RULES).start()
    agent = gate.client("agent")
    pay = lambda amount: agent.asked("pay.out", payload={"amount": amount, "currency": "EUR"})  # noqa: E731
    little, some, more = pay(5), pay(15), pay(500)
    rejected = agent.asked("other.thing", payload={"none": 1})
    assert [one["status"] for one in (little, some, more, rejected)] == ["approved", "approved", "pending", "rejected"]
    assert [one["rule"] for one in (little, some, more, rejected)] == ["little", "little", "more", None]
    link = gate.link(more, "bob")
    assert not gate.messages(more, "olga")
    gate.kill()
    gate.start()
    link.reject()

    trail = [entry for entry in gate.audit() if entry["event"] == "rule.observed"]
    told = [(entry["subject"], entry["actor"], entry["detail"], entry["approved"], entry["channel"]) for entry in trail]
    unclear = "would have asked: its condition could not be evaluated"
    assert told == [
        (little["approval_id"], "policy:generous", "would have approved", False, "policy"),
        (some["approval_id"], "policy:generous", "would have approved", False, "policy"),
        (some["approval_id"], "policy:careful", "would have asked", False, "policy"),
        (more["approval_id"], "policy:generous", "would have approved", False, "policy"),
        (more["approval_id"], "policy:careful", "would have asked", False, "policy"),
        (rejected["approval_id"], "policy:careful", unclear, False, "policy"),
    ]
    assert all("approved_by" not in entry for entry in trail)
    folder = gate.folder / "export"
    assert gate.cli("audit", "export", folder).returncode == 0
    verified = gate.cli("audit", "verify", folder)
    assert verified.returncode == 0, verified

    numbers = json.loads(gate.cli("report", "--json").stdout)
    shown = [{name: rule[name] for name in ("name", "would_approve", "would_ask", "would_reject", "unclear", "asked",
              "approved", "rejected", "by_people", "by_policy")} for rule in numbers["observed"]]  # fmt: skip
    assert shown == [
        {"name": "careful", "would_approve": 0, "would_ask": 3, "would_reject": 0, "unclear": 1, "asked": 3, "approved": 1,
         "rejected": 2, "by_people": 1, "by_policy": 2},
        {"name": "generous", "would_approve": 3, "would_ask": 0, "would_reject": 0, "unclear": 0, "asked": 3, "approved": 2,
         "rejected": 1, "by_people": 1, "by_policy": 2},
    ]  # fmt: skip
    assert "ONLY OBSERVES" in gate.cli("report").stdout
    page = gate.folder / "report.html"
    assert gate.cli("report", "--html", page).returncode == 0
    assert "Rules that only observe" in page.read_text()

    checked = json.loads(gate.cli("policy", "check", "--json").stdout)
    observing = [warning["message"] for warning in checked["warnings"] if "only observes" in warning["message"]]
    assert observing == [
        f"rule `{name}` only observes: what it matches, the rules after it decide" for name in ("generous", "careful")
    ]
    question = gate.folder / "request.json"
    question.write_text(json.dumps({"action": "pay.out", "payload": {"amount": 500, "currency": "EUR"}}))
    explained = json.loads(gate.cli("policy", "explain", gate.policy, question, "--json").stdout)
    assert explained["rule"] == "more"
    assert explained["observed"] == [{"rule": "generous", "would": "approve"}, {"rule": "careful", "would": "ask"}]
    assert [step["result"] for step in explained["tested"]] == ["observes", "observes", "does not match", "matches"]
    words = gate.cli("policy", "explain", gate.policy, question).stdout
    assert "`generous` only observes: it would have approved" in words and "asks; one approval is enough" in words, (
        words
    )

    replayed = json.loads(gate.cli("policy", "replay", gate.policy, "--json").stdout)
    assert (replayed["replayed"], replayed["changed"]) == (4, 0)
    rules = {rule["name"]: (rule["observes"], rule["observed"], rule["hits"]) for rule in replayed["rules"]}
    assert rules == {
        "generous": (True, 3, 0), "careful": (True, 3, 0), "little": (False, 0, 2), "more": (False, 0, 1),
        "default": (False, 0, 1),
    }  # fmt: skip
