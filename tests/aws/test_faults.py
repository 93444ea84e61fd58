"""AWS fails in every way it can while the gate works: nothing accepted is lost, and nothing is counted twice."""

import hashlib
import json
import threading
import time

import pytest
from local_aws import REGION
from placet_client import check_approval, check_problem, moment, new_id, wait_until


@pytest.fixture
def gate(own_gate):
    """A stack behind a proxy of its own, warm: what the tests count and break is not a first call."""
    gate = own_gate()
    gate.agent = gate.client("agent")
    warm = gate.agent.asked()
    assert gate.link(warm, "bob").approve()["status"] == "approved"
    wait_until(gate.idle, 30, "the first messages to be out")
    yield gate
    gate.proxy.clear()
    assert "panicked" not in gate.logs()


def body(action="ask.pay", **fields):
    return {"request_id": new_id(), "summary": "s", "action": action, "payload": {"n": new_id()}, **fields}


def ask(gate, asked):
    return gate.agent.call("POST", "/v1/requests", asked, timeout=120, fresh=True)


def swept_until(gate, condition, what, seconds=30):
    """Runs the sweep, as the schedule does every minute, until it has repaired what a test broke."""

    def repaired():
        gate.sweep()
        return condition()

    return wait_until(repaired, seconds, what)


def reviewers_told(gate, approval):
    return {"bob", "carol"} <= gate.told(approval)


def assert_recorded_once(gate, approval):
    """No act of a request that ends in one vote leaves the same entry twice."""
    events = [entry["event"] for entry in gate.audit_of(approval)]
    assert events and len(events) == len(set(events)), events


# ---------------------------------------------------------------- DynamoDB


def test_a_throttled_write_is_tried_again(gate):
    rule = gate.proxy.throttle("TransactWriteItems", times=2)
    answer = ask(gate, asked := body())
    assert answer.status == 201 and len(rule.hit) == 2, answer
    wait_until(lambda: reviewers_told(gate, answer.json()), what="the reviewers to be told")
    assert ask(gate, asked).status == 200


def test_a_dynamodb_that_throttles_on_is_an_outage_and_no_approval(gate):
    asked = gate.agent.asked()
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    gate.proxy.throttle("dynamodb")
    for answer in (
        ask(gate, late := body("auto.approve")),
        link.post("approve", nonce, timeout=120),
        gate.agent.get(asked["request_id"]),
    ):
        check_problem(answer, 503, "unavailable")
    gate.proxy.clear()
    assert gate.agent.state(asked["request_id"])["status"] == "pending"
    assert ask(gate, late).json()["status"] == "approved"
    assert link.post("approve", nonce).status == 200


@pytest.mark.parametrize("fault", ["drop", "swallow", "fail"])
@pytest.mark.parametrize("act", ["ask", "decide", "cancel", "redeem"])
def test_one_call_that_goes_wrong_changes_neither_the_answer_nor_the_outcome(gate, fault, act):
    """Above all a write that succeeded though its answer was lost: trying it again must not read as a lost race."""
    asked = gate.agent.asked("auto.approve" if act == "redeem" else "ask.pay")
    link = act == "decide" and gate.link(asked, "bob")
    nonce = link and link.nonce()
    wait_until(gate.idle, 30, "the messages to be out")
    rule = getattr(gate.proxy, fault)("TransactWriteItems", "PutItem", "UpdateItem", times=1)
    if act == "ask":
        answer = ask(gate, body())
        assert answer.status == 201, answer
        asked = answer.json()
    elif act == "decide":
        answer = link.post("approve", nonce, timeout=120, fresh=True)
        assert answer.status == 200 and answer.json()["decided_by"] == ["bob"], answer
    elif act == "cancel":
        answer = gate.agent.cancel(asked["request_id"], timeout=120, fresh=True)
        assert answer.status == 200 and answer.json()["status"] == "cancelled", answer
    else:
        answer = gate.agent.redeem(asked["token"], "executor-1", sending={"timeout": 120, "fresh": True})
        assert answer.status == 200 and answer.json()["first"] is True, answer
    assert len(rule.hit) == 1
    gate.proxy.clear()
    assert_recorded_once(gate, asked)
    assert len(gate.endings_of(asked)) == (0 if act == "ask" else 1)


