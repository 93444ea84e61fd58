"""A reviewer's inbox: what waits, decided in its rows, and what was decided lately."""

import re
import threading

from placet_client import check_problem, new_id


def asks_alike(agent, count, action="inbox.pay"):
    payload = {"to": "ACME", "amount": 12.5, "run": new_id()}
    return [agent.asked(action, payload=payload) for _ in range(count)]


def rows_of(gate, inbox, requests, reviewer="ida"):
    return [inbox.row(gate.link(asked, reviewer)) for asked in requests]


def test_a_row_decides_its_request_and_what_was_decided_is_listed(gate, agent):
    asked = agent.asked("inbox.pay", payload={"to": "ACME", "run": new_id()})
    inbox = gate.inbox("ida")
    row = inbox.row(gate.link(asked, "ida"))
    answer = inbox.post("reject", [row], reason="wrong amount")
    assert answer.status == 200, answer
    (decided,) = answer.json()["rows"]
    assert decided["recorded"] is True and decided["approval"]["token"] is None, decided
    state = agent.state(asked["request_id"])
    assert (state["status"], state["decided_by"], state["reason"]) == ("rejected", ["ida"], "wrong amount")
    assert row not in inbox.rows()
    page = inbox.page().text
    lately = page[page.index("Decided lately") :]
    assert f"/r/{row.split('~')[0]}" in lately and "You rejected" in lately
    cast = [entry for entry in gate.audit_of(asked) if entry["event"] == "vote.cast"]
    assert [(entry["actor"], entry["channel"]) for entry in cast] == [("ida", "inbox")]


def test_identical_requests_are_one_row_and_each_ends_on_its_own(gate, agent):
    first, second, third = requests = asks_alike(agent, 3)
    inbox = gate.inbox("ida")
    rows = rows_of(gate, inbox, requests)
    assert "3</b> times the same" in inbox.page().text or "3 times the same" in inbox.page().text
    question = inbox.post("approve", rows, accept="text/html", confirmed=None)
    assert question.status == 200 and "Approve 3 requests" in question.text, question
    assert all(agent.state(asked["request_id"])["votes"] == [] for asked in requests), "asked, and nothing recorded"

    agent.cancel(second["request_id"])
    answer = inbox.post("approve", rows)
    assert answer.status == 200, answer
    said = [(row["recorded"], row.get("code")) for row in answer.json()["rows"]]
    assert said == [(True, None), (False, "already_decided"), (True, None)]
    assert [agent.state(asked["request_id"])["status"] for asked in requests] == ["approved", "cancelled", "approved"]
    for asked in (first, third):
        assert [entry["actor"] for entry in gate.endings_of(asked)] == ["ida"]
    again = inbox.post("approve", rows)
    assert again.status == 409 and all(row["code"] == "already_decided" for row in again.json()["rows"]), again


def test_rows_that_differ_are_refused_together(gate, agent):
    one, other = asks_alike(agent, 1) + asks_alike(agent, 1)
    inbox = gate.inbox("ida")
    rows = rows_of(gate, inbox, [one, other])
    check_problem(inbox.post("approve", rows), 422, "invalid_request")
    assert all(agent.state(asked["request_id"])["votes"] == [] for asked in (one, other))


def test_an_inbox_that_has_not_changed_is_not_sent_again(gate, agent):
    inbox = gate.inbox("ida")
    asked = agent.asked("inbox.pay", payload={"run": new_id()})
    inbox.row(gate.link(asked, "ida"))
    for _ in range(5):  # A minute may end between the two.
        tag = inbox.page().headers["ETag"]
        again = inbox.page(**{"If-None-Match": tag})
        if again.status == 304:
            break
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    agent.cancel(asked["request_id"])
    fresh = inbox.page(**{"If-None-Match": tag})
    assert fresh.status == 200 and fresh.headers["ETag"] != tag


def test_batches_of_two_reviewers_race_and_each_request_ends_once(gate, agent):
    requests = asks_alike(agent, 4)
    inboxes = {who: gate.inbox(who) for who in ("ida", "ivo")}
    rows = {who: rows_of(gate, inboxes[who], requests, who) for who in inboxes}
    answers = {}

    def press(who, decision):
        answers[who] = inboxes[who].post(decision, rows[who])

    threads = [threading.Thread(target=press, args=pair) for pair in (("ida", "approve"), ("ivo", "reject"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorded = {who: [row["recorded"] for row in answer.json()["rows"]] for who, answer in answers.items()}
    for at, asked in enumerate(requests):
        state = agent.state(asked["request_id"])
        winner = {"approved": "ida", "rejected": "ivo"}[state["status"]]
        assert state["decided_by"] == [winner] and len(gate.endings_of(asked)) == 1
        assert {who: recorded[who][at] for who in recorded} == {who: who == winner for who in recorded}


def test_the_inbox_is_an_app_of_its_own(gate):
    inbox = gate.inbox("ida")
    manifest = gate.http.send("GET", f"{inbox.path}/app.webmanifest")
    assert (manifest.status, manifest.content_type) == (200, "application/manifest+json")
    described = manifest.json()
    assert described["start_url"].endswith(inbox.path) and inbox.path.startswith(described["scope"])
    for icon in described["icons"]:
        picture = gate.http.send("GET", icon["src"])
        assert picture.content_type == "image/png" and picture.body.startswith(b"\x89PNG"), icon
    worker = gate.http.send("GET", f"{described['scope']}sw.js")
    assert worker.status == 200 and worker.content_type == "text/javascript"
    assert worker.headers["Cache-Control"] == "no-cache"
    page = inbox.page()
    assert re.search(r'<link rel="manifest" href="[^"]+app\.webmanifest">', page.text)
