"""The Placet Trigger: registered while the workflow is active, and only then; it believes only the gate."""

import json
import time
import uuid

from placet_client import wait_until, without_token
from test_callbacks import claimed, signed
from workflows import no_op, node, wired, workflow


def trigger(pair, credential=None, **parameters):
    step = node(
        "Placet Trigger", "n8n-nodes-placet.placetTrigger", parameters, credentials=credential or pair.credential,
        webhookId=str(uuid.uuid4()),
    )  # fmt: skip
    return workflow([step, no_op("Tell")], wired(("Placet Trigger", "Tell")))


def hooks(pair):
    return [text for dump in pair.gate.dump().items() if "hook" in dump[0] for text in dump[1]]


def hook_urls(pair, made):
    path = next(one for one in made["nodes"] if one["name"] == "Placet Trigger")["webhookId"]
    return [text for text in hooks(pair) if path in text]


def heard(pair, made):
    """What the trigger's runs so far were told."""
    runs = [pair.n8n.execution(one["id"]) for one in pair.n8n.runs_of(made) if one["status"] == "success"]
    return [run.item("Tell") for run in runs]


def events(pair, made, count):
    return wait_until(lambda: len(found := heard(pair, made)) >= count and found, 60, f"{count} runs of the trigger")


def test_it_hears_of_requests_and_decisions_while_it_is_active_and_only_then(pair):
    made = pair.n8n.workflow(trigger(pair, events=["approval.requested", "approval.decided"]))
    wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    asked = pair.client.asked(payload={"n": 1})
    decided = pair.gate.link(asked, "bob").approve()

    def mine(found):
        return [one for one in found if one["approval_id"] == asked["approval_id"]]

    found = wait_until(lambda: len(found := mine(events(pair, made, 2))) >= 2 and found, 60, "both events")
    by_name = {one["event"]: one for one in found}
    assert by_name.keys() == {"approval.requested", "approval.decided"}
    assert by_name["approval.requested"]["status"] == "pending"
    told = by_name["approval.decided"]
    assert without_token({name: told[name] for name in decided}) == decided and told["event_id"].startswith("msg_")
    assert pair.client.verify(told["token"])["valid"] is True

    pair.n8n.deactivate(made)
    wait_until(lambda: not hook_urls(pair, made), 60, "the hook to be removed")
    before = len(pair.n8n.runs_of(made))
    pair.client.asked("auto.yes")
    other = pair.n8n.workflow(trigger(pair, events=["approval.decided"]))
    wait_until(lambda: hook_urls(pair, other), 60, "the other hook")
    pair.client.asked("auto.yes")
    events(pair, other, 1)  # by now the first would have heard of it, too
    assert len(pair.n8n.runs_of(made)) == before
    pair.n8n.deactivate(other)
    wait_until(lambda: not hook_urls(pair, other), 60, "the other hook to be removed")


def test_it_can_hear_of_some_outcomes_only(pair):
    made = pair.n8n.workflow(trigger(pair, events=["approval.decided"], outcomes=["rejected"]))
    wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    pair.client.asked("auto.yes")
    no = pair.client.asked("auto.no")
    found = events(pair, made, 1)
    assert no["approval_id"] in [one["approval_id"] for one in found]
    assert {one["status"] for one in found} == {"rejected"}
    pair.n8n.deactivate(made)


def test_it_starts_nothing_for_a_message_that_the_gate_did_not_sign(pair):
    made = pair.n8n.workflow(trigger(pair, events=["approval.decided"], outcomes=["expired"]))
    (row,) = wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    path = next(one for one in made["nodes"] if one["name"] == "Placet Trigger")["webhookId"]
    target = f"/webhook/{path}/placet"
    assert target in row
    body = claimed(pair.client.asked("auto.no"), status="expired", approved=False)
    for headers in ({}, signed("whsec_" + "ab" * 32, body), signed(pair.client.secret, body, at=1)):
        status, _, text = pair.n8n.send("POST", target, body, headers)
        assert status == 401 and json.loads(text)["taken"] is False, (status, text)
    assert pair.n8n.runs_of(made) == []
    assert pair.n8n.send("POST", target, body, signed(pair.client.secret, body))[0] == 200
    events(pair, made, 1)
    pair.n8n.deactivate(made)


