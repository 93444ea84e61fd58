"""Request Approval and Wait in a real n8n: who passes, who does not, and what the run says."""

import uuid

import pytest
from flaky import Flaky
from n8n_server import VERSION
from placet_client import check_approval, digest, wait_until, without_token
from story import Story
from workflows import each, no_op, node, placet, webhook, wired, workflow

ITEM = {"to": "acme@example.com", "amount": 5000}
# Old versions take an item with `details` for one that was approved, so there it has none.
OLD = VERSION == "oldest"


def assert_details(refused, asked):
    details = refused.get("details")
    if OLD:
        assert details is None
    else:
        assert details["approved"] is False and details["request_id"] == asked["request_id"]
        assert details["explanation"] == refused["error"]


def test_an_approved_item_goes_on_with_its_fields_the_approval_and_the_token(pair, client):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    assert story.waiting().ran("Pay") is False
    decided = story.approve(asked)
    run = story.ended()
    assert run.status == "success" and not run.ran("Refused")
    paid = run.item("Pay")
    assert {name: paid[name] for name in ITEM} == ITEM and paid["approved"] is True
    approval = paid["placet"]
    assert approval.pop("explanation") == "Approved by bob"
    assert without_token(check_approval(approval)) == decided
    assert approval["payload_sha256"] == digest(ITEM)
    assert client.verify(approval["token"], payload=ITEM)["valid"] is True
    assert asked["summary"] == "Pay the invoice" and asked["action"] == "ask.pay"
    assert asked["metadata"]["workflow"] == story.made["name"] and asked["metadata"]["node"] == "Placet"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda story, asked: story.reject(asked), "Not approved: rejected by bob: too expensive"),
        (lambda story, asked: story.pair.client.cancel(asked["request_id"]), "Not approved: the request was cancelled"),
    ],
    ids=["rejected", "cancelled"],
)
def test_a_run_that_is_not_approved_stops_and_says_why(pair, how, words):
    story = Story.begin(pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    how(story, asked)
    run = story.ended()
    assert run.status == "error" and run.error == words
    assert not run.ran("Pay") and not run.ran("Refused")


def test_a_run_that_nobody_decides_stops_at_the_gates_deadline(pair):
    story = Story.begin(pair, [ITEM | {"approved": True}], action="quick.pay")
    story.waiting()
    run = story.ended()
    assert run.status == "error" and run.error == "Not approved: nobody decided in time"
    assert not run.ran("Pay")


def test_the_error_output_is_the_branch_of_what_was_not_approved(pair):
    for item, action, decide, words in (
        (ITEM, "ask.pay", lambda story, asked: story.reject(asked), "rejected by bob: too expensive"),
        (ITEM | {"approved": True}, "quick.pay", lambda story, asked: None, "nobody decided in time"),
    ):
        story = Story.begin(pair, [item], action=action, on_error="continueErrorOutput")
        (asked,) = story.asked()
        story.waiting()
        decide(story, asked)
        run = story.ended()
        assert run.status == "success" and not run.ran("Pay")
        refused = run.item("Refused")
        assert refused["error"] == f"Not approved: {words}"
        assert_details(refused, asked)
        assert refused["to"] == ITEM["to"]


def test_continuing_on_errors_hands_on_nothing_to_act_on(pair):
    story = Story.begin(pair, [ITEM | {"approved": True}], on_error="continueRegularOutput")
    (asked,) = story.asked()
    story.waiting()
    story.reject(asked)
    run = story.ended()
    assert run.status == "success"
    item = run.item("Pay")
    assert item.keys() == ({"error"} if OLD else {"error", "details"})
    assert_details(item, asked)


def test_the_outcome_can_be_handed_on_instead(pair):
    for decide, action, approved, status in (
        (lambda story, asked: story.approve(asked), "ask.pay", True, "approved"),
        (lambda story, asked: story.reject(asked), "ask.pay", False, "rejected"),
        (lambda story, asked: None, "quick.pay", False, "expired"),
    ):
        story = Story.begin(pair, [ITEM | {"approved": not approved}], action=action, ifNotApproved="handOn")
        (asked,) = story.asked()
        story.waiting()
        decide(story, asked)
        item = story.ended().item("Pay")
        assert item["approved"] is approved and item["placet"]["status"] == status
        assert item["amount"] == ITEM["amount"]


def test_what_policy_decides_alone_does_not_wait(pair):
    story = Story.begin(pair, [ITEM], action="auto.yes")
    run = story.ended()
    assert run.status == "success" and run.item("Pay")["placet"]["decided_by"] == ["policy:auto yes"]
    refused = Story.begin(pair, [ITEM], action="auto.no").ended()
    assert refused.status == "error" and refused.error == "Not approved: rejected by policy:auto no"
    assert not refused.ran("Pay")


def test_each_of_several_items_has_its_own_outcome(pair):
    items = [{"n": number} for number in range(12)]
    story = Story.begin(pair, items, ifNotApproved="handOn")
    asked = story.asked(12)
    assert len({one["request_id"] for one in asked}) == 12
    story.waiting()
    for number, one in enumerate(asked):
        if number % 3 == 0:
            story.reject(one, reason=f"no {number}")
        elif number % 3 == 1:
            story.approve(one)
        else:
            pair.client.cancel(one["request_id"])
        if number < 11:
            assert story.pair.n8n.execution(story.number).status == "waiting"
    run = story.ended()
    assert run.status == "success"
    found = run.items("Pay")
    assert [item["n"] for item in found] == list(range(12))
    for number, item in enumerate(found):
        assert item["approved"] is (number % 3 == 1)
        assert item["placet"]["request_id"] == asked[number]["request_id"]
        assert item["placet"]["status"] == ("rejected", "approved", "cancelled")[number % 3]


def test_of_several_items_only_the_approved_pass_beside_the_error_output(pair):
    story = Story.begin(pair, [{"n": 0}, {"n": 1}, {"n": 2}], on_error="continueErrorOutput")
    first, second, third = story.asked(3)
    story.waiting()
    story.approve(third)
    story.reject(second)
    story.approve(first)
    run = story.ended()
    assert [item["n"] for item in run.items("Pay")] == [0, 2]
    assert run.item("Refused")["n"] == 1
    assert_details(run.item("Refused"), second)


def test_of_several_items_one_rejection_stops_the_run_and_names_the_item(pair):
    story = Story.begin(pair, [{"n": 0}, {"n": 1}])
    first, second = story.asked(2)
    story.waiting()
    story.approve(first)
    story.reject(second)
    run = story.ended()
    assert run.status == "error" and not run.ran("Pay")
    assert run.error == "1 of 2 items were not approved. item 1: Not approved: rejected by bob: too expensive"


def test_items_that_policy_decides_wait_for_those_that_people_decide(pair):
    story = Story.begin(
        pair, [{"act": "auto.yes"}, {"act": "ask.pay"}, {"act": "auto.no"}],
        action="={{ $json.act }}", on_error="continueErrorOutput",
    )  # fmt: skip
    asked = story.asked(3)
    assert [one["status"] for one in asked] == ["approved", "pending", "rejected"]
    story.waiting()
    story.approve(asked[1])
    run = story.ended()
    assert [item["act"] for item in run.items("Pay")] == ["auto.yes", "ask.pay"]
    assert [item["act"] for item in run.items("Refused")] == ["auto.no"]


def test_a_step_in_a_loop_asks_anew_each_time(pair):
    """The second round has the same resume URL as the first; the first round's answers are not its own."""
    path = uuid.uuid4().hex[:12]
    loop = node("Loop", "n8n-nodes-base.splitInBatches", {"batchSize": 1, "options": {}}, version=3)
    step = placet(pair.credential, message="Pay", action="ask.pay")
    made = pair.n8n.workflow(
        workflow(
            [webhook(path), each(), loop, step, no_op("Pay")],
            wired(("Webhook", "Each"), ("Each", "Loop"), ("Loop", "Placet", 1), ("Placet", "Pay"), ("Pay", "Loop")),
        )
    )
    story = Story(pair, made, path)
    story.number = pair.n8n.trigger(path, {"items": [{"n": 0}, {"n": 1}]})
    (first,) = story.asked(1)
    story.approve(first)
    second = next(one for one in story.asked(2) if one["request_id"] != first["request_id"])
    run = pair.n8n.when(story.number, "waiting")
    assert len(run.runs["Pay"]) == 1 and second["status"] == "pending"
    story.reject(second)
    run = story.ended()
    assert run.status == "error" and len(run.runs["Pay"]) == 1


def test_the_payload_is_what_the_builder_maps(pair):
    fields = {"field": [{"name": "to", "value": "={{ $json.to }}"}, {"name": "amount", "value": "={{ $json.amount }}"}]}
    for parameters, payload in (
        ({"payloadMode": "fields", "payloadFields": fields}, ITEM),
        (
            {"payloadMode": "json", "payloadJson": "={{ JSON.stringify({ total: $json.amount * 2 }) }}"},
            {"total": 10000},
        ),
        (
            {"payloadMode": "json", "payloadJson": "={{ ({ nested: { to: $json.to } }) }}"},
            {"nested": {"to": ITEM["to"]}},
        ),
    ):
        story = Story.begin(pair, [ITEM | {"private": "not for reviewers"}], action="auto.yes", **parameters)
        approval = story.ended().item("Pay")["placet"]
        assert approval["payload_sha256"] == digest(payload), parameters


def test_a_payload_that_is_no_object_asks_nothing(pair):
    story = Story.begin(pair, [ITEM], payloadMode="json", payloadJson="[1, 2]")
    run = story.ended()
    assert run.status == "error" and run.error == "The payload must be a JSON object" and not run.ran("Pay")


def test_a_time_limit_of_the_builder_ends_the_wait(pair):
    story = Story.begin(pair, [ITEM], options={"timeLimit": 0.03})
    run = story.ended()
    assert run.status == "error" and run.error == "Not approved: nobody decided in time"


def test_a_client_with_symmetric_tokens_is_understood_too(pair):
    shared = pair.gate.client("shared")
    credential = pair.n8n.credential(pair.gate.url, "shared", shared.secret, "Shared")

    class Sharing:
        n8n, gate, client = pair.n8n, pair.gate, shared

    Sharing.credential = credential
    story = Story.begin(Sharing, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    story.approve(asked)
    run = story.ended()
    assert run.status == "success" and run.item("Pay")["approved"] is True


def test_an_answer_that_comes_too_late_to_act_on_is_no_approval(pair):
    """The rule gives an approval one second; the run's other item is decided only after that."""
    story = Story.begin(pair, [{"act": "brief.pay"}, {"act": "ask.pay"}], action="={{ $json.act }}")
    brief, slow = story.asked(2)
    story.waiting()
    story.approve(brief)
    token = pair.client.state(brief["request_id"])["token"]
    wait_until(lambda: pair.client.verify(token)["valid"] is False, 15, "the token to run out")
    story.approve(slow)
    run = story.ended()
    assert run.status == "error" and not run.ran("Pay")
    assert "item 0: Not approved: the approval came too late" in run.error


def test_a_retried_step_asks_once(pair):
    """The gate answers the first try, but n8n does not hear it: the second try finds the same request."""
    flaky = Flaky(pair.gate)
    try:
        credential = pair.n8n.credential(flaky.url, "n8n", pair.client.secret, "Flaky")

        class Through:
            n8n, gate, client = pair.n8n, pair.gate, pair.client

        Through.credential = credential
        flaky.swallow("POST", "/v1/requests", 1)
        story = Story.begin(Through, [ITEM], retry=3)
        (asked,) = story.asked()
        story.waiting()
        assert flaky.seen("POST", "/v1/requests") == 2
        assert len(story.asked()) == 1
        story.approve(asked)
        assert story.ended().status == "success"
    finally:
        flaky.close()
