"""Callbacks and hooks: signed so that anybody's library verifies them, tried until they arrive, kept away from where they must not go."""

import threading

import pytest
from placet_client import (
    Patience,
    bad_fields,
    check_approval,
    check_problem,
    moment,
    new_id,
    wait_until,
)
from receiver import free_port
from standardwebhooks.webhooks import WebhookVerificationError


def ids(deliveries):
    return {delivery.id for delivery in deliveries}


def test_a_callback_verifies_in_the_standard_webhooks_library(gate, agent, other, receiver):
    url = receiver.address()
    asked = agent.asked(callback_url=url, metadata={"run": "7"})
    gate.link(asked, "bob").approve()
    ended = agent.state(asked["request_id"])
    delivery = receiver.wait(url)[0]
    body = delivery.verified(agent.secret)
    assert body == {"type": "approval.decided", "timestamp": body["timestamp"], "data": ended}
    check_approval(body["data"])
    assert abs(moment(body["timestamp"]) - delivery.at) < 60
    assert delivery.headers["content-type"].startswith("application/json") and delivery.id
    with pytest.raises(WebhookVerificationError):
        delivery.verified(other.secret)
    delivery.body = delivery.body.replace(b'"approved"', b'"rejected"')
    with pytest.raises(WebhookVerificationError):
        delivery.verified(agent.secret)


def test_every_outcome_calls_back(gate, agent, receiver):
    for act, status in (
        (lambda asked: gate.link(asked, "bob").approve(), "approved"),
        (lambda asked: gate.link(asked, "bob").reject(reason="no"), "rejected"),
        (lambda asked: agent.cancel(asked["request_id"]), "cancelled"),
    ):
        url = receiver.address()
        asked = agent.asked(callback_url=url)
        act(asked)
        assert receiver.wait(url)[0].approval == agent.state(asked["request_id"])
        assert receiver.received(url)[0].approval["status"] == status


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(agent, receiver):
    url = receiver.address(500, 500, 200)
    agent.asked("auto.approve", callback_url=url)
    tries = receiver.wait(url, 3, 30)
    assert len(ids(tries)) == 1 and len({delivery.body for delivery in tries}) == 1
    for delivery in tries:
        delivery.verified(agent.secret)


def test_a_caller_that_is_not_yet_waiting_is_tried_again(agent, receiver):
    """n8n answers 409 while it still stores the run that is to be resumed."""
    url = receiver.address(409, 409, 200)
    agent.asked("auto.approve", callback_url=url)
    assert len(ids(receiver.wait(url, 3, 10))) == 1


def test_what_is_delivered_is_not_sent_again(agent, receiver):
    url, later = receiver.address(), receiver.address(500, 500, 500, 200)
    agent.asked("auto.approve", callback_url=url)
    agent.asked("auto.approve", callback_url=later)
    receiver.wait(later, 4, 30)  # by then a second try of the first would have come
    assert len(receiver.received(url)) == 1


def test_gone_stops_the_tries(agent, receiver):
    url, later = receiver.address(410), receiver.address(500, 500, 500, 200)
    agent.asked("auto.approve", callback_url=url)
    receiver.wait(url)
    agent.asked("auto.approve", callback_url=later)
    receiver.wait(later, 4, 30)
    assert len(receiver.received(url)) == 1


def test_a_redirect_is_not_followed(agent, receiver):
    elsewhere = receiver.address()
    for status in (301, 302, 303, 307, 308):
        url = receiver.address((status, {"Location": elsewhere}), (status, {"Location": elsewhere}), 200)
        agent.asked("auto.approve", callback_url=url)
        assert len(ids(receiver.wait(url, 3, 30))) == 1
    assert receiver.received(elsewhere) == []


def test_a_hanging_receiver_delays_neither_the_reviewer_nor_other_callbacks(own_gate, receiver):
    # Of its own: a local AWS takes few batches of a queue at a time, and others' letters would wait behind these.
    gate, hold = own_gate(), threading.Event()
    agent = gate.client("agent")
    try:
        hanging = [receiver.address(hold=hold) for _ in range(20)]
        for url in hanging:
            agent.asked("auto.approve", callback_url=url)
        slow, quick = receiver.address(hold=hold), receiver.address()
        asked = agent.asked(callback_url=slow)
        nonce = gate.link(asked, "bob").nonce()
        assert gate.link(asked, "bob").post("approve", nonce, timeout=5 * Patience.factor).status == 200
        assert agent.state(asked["request_id"])["status"] == "approved"
        agent.asked("auto.approve", callback_url=quick)
        receiver.wait(quick, 1, 8)
        assert not hold.is_set()
    finally:
        hold.set()


def test_a_host_that_is_not_there_delays_nobody(gate, agent, receiver):
    dead = f"http://127.0.0.1:{free_port()}/gone"
    asked = agent.asked(callback_url=dead)
    assert gate.link(asked, "bob").vote("approve", timeout=5 * Patience.factor).status == 200
    assert agent.get(asked["request_id"], wait=5).json()["status"] == "approved"
    url = receiver.address()
    agent.asked("auto.approve", callback_url=url)
    receiver.wait(url, 1, 8)


