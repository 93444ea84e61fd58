"""What auditors count: the report, and the word that an approval was a mistake."""

import re

from placet_client import Form, check_approval, check_problem, new_id, wait_until

REPORT = "/v1/report"


def report(auditor, days=7):
    answer = auditor.call("GET", f"{REPORT}?days={days}")
    assert answer.status == 200, answer
    return answer.json()


def of_client(numbers, client):
    found = [group for group in numbers["clients"] if group["name"] == client]
    return found[0] if found else {"asked": 0, "approved": 0, "rejected": 0, "by_people": 0, "by_policy": 0}


def flag(auditor, asked, **fields):
    return auditor.call("POST", f"/v1/requests/{asked['request_id']}/flag", fields)


def flags_of(gate, asked):
    entries = [entry for entry in gate.audit() if entry["subject"] == asked["approval_id"]]
    return [entry for entry in entries if entry["event"] == "request.flagged"]


def test_what_was_asked_and_decided_is_in_the_report(gate, closed, auditor):
    before = of_client(report(auditor), "closed")
    closed.asked("auto.reject"), closed.asked("auto.approve")
    asked = closed.asked("ask.report")
    link = gate.link(asked, "bob")
    link.approve()
    closed.asked("ask.report")
    numbers = report(auditor)
    after = of_client(numbers, "closed")
    gained = {name: after[name] - before[name] for name in ("asked", "approved", "rejected", "by_people", "by_policy")}
    assert gained == {"asked": 4, "approved": 2, "rejected": 1, "by_people": 1, "by_policy": 2}
    assert after["pending"] >= 1
    for name in ("notify", "open", "decide"):
        times = numbers["times"][name]
        assert times["count"] >= 1 and 0 <= times["p50_seconds"] <= times["p95_seconds"] <= times["p99_seconds"], times
    assert any(one["reviewer"] == "bob" and one["asks"] >= 1 for one in numbers["load"]["reviewers"])
    assert numbers["days"] == 7 and len(numbers["load"]["by_hour_utc"]) == 24
    # Sums agree: each request is of one client, one rule, one day and one status.
    for groups in (numbers["clients"], numbers["rules"], numbers["by_day"]):
        assert sum(group["asked"] for group in groups) == numbers["totals"]["asked"]
    statuses = ("approved", "rejected", "expired", "cancelled", "pending")
    assert sum(numbers["totals"][status] for status in statuses) == numbers["totals"]["asked"]


def test_an_auditor_flags_an_approval_once_and_nothing_else_changes(gate, agent, auditor):
    asked = agent.asked()
    gate.link(asked, "bob").approve()
    ended = agent.ended(asked["request_id"])
    assert flag(auditor, asked, reason="the wrong account").status == 200
    assert flag(auditor, asked, reason="another word").status == 200
    (entry,) = flags_of(gate, asked)
    assert (entry["actor"], entry["detail"], entry["approved"]) == ("client:auditor", "the wrong account", False)
    assert agent.state(asked["request_id"]) == ended
    redeemed = agent.redeem(ended["token"])
    assert redeemed.status == 200 and redeemed.json()["first"], redeemed
    # The auditor sees the approval, and no token.
    seen = flag(auditor, asked).json()
    check_approval(seen, of_asker=False)
    doubtful = {one["request_id"]: one["why"] for one in report(auditor)["doubtful"]}
    assert "flagged" in doubtful[asked["request_id"]], doubtful


def test_two_clients_of_one_name_are_told_apart(agent, other, auditor):
    name = new_id()
    for client in (agent, other):
        client.asked("auto.approve", request_id=name)
    problem = check_problem(auditor.call("POST", f"/v1/requests/{name}/flag", {}), 422, "invalid_request")
    assert [error["field"] for error in problem["errors"]] == ["client"]
    assert auditor.call("POST", f"/v1/requests/{name}/flag?client=other", {}).json()["client"] == "other"
    assert auditor.call("POST", f"/v1/requests/{name}/flag", {"client": "agent"}).json()["client"] == "agent"


def test_the_end_page_takes_a_flag_with_one_press_and_only_of_an_approval(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    open_page = link.page().text
    assert 'name="flag"' not in open_page
    nonce = link.nonce()
    # While it waits there is nothing to flag.
    check_problem(link.post_fields({"flag": "mistake", "nonce": nonce}), 409, "not_approved")
    assert agent.state(asked["request_id"])["status"] == "pending"
    link.approve()
    page = link.page().text
    form = Form(page)
    assert form.method == "post" and form.buttons == [("flag", "mistake")]
    check_problem(link.post_fields({"flag": "mistake", "nonce": "1-00"}), 422, "invalid_request")
    assert flags_of(gate, asked) == []
    said = link.post_fields({"flag": "mistake", "nonce": form.hidden["nonce"]}, accept="text/html")
    assert said.status == 200 and "marked this approval as a mistake" in said.text, said
    assert 'name="flag"' not in link.page().text
    (entry,) = flags_of(gate, asked)
    assert (entry["actor"], entry["channel"]) == ("bob", "page")
    assert agent.state(asked["request_id"])["status"] == "approved"


def test_a_rejection_has_no_flag(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    link.reject()
    assert "<form" not in link.page().text
    check_problem(link.post_fields({"flag": "mistake", "nonce": nonce}), 409, "not_approved")


def test_when_the_page_was_opened_is_known_from_the_press_and_a_get_writes_nothing(gate, agent, auditor):
    before = report(auditor)["fast_decisions"]["count"]
    asked = agent.asked(payload={"words": "one two three four five six seven eight nine ten"})
    link = gate.link(asked, "bob")
    for _ in range(3):
        assert link.page().status == 200
    link.approve()
    wait_until(lambda: agent.state(asked["request_id"])["status"] == "approved")
    # Pressed at once: nobody reads that page in a moment.
    assert report(auditor)["fast_decisions"]["count"] > before


def test_a_report_names_no_payload_no_link_and_no_address(gate, agent, auditor):
    asked = agent.asked(payload={"iban": "DE02120300000000202051"})
    gate.link(asked, "bob").approve()
    text = auditor.call("GET", REPORT).text
    assert "DE02120300000000202051" not in text and "example.com" not in text
    assert not re.search(r"/r/[0-9A-Za-z]{40}", text)
