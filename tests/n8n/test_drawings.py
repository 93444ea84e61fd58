"""Workflows as builders draw them: sub-workflows, branches, merges, two waits, error workflows, pinned data.

Where n8n has a habit of its own, n8n's Wait node stands beside ours and shows the same.
"""

import uuid

import pytest
from placet_client import digest, wait_until
from story import Story
from test_agent_rules import asked_by
from workflows import each, no_op, node, placet, webhook, wired, workflow

ITEM = {"to": "acme@example.com", "amount": 5000}


def drawn(pair, nodes, wires, items=(ITEM,), **settings):
    """A run of Webhook → Each → … as it is drawn."""
    path = uuid.uuid4().hex[:12]
    made = pair.n8n.workflow(workflow([webhook(path), each(), *nodes], wired(("Webhook", "Each"), *wires), **settings))
    story = Story(pair, made, path)
    story.number = pair.n8n.trigger(path, {"items": list(items)})
    return story


def ask(pair, name="Placet", **parameters):
    return placet(pair.credential, name=name, message=f"Pay, says {name}", action="ask.pay", **parameters)


def n8ns_wait(name):
    return node(name, "n8n-nodes-base.wait", {"resume": "webhook", "httpMethod": "POST", "options": {}}, version=1.1)


def resume(pair, run):
    """Posts to the URL that n8n's own Wait node waits at."""
    # Old versions have no token for it.
    path = f"/webhook-waiting/{run.id}?signature={run.data.get('resumeToken', '')}"
    status, _, text = pair.n8n.send("POST", path, {})
    assert status == 200, text


def asked_at(pair, number, name):
    """The question of one step of a run."""

    def found():
        return next((one for one in asked_by(pair, number) if one["metadata"]["node"] == name), None)

    return wait_until(found, 60, f"the question of {name}")


def sub_workflow(pair, **parameters):
    start = node(
        "Start", "n8n-nodes-base.executeWorkflowTrigger", {"inputSource": "passthrough"}, version=1.1
    )  # fmt: skip
    return pair.n8n.workflow(
        workflow([start, ask(pair, **parameters), no_op("Done")], wired(("Start", "Placet"), ("Placet", "Done")))
    )


def calling(pair, child, on_error=None):
    call = node(
        "Call", "n8n-nodes-base.executeWorkflow",
        {"workflowId": {"__rl": True, "mode": "id", "value": child["id"]}, "options": {"waitForSubWorkflow": True}},
        version=1.2,
    )  # fmt: skip
    if on_error:
        call["onError"] = on_error
    return drawn(
        pair, [call, no_op("Pay"), no_op("Refused")], [("Each", "Call"), ("Call", "Pay"), ("Call", "Refused", 1)]
    )


def child_run(pair, child):
    return wait_until(lambda: pair.n8n.runs_of(child), 60, "the run of the sub-workflow")[0]["id"]


def test_a_sub_workflow_that_was_approved_lets_its_caller_go_on(pair):
    child = sub_workflow(pair)
    story = calling(pair, child)
    inner = child_run(pair, child)
    asked = asked_at(pair, inner, "Placet")
    pair.n8n.waiting(inner)
    story.waiting()
    story.approve(asked)
    run = story.ended()
    assert run.status == "success" and run.item("Pay")["approved"] is True and run.item("Pay")["amount"] == 5000


@pytest.mark.parametrize("on_error", [None, "continueErrorOutput"])
def test_a_sub_workflow_that_was_refused_stops_its_caller(pair, on_error):
    child = sub_workflow(pair)
    story = calling(pair, child, on_error)
    inner = child_run(pair, child)
    asked = asked_at(pair, inner, "Placet")
    pair.n8n.waiting(inner)
    story.waiting()
    story.reject(asked)
    assert pair.n8n.ended(inner).status == "error"
    run = story.ended()
    assert not run.ran("Pay") or run.items("Pay") == [], run.items("Pay")


def test_two_waits_in_one_run_are_two_approvals(pair):
    story = drawn(
        pair,
        [ask(pair, "First"), ask(pair, "Second"), no_op("Pay")],
        [("Each", "First"), ("First", "Second"), ("Second", "Pay")],
    )
    first = asked_at(pair, story.number, "First")
    story.waiting()
    story.approve(first)
    second = asked_at(pair, story.number, "Second")
    assert second["approval_id"] != first["approval_id"] and second["payload_sha256"] == digest(ITEM)
    assert not story.waiting().ran("Pay")
    story.approve(second)
    run = story.ended()
    assert run.status == "success" and len(run.runs["Pay"]) == 1 and run.item("Pay")["amount"] == 5000


def test_our_wait_and_n8ns_own_go_together_in_one_run(pair):
    story = drawn(
        pair,
        [n8ns_wait("Wait"), ask(pair), no_op("Pay")],
        [("Each", "Wait"), ("Wait", "Placet"), ("Placet", "Pay")],
    )
    resume(pair, story.waiting())
    asked = asked_at(pair, story.number, "Placet")
    story.waiting()
    story.approve(asked)
    assert story.ended().item("Pay")["approved"] is True


BRANCHES = [("Each", "Left"), ("Each", "Right"), ("Left", "Pay left"), ("Right", "Pay right")]


def branches(left, right):
    """n8n begins with the branch that is drawn on top."""
    right["position"] = [0, 200]
    return [left, right, no_op("Pay left"), no_op("Pay right")]


