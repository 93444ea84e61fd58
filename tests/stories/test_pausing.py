"""A client that asks again and again is paused together with the rejection: what that refuses, and how it ends."""

import fcntl
import hashlib
import tempfile
from pathlib import Path

import pytest
from placet_client import check_problem, new_id, wait_until


def heard(client, payload):
    """A question that is taken: on AWS, another function keeps the pause of the test before for ten seconds."""
    answer = client.ask("inbox.pay", payload)
    return answer.json() if answer.status == 201 else None


@pytest.fixture
def alone(gate):
    """One story at a time: where processes share a gate, they share its client `often` as well."""
    name = hashlib.sha256(gate.url.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"placet-pausing-{name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def asks(gate, often, alone):
    """Five questions within ten minutes; afterwards nothing of it is left."""
    asked = [wait_until(lambda: heard(often, {"to": "ACME"}), 20, "the client to be heard") for _ in range(5)]
    yield asked
    for one in asked:
        assert often.cancel(one["request_id"]).status in (200, 409)
    for reviewer in ("ida", "ivo"):
        inbox = gate.inbox(reviewer)
        assert inbox.resume("text/html", nonce=inbox.nonce(), client="often").status == 200
    wait_until(lambda: often.ask("auto.reject").status == 201, 20, "the client to be heard again")


def refused(client):
    """Waits until what it asks anew is refused: on AWS, another function keeps the policy from before for ten seconds."""

    def answer():
        found = client.ask()
        return found if found.status == 403 else None

    return check_problem(wait_until(answer, 20, "the pause"), 403, "forbidden")


def pauses(gate):
    """All that were ever recorded: who asks hears of one only when the function that answers has read the policy anew."""
    return [entry for entry in gate.audit() if entry["event"] == "client.paused"]


def test_a_rejection_can_pause_the_client_and_its_inbox_lifts_that(gate, often, agent, asks):
    *others, last = asks
    link = gate.link(last, "ida")
    page = wait_until(lambda: (text := link.page().text) and "?pause" in text and text, 20, "the offer")
    assert "Reject, and pause" in page and "ask in 10 minutes" in page
    answer = link.post("reject", link.nonce(), query="?pause", accept="text/html")
    assert answer.status == 200 and "is paused" in answer.text and "?pause" not in answer.text, answer
    assert often.state(last["request_id"])["decided_by"] == ["ida"]

    problem = refused(often)
    assert problem["detail"].startswith("ida has paused this client") and problem["paused_until"] in problem["detail"]
    check_problem(often.ask("auto.approve"), 403, "forbidden")
    assert agent.ask("auto.reject").status == 201, "other clients are heard"
    # What it has asked is open, and answered.
    first = others[0]
    body = {"request_id": first["request_id"], "action": first["action"], "summary": "once more"}
    again = often.call("POST", "/v1/requests", {**body, "payload": {"to": "ACME"}})
    assert (again.status, again.json()["approval_id"]) == (200, first["approval_id"]), again
    check_problem(often.call("POST", "/v1/requests", {**body, "payload": {}}), 409, "request_id_conflict")
    assert gate.link(first, "ivo").approve()["status"] == "approved"

    page = wait_until(
        lambda: "is paused" in (text := gate.inbox("ida").page().text) and text, 20, "the inbox to say so"
    )
    assert "Lift the pause" in page
    assert "Lift the pause" not in gate.inbox("ivo").page().text
    inbox = gate.inbox("ida")
    lifted = inbox.resume("text/html", nonce=inbox.nonce(), client="often")
    assert lifted.status == 200 and "Lift the pause" not in lifted.text, lifted
    wait_until(lambda: often.ask("auto.reject").status == 201, 20, "the client to be heard again")
    entries = [entry for entry in gate.audit() if entry["subject"] == "policy"][-2:]
    assert [(entry["event"], entry["actor"], entry["channel"]) for entry in entries] == [
        ("client.paused", "ida", "page"),
        ("client.resumed", "ida", "inbox"),
    ]
    assert "often" in entries[0]["detail"] and "often" in entries[1]["detail"]


def test_rows_of_an_inbox_can_pause_their_client(gate, often, asks):
    inbox = gate.inbox("ida")
    row, _ = [inbox.row(gate.link(asked, "ida")) for asked in asks[-2:]]
    wait_until(lambda: "?pause" in inbox.page().text, 20, "the offer")
    answer = inbox.post("reject", [row], query="?pause", reason="too often")
    assert answer.status == 200 and answer.json()["rows"][0]["recorded"] is True, answer
    assert often.state(asks[-2]["request_id"])["reason"] == "too often"
    refused(often)
    assert often.state(asks[-1]["request_id"])["status"] == "pending"


def test_several_rows_are_asked_about_once_more_and_the_pause_goes_with_them(gate, often, asks):
    payload = {"run": new_id()}
    alike = [wait_until(lambda: heard(often, payload), 20, "the client to be heard") for _ in range(2)]
    inbox = gate.inbox("ida")
    rows = [inbox.row(gate.link(asked, "ida")) for asked in alike]
    before = pauses(gate)
    question = inbox.post("reject", rows, accept="text/html", confirmed=None, query="?pause")
    assert question.status == 200 and "is paused for an hour" in question.text and "?pause" in question.text, question
    assert pauses(gate) == before, "asked, and nothing recorded"
    assert inbox.post("reject", rows, query="?pause").status == 200
    assert {often.state(asked["request_id"])["status"] for asked in alike} == {"rejected"}
    refused(often)


def test_who_may_not_decide_pauses_nothing(gate, often, asks):
    link = gate.link(asks[-1], "ida")
    nonce, before = link.nonce(), pauses(gate)
    check_problem(link.post("reject", "1-00", query="?pause"), 422, "invalid_request")
    gate.link(asks[-1], "ivo").approve()
    check_problem(link.post("reject", nonce, query="?pause"), 409, "already_decided")
    assert pauses(gate) == before