def test_an_auditors_trigger_hears_of_everybodys_requests(pair):
    auditor = pair.gate.client("auditor")
    credential = pair.n8n.credential(pair.gate.url, "auditor", auditor.secret, "Auditor")
    made = pair.n8n.workflow(trigger(pair, credential, events=["approval.decided"]))
    wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    asked = pair.client.asked("auto.yes")
    told = wait_until(
        lambda: [one for one in events(pair, made, 1) if one["approval_id"] == asked["approval_id"]], 60, "the event"
    )[0]
    assert told["client"] == "n8n" and told["token"] is None
    pair.n8n.deactivate(made)


def hook_id(row):
    return next(part for part in row.split("'") if part.startswith("hook_"))


def test_a_hook_that_the_gate_has_lost_is_asked_for_again_at_the_next_activation(pair):
    made = pair.n8n.workflow(trigger(pair, events=["approval.decided"], outcomes=["rejected"]))
    (row,) = wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    assert pair.client.unhook(hook_id(row)).status in (200, 204)
    assert not hook_urls(pair, made)
    pair.n8n.deactivate(made)
    pair.n8n.activate(made)
    (again,) = wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate again")
    assert hook_id(again) != hook_id(row)
    pair.client.asked("auto.no")
    events(pair, made, 1)
    pair.n8n.deactivate(made)


def test_or_at_the_next_start_where_n8n_activates_when_it_starts(own_pair):
    """Older versions of n8n do. 2.40 does not, unless it is told to."""
    own_pair.n8n.extra = {"N8N_USE_WORKFLOW_PUBLICATION_SERVICE": "false"}
    own_pair.n8n.kill()
    own_pair.n8n.start()
    made = own_pair.n8n.workflow(trigger(own_pair, events=["approval.decided"]))
    (row,) = wait_until(lambda: hook_urls(own_pair, made), 60, "the hook at the gate")
    assert own_pair.client.unhook(hook_id(row)).status in (200, 204)
    own_pair.n8n.kill()
    own_pair.n8n.start()
    wait_until(lambda: hook_urls(own_pair, made), 60, "the hook at the gate again")
    own_pair.client.asked("auto.no")
    events(own_pair, made, 1)


def test_however_often_it_is_activated_there_is_one_hook(pair):
    """n8n answers before it has done what it was told, and may do several of these in one."""
    made = pair.n8n.workflow(trigger(pair, events=["approval.decided"], outcomes=["rejected"]))
    wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    for _ in range(2):
        pair.n8n.deactivate(made)
        pair.n8n.activate(made)

    def told():
        return [one["approval_id"] for one in heard(pair, made)]

    # What is asked while n8n is between "off" and "on" has no hook to go to.
    pair.client.asked("auto.no")
    since = time.monotonic()
    while not told():
        assert time.monotonic() - since < 60, "no event has come"
        time.sleep(0.5)
        pair.client.asked("auto.no")
    last = pair.client.asked("auto.no")
    found = wait_until(lambda: last["approval_id"] in (found := told()) and found, 60, "the last event")
    assert len(found) == len(set(found)), "an event came twice"
    assert len(hook_urls(pair, made)) == 1
    pair.n8n.deactivate(made)
    wait_until(lambda: not hook_urls(pair, made), 60, "the hook to be removed")


def test_its_events_can_be_simplified(pair):
    made = pair.n8n.workflow(trigger(pair, events=["approval.decided"], outcomes=["rejected"], simplify=True))
    wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    asked = pair.client.asked("auto.no")
    told = wait_until(
        lambda: [one for one in events(pair, made, 1) if one["approval_id"] == asked["approval_id"]], 60, "the event"
    )[0]
    assert "votes" not in told and told["status"] == "rejected" and told["event"] == "approval.decided"
    pair.n8n.deactivate(made)
