"""One approval is good for one run: the same question joins, the step redeems, a retry asks anew."""

import json

import pytest
from placet_client import new_id, wait_until
from story import Story
from test_agent_rules import asked_by
from test_operations import token

ITEM = {"to": "acme@example.com", "amount": 5000}
USED = "Not approved: this approval was used by another run"


def redemptions(pair, approval):
    entries = [entry for entry in pair.gate.audit() if str(entry.get("event")).endswith("redeemed")]
    return [entry for entry in entries if approval["request_id"] in str(entry)]


def test_the_step_redeems_under_the_name_of_its_run(pair, client):
    story = Story.begin(pair, [ITEM, {"n": 1}])
    first, second = story.asked(2)
    story.waiting()
    story.approve(first)
    assert redemptions(pair, first) == []
    story.approve(second)
    run = story.ended()
    assert run.status == "success"
    for number, asked in enumerate((first, second)):
        (entry,) = redemptions(pair, asked)
        text = json.dumps(entry)
        assert f"n8n execution {story.number}, node Placet, item {number}, " in text
        item = run.items("Pay")[number]
        # It stays checkable, but nobody else can use it.
        assert client.verify(item["placet"]["token"])["valid"] is True
        refused = client.redeem(item["placet"]["token"], "another executor")
        assert refused.status == 409 and refused.code == "already_redeemed"


def test_what_policy_decides_alone_is_redeemed_too(pair, client):
    run = Story.begin(pair, [ITEM], action="auto.yes").ended()
    assert client.redeem(run.item("Pay")["placet"]["token"], "another executor").code == "already_redeemed"


def test_nothing_is_redeemed_when_one_refusal_stops_the_run(pair):
    story = Story.begin(pair, [ITEM, {"n": 1}])
    first, second = story.asked(2)
    story.waiting()
    story.approve(first)
    story.reject(second)
    assert story.ended().status == "error"
    assert redemptions(pair, first) == []


@pytest.mark.parametrize("ends", ["stop", "error output", "hand on"])
def test_an_approval_that_another_run_has_used_lets_nothing_pass(pair, client, ends):
    parameters = {
        "stop": {},
        "error output": {"on_error": "continueErrorOutput"},
        "hand on": {"ifNotApproved": "handOn"},
    }[ends]
    story = Story.begin(pair, [{"n": 0}, {"n": 1}], **parameters)
    first, second = story.asked(2)
    story.waiting()
    story.approve(first)
    used = client.redeem(client.state(first["request_id"])["token"], "n8n execution 999, node Placet, item 0, 00")
    assert used.status == 200
    story.approve(second)
    run = story.ended()
    if ends == "stop":
        assert run.status == "error" and f"item 0: {USED}" in run.error and not run.ran("Pay")
    elif ends == "error output":
        assert [item["n"] for item in run.items("Pay")] == [1] and run.item("Refused")["error"].startswith(USED)
    else:
        assert [item["approved"] for item in run.items("Pay")] == [False, True]
        assert run.items("Pay")[0]["placet"]["explanation"].startswith(USED)


def test_the_token_can_be_left_for_a_later_step(pair, client):
    run = Story.begin(pair, [ITEM], action="auto.yes", options={"keepToken": True}).ended()
    item = run.item("Pay")
    assert item["approved"] is True
    (first,) = token(pair, "redeem", token=item["placet"]["token"], checkPayload=True, tokenPayload=ITEM)
    assert first["first"] is True


def test_two_runs_with_one_name_wait_for_one_decision_and_one_of_them_goes_on(pair):
    name = new_id("invoice")
    runs = [Story.begin(pair, [ITEM], options={"requestId": name}) for _ in range(2)]
    wait_until(lambda: pair.client.get(name).status == 200, 30, "the request")
    asked = pair.client.state(name)
    for run in runs:
        run.waiting()
    runs[0].approve(asked)
    ended = [run.ended() for run in runs]
    assert sorted(run.status for run in ended) == ["error", "success"]
    (refused,) = [run for run in ended if run.status == "error"]
    assert refused.error.startswith(USED) and not refused.ran("Pay")
    assert len(redemptions(pair, asked)) == 1


def test_a_run_that_comes_later_with_the_same_name_does_not_pay_again(pair):
    name = new_id("invoice")
    first = Story.begin(pair, [ITEM], options={"requestId": name})
    wait_until(lambda: pair.client.get(name).status == 200, 30, "the request")
    asked = pair.client.state(name)
    first.waiting()
    first.approve(asked)
    assert first.ended().status == "success"
    second = Story.begin(pair, [ITEM], options={"requestId": name}).ended()
    assert second.status == "error" and second.error.startswith(USED) and not second.ran("Pay")


def test_two_items_with_one_name_are_one_approval(pair):
    name = new_id("invoice")
    story = Story.begin(pair, [ITEM, ITEM], options={"requestId": name}, on_error="continueErrorOutput")
    wait_until(lambda: pair.client.get(name).status == 200, 30, "the request")
    story.waiting()
    story.approve(pair.client.state(name))
    run = story.ended()
    assert len(run.items("Pay")) == 1 and run.item("Refused")["error"].startswith(USED)