def test_a_call_that_is_never_answered_ends_by_the_functions_own_time_limit(gate):
    gate.proxy.hang("TransactWriteItems", times=1)
    answer = ask(gate, asked := body())
    # Either a second try got through, or the caller is told so; both in less than the function's time limit.
    assert answer.status in (201, 503), answer
    gate.proxy.clear()
    again = ask(gate, asked)
    assert again.status in (200, 201) and again.json()["status"] == "pending", again
    wait_until(lambda: reviewers_told(gate, again.json()), what="the reviewers to be told")
    assert_recorded_once(gate, again.json())


def test_a_slow_dynamodb_is_only_slow(gate):
    gate.proxy.delay("dynamodb", seconds=0.5)
    asked = ask(gate, body())
    assert asked.status == 201, asked
    ended = gate.link(asked.json(), "bob", seconds=30).approve(timeout=120)
    assert ended["status"] == "approved"


# ---------------------------------------------------------------- SQS and SNS


def test_when_the_queue_takes_nothing_the_sweep_tells_the_reviewers(gate):
    rule = gate.proxy.fail("sqs")
    answer = ask(gate, body())
    assert answer.status == 201 and rule.hit, answer
    gate.proxy.clear()
    swept_until(gate, lambda: reviewers_told(gate, answer.json()), "the sweep to tell the reviewers")


def test_when_the_queue_takes_nothing_a_deadline_still_fires_and_calls_back(gate, receiver):
    gate.proxy.fail("sqs")
    answer = ask(gate, body("quick.pay", callback_url=(url := receiver.address())))
    assert answer.status == 201, answer
    swept_until(gate, lambda: receiver.received(url), "the sweep to settle the deadline")
    approval = check_approval(receiver.received(url)[0].approval)
    assert (approval["status"], approval["approved"]) == ("expired", False)
    assert moment(approval["decided_at"]) >= moment(answer.json()["deadline"])


@pytest.mark.parametrize("fault", ["fail", "throttle", "drop"])
def test_a_message_that_sns_refuses_is_sent_later(gate, fault):
    rule = getattr(gate.proxy, fault)("Publish")
    answer = ask(gate, body())
    assert answer.status == 201, answer
    wait_until(lambda: len(rule.hit) >= 2, what="a refused message")
    assert gate.told(answer.json()) == set()
    gate.proxy.clear()
    swept_until(gate, lambda: reviewers_told(gate, answer.json()), "the messages to be sent after all")
    assert gate.link(answer.json(), "bob").approve()["status"] == "approved"


def test_a_backup_queue_that_refuses_gets_its_message_later(gate):
    gate.proxy.fail("SendMessage")
    answer = ask(gate, body("queue.pay"))
    assert answer.status == 201, answer
    wait_until(lambda: gate.proxy.count()["sqs.SendMessage"] >= 1, what="a refused message")
    gate.proxy.clear()
    mine = lambda: [m for m in gate.queue_messages() if m["approval"]["approval_id"] == answer.json()["approval_id"]]  # noqa: E731
    swept_until(gate, mine, "the message in the queue")


# ---------------------------------------------------------------- Secrets Manager


def test_a_slow_secrets_manager_delays_the_first_call_and_refuses_none(own_gate):
    gate = own_gate()
    agent = gate.client("agent")
    gate.proxy.delay("GetSecretValue", seconds=2)
    asked = agent.ask(sending={"timeout": 120})
    assert asked.status == 201, asked
    started = time.monotonic()
    assert agent.list().status == 200
    assert gate.proxy.count(gate.session("request")["aws_access_key_id"])["secretsmanager.GetSecretValue"] == 1
    assert time.monotonic() - started < 60


def test_without_its_keys_the_gate_answers_unavailable_and_then_recovers(own_gate):
    gate = own_gate()
    agent = gate.client("agent")
    gate.proxy.fail("GetSecretValue")
    check_problem(agent.ask("auto.approve", sending={"timeout": 120}), 503, "unavailable")
    gate.proxy.clear()
    wait_until(lambda: agent.ask("auto.approve").status == 201, 15, "the gate to recover")


def test_a_receiver_that_hangs_holds_the_sweep_for_one_try(gate, receiver):
    """The next try goes through the queue, so that others' messages get their turn in between."""
    key, hold = gate.session("timeout-sweep")["aws_access_key_id"], threading.Event()
    before = gate.proxy.count(key)["sqs.SendMessageBatch"]
    try:
        url = receiver.address(hold=hold)
        gate.agent.asked("auto.approve", callback_url=url)
        receiver.wait(url, 2, 30)
        assert gate.proxy.count(key)["sqs.SendMessageBatch"] == before + 1
    finally:
        hold.set()