def test_parallel_branches_are_asked_one_after_the_other(pair):
    """n8n puts the whole run to wait, so the second branch begins when the first has gone on; n8n's Wait shows it."""
    theirs = drawn(pair, branches(n8ns_wait("Left"), n8ns_wait("Right")), BRANCHES)
    run = theirs.waiting()
    assert run.ran("Left") and not run.ran("Right")

    ours = drawn(pair, branches(ask(pair, "Left"), ask(pair, "Right")), BRANCHES)
    left = asked_at(pair, ours.number, "Left")
    ours.waiting()
    assert [one["metadata"]["node"] for one in asked_by(pair, ours.number)] == ["Left"]
    ours.approve(left)
    right = asked_at(pair, ours.number, "Right")
    run = ours.waiting()
    assert len(run.items("Pay left")) == 1 and not run.ran("Pay right")
    ours.approve(right)
    run = ours.ended()
    assert run.status == "success" and len(run.items("Pay right")) == 1 and len(run.runs["Pay left"]) == 1
    resume(pair, pair.n8n.waiting(theirs.number))
    second = wait_until(
        lambda: (found := pair.n8n.execution(theirs.number)).ran("Right") and found.status == "waiting" and found,
        60, "the second wait",
    )  # fmt: skip
    resume(pair, second)
    assert theirs.ended().status == "success"


def test_a_refusal_in_one_branch_ends_the_other_before_it_asks(pair):
    story = drawn(pair, branches(ask(pair, "Left"), ask(pair, "Right")), BRANCHES)
    left = asked_at(pair, story.number, "Left")
    story.waiting()
    story.reject(left)
    run = story.ended()
    assert run.status == "error" and not run.ran("Pay left") and not run.ran("Pay right")
    assert len(asked_by(pair, story.number)) == 1


def merged(pair, **parameters):
    merge = node("Merge", "n8n-nodes-base.merge", {"mode": "append"}, version=3)
    story = Story(pair, None, uuid.uuid4().hex[:12])
    drawing = workflow(
        [webhook(story.path), each(), ask(pair, **parameters), no_op("Look up"), merge, no_op("Pay")],
        wired(
            ("Webhook", "Each"), ("Each", "Placet"), ("Each", "Look up"), ("Placet", "Merge"), ("Look up", "Merge"),
            ("Merge", "Pay"),
        ),
    )  # fmt: skip
    drawing["connections"]["Look up"]["main"][0][0]["index"] = 1
    story.made = pair.n8n.workflow(drawing)
    story.number = pair.n8n.trigger(story.path, {"items": [ITEM]})
    return story


def test_a_merge_waits_for_the_branch_that_waits(pair):
    story = merged(pair)
    asked = asked_at(pair, story.number, "Placet")
    assert not story.waiting().ran("Pay")
    story.approve(asked)
    run = story.ended()
    assert run.status == "success" and [item.get("approved") for item in run.items("Pay")] == [True, None]


def test_a_merge_behind_a_refusal_does_not_run(pair):
    story = merged(pair)
    asked = asked_at(pair, story.number, "Placet")
    story.waiting()
    story.reject(asked)
    run = story.ended()
    assert run.status == "error" and not run.ran("Merge") and not run.ran("Pay")


def test_an_error_workflow_hears_who_refused_and_why(pair):
    listener = pair.n8n.workflow(
        workflow([node("On error", "n8n-nodes-base.errorTrigger"), no_op("Tell")], wired(("On error", "Tell")))
    )
    story = drawn(
        pair, [ask(pair), no_op("Pay")], [("Each", "Placet"), ("Placet", "Pay")], errorWorkflow=listener["id"]
    )
    (asked,) = story.asked()
    story.waiting()
    story.reject(asked)
    story.ended()
    number = wait_until(lambda: pair.n8n.runs_of(listener), 60, "the error workflow")[0]["id"]
    told = pair.n8n.ended(number).item("Tell")
    assert told["execution"]["id"] == story.number
    assert told["execution"]["error"]["message"] == "Not approved: rejected by bob: too expensive"
    assert told["execution"]["lastNodeExecuted"] == "Placet"


def test_pinned_data_asks_nobody_in_the_editor_and_counts_for_nothing_in_production(pair):
    path = uuid.uuid4().hex[:12]
    start = node("Start", "n8n-nodes-base.manualTrigger")
    drawing = workflow(
        [start, webhook(path), ask(pair), no_op("Pay")],
        wired(("Start", "Placet"), ("Webhook", "Placet"), ("Placet", "Pay")),
    )
    drawing["pinData"] = {"Placet": [{"json": {"approved": True, "pinned": True}}]}
    made = pair.n8n.workflow(drawing)
    begun = pair.n8n.rest(
        "POST", f"/workflows/{made['id']}/run", {"workflowData": made, "triggerToStartFrom": {"name": "Start"}}
    )
    run = pair.n8n.ended(begun["executionId"])
    assert run.item("Pay") == {"approved": True, "pinned": True} and asked_by(pair, begun["executionId"]) == []

    number = pair.n8n.trigger(path, ITEM)
    asked = asked_at(pair, number, "Placet")
    assert not pair.n8n.waiting(number).ran("Pay")
    Story(pair, made, path).reject(asked)
    assert not pair.n8n.ended(number).ran("Pay")
