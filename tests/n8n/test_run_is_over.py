"""A question whose run is over: n8n tells a node nothing when a waiting run is stopped or deleted, so the gate looks."""

from placet_client import new_id, wait_until
from story import Story

ITEM = {"to": "acme@example.com", "amount": 5000}
WHY = "The n8n run that asked is over: it was stopped, has failed, or was deleted. Nobody waits for the answer."


def test_a_run_that_was_stopped_or_deleted_takes_its_question_back_and_no_other(pair, client):
    name = new_id("invoice")
    stopped, deleted, waits = (Story.begin(pair, [ITEM]) for _ in range(3))
    named = Story.begin(pair, [ITEM], options={"requestId": name})
    asked = {story: story.asked()[0] for story in (stopped, deleted, waits)}
    for story in (*asked, named):
        story.waiting()
    page = pair.gate.link(asked[stopped], "bob").page()
    assert page.status == 200 and 'value="approve"' in page.text
    pair.n8n.rest("POST", f"/executions/{stopped.number}/stop")
    pair.n8n.rest("POST", f"/executions/{named.number}/stop")
    pair.n8n.rest("POST", "/executions/delete", {"ids": [deleted.number]})

    for story in (stopped, deleted):
        request_id = asked[story]["request_id"]
        wait_until(lambda: client.state(request_id)["status"] != "pending", 150, "the gate to look")
        found = client.state(request_id)
        assert (found["status"], found["decided_by"], found["reason"]) == ("cancelled", ["client:n8n"], WHY)
        page = pair.gate.link(asked[story], "bob").page()
        assert "Withdrawn" in page.text and WHY in page.text and 'value="approve"' not in page.text
        late = pair.gate.link(asked[story], "bob").post("approve", nonce="x")
        assert (late.status, late.json()["approval"]["status"]) == (409, "cancelled")
        (entry,) = [one for one in pair.gate.audit() if one["event"] == "request.cancelled" and request_id in str(one)]
        assert (entry["actor"], entry["channel"], entry["detail"]) == ("client:n8n", "gate", WHY)

    # Asked at the same time, so it was looked at as well: the look has woken nothing.
    assert client.state(asked[waits]["request_id"])["status"] == "pending"
    waits.approve(asked[waits])
    run = waits.ended()
    assert run.status == "success" and run.item("Pay")["amount"] == 5000
    # Another run may ask under this name.
    assert client.state(name)["status"] == "pending"
    again = Story.begin(pair, [ITEM], options={"requestId": name})
    again.waiting()
    again.approve(client.state(name))
    assert again.ended().status == "success"