# ---------------------------------------------------------------- a function is killed


def test_an_ask_that_is_killed_after_its_commit_is_there_and_its_reviewers_are_told(gate):
    rule = gate.proxy.kill_after("TransactWriteItems", times=1)
    lost = ask(gate, asked := body())
    assert lost.status >= 500 and len(rule.hit) == 1, lost
    again = ask(gate, asked)
    assert again.status == 200, "what was committed is found, not made again"
    swept_until(gate, lambda: reviewers_told(gate, again.json()), "the sweep to tell the reviewers")
    assert_recorded_once(gate, again.json())
    assert gate.link(again.json(), "bob").approve()["status"] == "approved"


def test_a_decision_that_is_killed_after_its_commit_stands_and_calls_back(gate, receiver):
    url = receiver.address()
    asked = gate.agent.asked(callback_url=url)
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    wait_until(gate.idle, 30, "the messages to be out")
    rule = gate.proxy.kill_after("TransactWriteItems", times=1)
    lost = link.post("approve", nonce, timeout=120, fresh=True)
    assert lost.status >= 500 and len(rule.hit) == 1, lost
    ended = gate.agent.state(asked["request_id"])
    assert (ended["status"], ended["decided_by"]) == ("approved", ["bob"])
    swept_until(gate, lambda: receiver.received(url), "the sweep to call back")
    assert receiver.received(url)[0].approval == ended
    assert len(gate.endings_of(asked)) == 1


def test_a_sweep_that_is_killed_after_it_claimed_a_message_sends_it_later(gate):
    """The claim is a lease: when it runs out, the next sweep sends what the dead one had taken."""
    rule = gate.proxy.kill_after("UpdateItem", times=1)
    answer = ask(gate, body())
    assert answer.status == 201, answer
    wait_until(lambda: rule.hit, what="the kill")
    swept_until(gate, lambda: reviewers_told(gate, answer.json()), "the reviewers to be told")


def test_an_expiry_that_is_killed_after_its_commit_calls_back(gate, receiver):
    answer = ask(gate, body("quick.pay", callback_url=(url := receiver.address())))
    wait_until(gate.idle, 30, "the reviewers' messages to be out")
    rule = gate.proxy.kill_after("TransactWriteItems", times=1)
    wait_until(lambda: rule.hit, what="the expiry to be killed")
    swept_until(gate, lambda: receiver.received(url), "the callback")
    assert receiver.received(url)[0].approval["status"] == "expired"
    assert len(gate.endings_of(answer.json())) == 1


# ---------------------------------------------------------------- at least once


def test_a_job_that_comes_twice_is_done_once(gate, receiver):
    """SQS may deliver a message again: what it asks for is done already."""
    url = receiver.address()
    asked = gate.agent.asked("quick.pay", callback_url=url)
    receiver.wait(url)
    jobs = [
        entry["MessageBody"]
        for call in gate.proxy.calls
        if call.operation == "SendMessageBatch"
        for entry in json.loads(call.body)["Entries"]
    ]
    mine = [job for job in jobs if asked["approval_id"] in job or key_in_jobs(asked) in job]
    assert len(mine) >= 2, "messages, and a look at the deadline"
    records = [
        {
            "messageId": f"again-{number}", "receiptHandle": "x", "body": job, "attributes": {"ApproximateReceiveCount": "2"},
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": REGION, "eventSourceARN": "arn:aws:sqs:x:1:deadlines",
        }
        for number, job in enumerate(mine)
    ]  # fmt: skip
    payload, error = gate.invoke("timeout-sweep", {"Records": records})
    assert error is None and payload == {"batchItemFailures": []}, payload
    assert len(receiver.received(url)) == 1
    assert len(gate.messages(asked, "carol")) == 1
    assert len(gate.endings_of(asked)) == 1


def key_in_jobs(asked):
    """A look at a deadline names its request by the key under which it lies in the table."""
    digest = hashlib.sha256(f"placet-request-v1\n{asked['client']}\n{asked['request_id']}".encode()).digest()
    return json.dumps(list(digest[:16]), separators=(",", ":"))