def test_more_runs_than_the_gate_calls_back_are_told_so(pair, client):
    """It is not the address of this n8n that is wrong."""
    name = new_id("invoice")
    for number in range(20):
        client.ask("ask.pay", payload=ITEM, request_id=name, callback_url=f"http://127.0.0.1:9/{number}")
    run = Story.begin(pair, [ITEM], options={"requestId": name}).ended()
    told = run.data["resultData"]["error"]["description"]
    assert run.status == "error" and "one too many" in told and "too many runs share this Request ID" in told
    assert "callback_hosts" not in told and client.state(name)["status"] == "pending"
    client.cancel(name)


def test_an_executor_that_the_asker_names_redeems_what_is_left_for_it(pair):
    """With a credential of its own, in a workflow of its own; another client cannot."""
    item = Story.begin(pair, [ITEM], action="auto.yes", options={"keepToken": True}).ended().item("Pay")
    parameters = {"token": item["placet"]["token"], "checkPayload": True, "tokenPayload": ITEM}

    def by(client_id, operation):
        own = pair.n8n.credential(pair.gate.url, client_id, pair.gate.secret(client_id), client_id)
        return token(pair, operation, credential=own, **parameters)

    assert by("shared", "verify")[0]["valid"] is False
    assert by("shared", "redeem").status == "error"
    assert by("payments", "verify")[0]["valid"] is True
    assert by("payments", "redeem")[0]["first"] is True
    assert token(pair, "redeem", **parameters).error == "This token has been redeemed already"


def test_a_name_is_for_one_question_only(pair, client):
    name = new_id("invoice")
    client.asked("auto.yes", payload={"n": 1}, request_id=name)
    run = Story.begin(pair, [{"n": 2}], action="auto.yes", options={"requestId": name}).ended()
    assert run.status == "error" and run.error == "This request ID was used before, for another question"


# ---------------------------------------------------------------- n8n's own Retry button


def retried(pair, number, load_workflow):
    """What n8n's Retry does; it answers when the new run has ended or waits."""
    made = pair.n8n.rest("POST", f"/executions/{number}/retry", {"loadWorkflow": load_workflow})
    return made["id"]


@pytest.mark.parametrize("load_workflow", [False, True], ids=["as it was", "as it is now"])
def test_a_retry_of_a_refused_run_asks_anew(pair, load_workflow):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    story.reject(asked)
    assert story.ended().status == "error"
    again = Story(pair, story.made, story.path)
    again.number = retried(pair, story.number, load_workflow)
    (anew,) = again.asked()
    assert anew["request_id"] != asked["request_id"] and anew["payload_sha256"] == asked["payload_sha256"]
    again.waiting()
    again.approve(anew)
    run = again.ended()
    assert run.status == "success" and run.item("Pay")["amount"] == 5000


def test_a_retry_of_a_stopped_run_asks_anew_and_takes_the_old_question_back(pair, client):
    story = Story.begin(pair, [ITEM], message="=Pay {{ $('Each').item.json.amount }}")
    (asked,) = story.asked()
    story.waiting()
    pair.n8n.rest("POST", f"/executions/{story.number}/stop")
    story.ended()
    again = Story(pair, story.made, story.path)
    again.number = retried(pair, story.number, False)
    (anew,) = again.asked()
    assert client.state(asked["request_id"])["status"] == "cancelled" and anew["summary"] == "Pay 5000"
    again.waiting()
    again.approve(anew)
    run = again.ended()
    assert run.status == "success" and run.item("Pay")["amount"] == 5000


def test_a_retry_of_a_stopped_run_with_the_workflow_of_now_lets_nothing_pass(pair):
    """n8n takes both of the step's entries for disabled then."""
    story = Story.begin(pair, [ITEM | {"approved": True}])
    story.asked()
    story.waiting()
    pair.n8n.rest("POST", f"/executions/{story.number}/stop")
    story.ended()
    number = retried(pair, story.number, True)
    run = pair.n8n.when(number, "waiting", "success", "error")
    assert not run.ran("Pay") or run.items("Pay") == []


@pytest.mark.parametrize("load_workflow", [False, True], ids=["as it was", "as it is now"])
def test_a_retry_after_the_gate_was_away_asks(pair, load_workflow):
    story = Story.begin(pair, [{"minutes": "soon"}], options={"timeLimit": "={{ $json.minutes }}"})
    assert story.ended().status == "error"
    number = retried(pair, story.number, load_workflow)
    assert "must be a number" in pair.n8n.ended(number).error and asked_by(pair, number) == []


def test_a_refused_step_is_not_tried_again_though_it_retries_on_fail(pair):
    story = Story.begin(pair, [ITEM], retry=3)
    (asked,) = story.asked()
    story.waiting()
    story.reject(asked)
    run = story.ended()
    assert run.status == "error" and run.error == "Not approved: rejected by bob: too expensive"
    assert len(asked_by(pair, story.number)) == 1 and len(run.runs["Placet"]) == 1