FORBIDDEN = [
    "http://127.0.0.1/", "https://127.0.0.1/", "https://127.1/", "https://0x7f.0.0.1/", "https://2130706433/", "https://017700000001/",
    "https://localhost/", "https://LOCALHOST./", "https://a.localhost/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://0.0.0.0/",
    "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://169.254.169.254/latest/meta-data/",
    "https://[fe80::1]/", "https://[fd00::1]/", "https://[fd00:ec2::254]/", "https://224.0.0.1/", "https://255.255.255.255/",
    "http://example.com/", "https://user:pw@example.com/", "https://example.com/#x", "https://example.com:0/",
    "gopher://example.com/", "file:///etc/passwd", "https://",
]  # fmt: skip


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_callback_to_where_it_must_not_go_is_refused_at_the_ask(closed, url):
    request_id = new_id()
    problem = check_problem(closed.ask("auto.approve", request_id=request_id, callback_url=url), 422, "invalid_request")
    assert bad_fields(problem) == {"callback_url"}
    check_problem(closed.get(request_id), 404, "not_found")
    hook = closed.call("POST", "/v1/hooks", {"url": url, "events": ["approval.decided"]})
    assert bad_fields(check_problem(hook, 422, "invalid_request")) == {"url"}


def test_one_clients_exempt_host_is_no_other_clients(closed, agent, receiver):
    url = receiver.address()
    assert agent.ask("auto.approve", callback_url=url).status == 201
    check_problem(closed.ask("auto.approve", callback_url=url), 422, "invalid_request")
    # A host is exempt by its name, not by where the name leads.
    check_problem(agent.ask("auto.approve", callback_url=url.replace("127.0.0.1", "localhost")), 422, "invalid_request")


# ---------------------------------------------------------------- hooks


def of(deliveries, approval):
    return [
        (delivery.json()["type"], delivery.approval["status"])
        for delivery in deliveries
        if delivery.approval["approval_id"] == approval["approval_id"]
    ]


def test_a_hook_hears_of_its_clients_own_requests_and_an_auditors_of_all(gate, agent, other, auditor, receiver):
    mine, all_of_them = receiver.address(), receiver.address()
    hook, audits = gate.hook(agent, mine), gate.hook(auditor, all_of_them)
    assert hook.keys() == {"hook_id", "url", "events", "created_at"} and hook["url"] == mine
    assert hook["events"] == ["approval.requested", "approval.decided"]
    moment(hook["created_at"])
    theirs, ours = other.asked(), agent.asked()
    gate.link(theirs, "bob").reject()
    gate.link(ours, "bob").approve()
    both = [("approval.requested", "pending"), ("approval.decided", "approved")]
    wait_until(lambda: sorted(of(receiver.received(mine), ours)) == sorted(both), 15, "our events")
    wait_until(
        lambda: len(of(receiver.received(all_of_them), ours) + of(receiver.received(all_of_them), theirs)) == 4,
        15,
        "all events",
    )
    assert of(receiver.received(mine), theirs) == []
    for delivery in receiver.received(mine):
        assert check_approval(delivery.verified(agent.secret)["data"])["client"] == "agent"
    for delivery in receiver.received(all_of_them):
        delivery.verified(auditor.secret)
    assert agent.unhook(hook["hook_id"]).status == 204
    assert auditor.unhook(audits["hook_id"]).status == 204


def test_a_hook_hears_only_what_it_subscribed_to(gate, agent, receiver):
    requested, decided = receiver.address(), receiver.address()
    hooks = [gate.hook(agent, requested, ["approval.requested"]), gate.hook(agent, decided, ["approval.decided"])]
    asked = agent.asked()
    gate.link(asked, "bob").approve()
    alone = agent.asked("auto.approve")
    wait_until(lambda: of(receiver.received(decided), alone), 15, "the decision by policy")
    wait_until(lambda: of(receiver.received(decided), asked), 15, "the decision")
    wait_until(lambda: of(receiver.received(requested), asked), 15, "the request")
    assert of(receiver.received(requested), asked) == [("approval.requested", "pending")]
    assert of(receiver.received(decided), asked) == [("approval.decided", "approved")]
    assert of(receiver.received(requested), alone) == []
    for hook in hooks:
        assert agent.unhook(hook["hook_id"]).status == 204


def test_what_is_unsubscribed_hears_no_more(gate, agent, receiver):
    gone, kept = receiver.address(), receiver.address()
    first, second = gate.hook(agent, gone), gate.hook(agent, kept)
    assert agent.unhook(first["hook_id"]).status == 204
    check_problem(agent.unhook(first["hook_id"]), 404, "not_found")
    asked = agent.asked("auto.approve")
    wait_until(lambda: of(receiver.received(kept), asked), 15, "the other hook's event")
    assert of(receiver.received(gone), asked) == []
    assert agent.unhook(second["hook_id"]).status == 204


def test_nobody_removes_another_clients_hook(gate, agent, other, receiver):
    url = receiver.address()
    hook = gate.hook(agent, url)
    check_problem(other.unhook(hook["hook_id"]), 404, "not_found")
    asked = agent.asked("auto.approve")
    wait_until(lambda: of(receiver.received(url), asked), 15, "the event")
    assert agent.unhook(hook["hook_id"]).status == 204


def test_a_hook_that_answers_gone_is_left_alone_for_that_event(own_gate, receiver):
    # Of its own: what others ask would use up the answers.
    gate = own_gate()
    agent = gate.client("agent")
    url, other_url = receiver.address(410), receiver.address(500, 500, 500, 200)
    first, second = gate.hook(agent, url, ["approval.decided"]), gate.hook(agent, other_url, ["approval.decided"])
    asked = agent.asked("auto.approve")
    wait_until(lambda: len(of(receiver.received(other_url), asked)) >= 4, 30, "the other hook's retries")
    assert len(of(receiver.received(url), asked)) == 1
    for hook in (first, second):
        assert agent.unhook(hook["hook_id"]).status in (204, 404)
