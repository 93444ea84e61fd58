"""What comes to a waiting run's URL: only what the gate signed, and only for what the run asked, moves it."""

import json
import sqlite3
import time
import uuid
from datetime import UTC, datetime

import pytest
from flaky import Flaky
from placet_client import at_once, new_id, wait_until
from receiver import free_port
from standardwebhooks.webhooks import Webhook
from story import Story

ITEM = {"to": "acme@example.com", "amount": 5000}


def resume_url(pair, story):
    """Where the gate was told to call back: only its own database knows."""
    for path in pair.gate.databases():
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            for statement in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall():
                table = statement[0].split("(")[0].split()[-1].strip('"')
                for row in connection.execute(f'SELECT * FROM "{table}"'):
                    for value in row:
                        text = value.decode("utf-8", "ignore") if isinstance(value, bytes) else str(value)
                        start = text.find(f"{pair.n8n.url}/webhook-waiting/{story.number}/")
                        if start >= 0:
                            return text[start:].split('"')[0]
        finally:
            connection.close()
    raise AssertionError("the gate holds no callback URL of this run")


def post(pair, url, body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return pair.n8n.send("POST", url.removeprefix(pair.n8n.url), raw, headers)


def signed(secret, body, message_id=None, at=None):
    """Headers as the gate's, by the Standard Webhooks library."""
    message_id, at = message_id or new_id("msg"), int(time.time()) if at is None else at
    moment = datetime.fromtimestamp(at, UTC)
    signature = Webhook(secret).sign(message_id, moment, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": signature}


def claimed(approval, **changes):
    """The body of a callback that says this approval was approved."""
    data = approval | {"status": "approved", "approved": True, "decided_by": ["bob"], "token": "e30.e30.e30"} | changes
    return json.dumps({"type": "approval.decided", "timestamp": "2026-01-01T00:00:00Z", "data": data}).encode()


def test_an_unsigned_or_wrongly_signed_callback_moves_nothing(pair):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    url, body = resume_url(pair, story), claimed(asked)
    other = "whsec_" + "ab" * 32
    late = int(time.time()) - 3600
    good = signed(pair.client.secret, body)
    for headers in (
        {},
        signed(other, body),
        signed(pair.client.secret, body, at=late),
        good | {"webhook-id": "another"},
        good | {"webhook-signature": "v1,"},
        good | {"webhook-signature": good["webhook-signature"].replace("v1,", "v2,")},
    ):
        status, _, text = post(pair, url, body, headers)
        assert status == 401 and json.loads(text)["resumed"] is False, (status, text)
    assert post(pair, url, body.replace(b"5000", b"1"), good)[0] in (200, 401)
    for broken in (b"", b"{", b"[]", b"null"):
        assert post(pair, url, broken, signed(pair.client.secret, broken))[0] >= 400, broken
    run = pair.n8n.execution(story.number)
    assert run.status == "waiting" and not run.ran("Pay")
    story.approve(asked)
    assert story.ended().status == "success"


def test_a_well_signed_lie_is_checked_with_the_gate(pair):
    """Whoever has the secret can sign a callback. The gate's own record is what counts."""
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    url, body = resume_url(pair, story), claimed(asked)
    status, _, text = post(pair, url, body, signed(pair.client.secret, body))
    assert status == 200 and json.loads(text)["resumed"] is False
    assert pair.n8n.execution(story.number).status == "waiting"
    story.reject(asked)
    assert story.ended().status == "error"


def test_a_well_signed_yes_with_another_requests_token_frees_nothing(pair):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    other = pair.client.asked("auto.yes", payload=ITEM)
    body = claimed(asked, token=other["token"])
    status, _, text = post(pair, resume_url(pair, story), body, signed(pair.client.secret, body))
    assert status == 200 and json.loads(text)["resumed"] is False, (status, text)
    assert pair.n8n.execution(story.number).status == "waiting"
    story.reject(asked)
    assert story.ended().status == "error"


def test_another_requests_approval_does_not_move_this_run(pair):
    story = Story.begin(pair, [ITEM])
    story.asked()
    story.waiting()
    other = pair.client.asked("auto.yes", payload=ITEM)
    body = json.dumps({"type": "approval.decided", "timestamp": other["decided_at"], "data": other}).encode()
    status, _, text = post(pair, resume_url(pair, story), body, signed(pair.client.secret, body))
    assert status == 200 and json.loads(text)["resumed"] is False
    assert pair.n8n.execution(story.number).status == "waiting"
    pair.client.cancel(story.asked()[0]["request_id"])
    story.ended()


def test_a_replayed_callback_does_not_run_the_step_twice(pair):
    story = Story.begin(pair, [{"n": 0}, {"n": 1}])
    first, second = story.asked(2)
    story.waiting()
    url = resume_url(pair, story)
    story.approve(first)
    decided = pair.client.state(first["request_id"])
    body = json.dumps({"type": "approval.decided", "timestamp": decided["decided_at"], "data": decided}).encode()
    headers = signed(pair.client.secret, body)
    for _ in range(3):
        status, _, text = post(pair, url, body, headers)
        assert status == 200 and json.loads(text)["resumed"] is False
    assert pair.n8n.execution(story.number).status == "waiting"
    story.approve(second)
    run = story.ended()
    assert run.status == "success" and len(run.runs["Pay"]) == 1
    assert "<html" in post(pair, url, body, headers)[2].lower() or post(pair, url, body, headers)[0] == 409
    again = pair.n8n.execution(story.number)
    assert again.stopped_at == run.stopped_at and len(again.runs["Pay"]) == 1


def test_many_callbacks_at_once_resume_the_run_once(pair):
    story = Story.begin(pair, [{"n": number} for number in range(6)])
    asked = story.asked(6)
    story.waiting()
    url = resume_url(pair, story)
    at_once([lambda one=one: story.approve(one) for one in asked])
    decided = [pair.client.state(one["request_id"]) for one in asked]
    bodies = [
        json.dumps({"type": "approval.decided", "timestamp": one["decided_at"], "data": one}).encode()
        for one in decided
    ]
    at_once([lambda body=body: post(pair, url, body, signed(pair.client.secret, body)) for body in bodies])
    run = story.ended()
    assert run.status == "success" and len(run.runs["Pay"]) == 1
    assert [item["n"] for item in run.items("Pay")] == list(range(6))
    assert all(item["approved"] for item in run.items("Pay"))


def test_a_resume_url_that_was_altered_is_refused_by_n8n(pair):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    url, body = resume_url(pair, story), claimed(asked)
    for altered in (url.split("?")[0], url[:-2] + "00"):
        assert post(pair, altered, body, signed(pair.client.secret, body))[0] == 401
    assert pair.n8n.send("GET", url.removeprefix(pair.n8n.url))[0] in (200, 404)
    assert pair.n8n.execution(story.number).status == "waiting"
    pair.client.cancel(asked["request_id"])
    story.ended()


def log_lines(pair, approval):
    """What the gate logged of an approval."""
    lines = [json.loads(line) for line in pair.gate.logs().splitlines() if approval["approval_id"] in line]
    return [line["message"] for line in lines]


@pytest.mark.parametrize("end", ["stopped", "deleted"])
def test_a_run_that_is_over_is_not_called_for_a_day_and_nobody_is_alerted(pair, end):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    pair.n8n.rest("POST", f"/executions/{story.number}/stop")
    story.ended()
    if end == "deleted":
        pair.n8n.rest("POST", "/executions/delete", {"ids": [story.number]})
    story.approve(asked)
    (said,) = wait_until(lambda: log_lines(pair, asked), 60, "the gate to have called")
    assert said == "a callback had nobody to wake"
    assert not [entry for entry in pair.gate.audit() if asked["approval_id"] in str(entry) and "given_up" in str(entry)]


@pytest.mark.parametrize("on_error", [None, "continueErrorOutput"])
def test_a_lost_credential_frees_no_waiting_run(pair, on_error):
    """n8n resumes a run with an empty item when a webhook throws; ours must not."""
    credential = pair.n8n.credential(pair.gate.url, "n8n", pair.client.secret, f"lost {uuid.uuid4().hex[:6]}")

    class Losing:
        n8n, gate, client = pair.n8n, pair.gate, pair.client

    Losing.credential = credential
    story = Story.begin(Losing, [ITEM], on_error=on_error)
    (asked,) = story.asked()
    story.waiting()
    url, body = resume_url(pair, story), claimed(asked)
    pair.n8n.rest("DELETE", f"/credentials/{credential['placetApi']['id']}")
    status, _, text = post(pair, url, body, signed(pair.client.secret, body))
    assert status == 503 and json.loads(text)["resumed"] is False, (status, text)
    run = pair.n8n.execution(story.number)
    assert run.status == "waiting" and not run.ran("Pay")
    pair.client.cancel(asked["request_id"])


def test_an_outage_of_the_gate_at_the_wrong_moment_only_delays(pair):
    """The callback comes through, but the gate does not answer the question that it raises: it comes again."""
    flaky = Flaky(pair.gate)
    try:
        credential = pair.n8n.credential(flaky.url, "n8n", pair.client.secret, f"wire {uuid.uuid4().hex[:6]}")

        class Through:
            n8n, gate, client = pair.n8n, pair.gate, pair.client

        Through.credential = credential
        story = Story.begin(Through, [ITEM])
        (asked,) = story.asked()
        story.waiting()
        flaky.swallow("POST", "/v1/tokens/redeem", 2)
        story.approve(asked)
        run = story.ended()
        assert run.status == "success" and run.item("Pay")["approved"] is True
        assert flaky.seen("POST", "/v1/tokens/redeem") >= 3
    finally:
        flaky.close()


@pytest.mark.parametrize("on_error", [None, "continueErrorOutput", "continueRegularOutput"])
def test_a_gate_that_cannot_be_reached_lets_nothing_pass(pair, on_error):
    """n8n passes the input of a step that throws on, when "On Error" says to continue."""
    credential = pair.n8n.credential(
        f"http://127.0.0.1:{free_port()}", "n8n", pair.client.secret, f"dead {uuid.uuid4().hex[:6]}"
    )

    class Dead:
        n8n, gate, client = pair.n8n, pair.gate, pair.client

    Dead.credential = credential
    run = Story.begin(Dead, [ITEM | {"approved": True}], on_error=on_error).ended()
    if on_error is None:
        assert run.status == "error" and "could not be reached" in run.error and not run.ran("Pay")
        return
    item = run.item("Refused" if on_error == "continueErrorOutput" else "Pay")
    assert "could not be reached" in item["error"] and item["details"] == {
        "approved": False,
        "explanation": item["error"],
    }
    assert run.ran("Pay") is (on_error == "continueRegularOutput")


def test_a_gate_that_may_not_call_this_n8n_says_what_to_do(pair):
    far = pair.gate.client("far")

    class Far:
        n8n, gate, client = pair.n8n, pair.gate, far

    Far.credential = pair.n8n.credential(pair.gate.url, "far", far.secret, "Far")
    run = Story.begin(Far, [ITEM]).ended()
    assert run.status == "error" and run.error == "The gate cannot take this request"
    assert "callback_hosts" in run.data["resultData"]["error"]["description"]
