"""The example workflows, imported as a user does, and run."""

import json
from pathlib import Path

import pytest
from model import Model
from placet_client import digest, wait_until
from receiver import Receiver
from test_callbacks import signed
from test_trigger import hook_urls

HERE = Path(__file__).resolve().parent
EXAMPLES = sorted((HERE / "../../integrations/n8n-nodes-placet/examples").glob("*.json"))


def imported(pair, name, credentials=(), changes=None):
    """Imports an example's own file, then picks the credentials, as the editor asks a user to."""
    text = (EXAMPLES[0].parent / f"{name}.json").read_text()
    pair.n8n.cli("import:workflow", f"--input={EXAMPLES[0].parent / name}.json")
    number = json.loads(text)["id"]
    made = pair.n8n.rest("GET", f"/workflows/{number}")
    known = dict(pair.credential)
    for more in credentials:
        known |= more
    for node in made["nodes"]:
        for kind in node.get("credentials", {}):
            node["credentials"][kind] = known[kind]
        if changes:
            changes(node)
    body = {key: made[key] for key in ("name", "nodes", "connections", "settings")} | {"versionId": made["versionId"]}
    return pair.n8n.rest("PATCH", f"/workflows/{number}", body)


def newest(pair, made):
    """The number of the newest run."""
    return wait_until(lambda: pair.n8n.runs_of(made), 60, "a run")[0]["id"]


def asked_by(pair, number, count=1):
    def found():
        answer = pair.client.list(limit=100).json()["requests"]
        mine = [one for one in answer if one["metadata"].get("execution_id") == number]
        return sorted(mine, key=lambda one: int(one["metadata"]["item"])) if len(mine) >= count else None

    return wait_until(found, 60, f"{count} requests of run {number}")


def posted(pair, path, body):
    wait_until(lambda: pair.n8n.send("POST", f"/webhook/{path}", body)[0] == 200, 60, f"the webhook {path}")


def test_every_example_is_run_below():
    assert [path.stem for path in EXAMPLES] == [
        "approve-before-paying", "branch-on-the-outcome", "bring-messages-to-teams-or-whatsapp",
        "review-an-agents-tools", "tell-the-team-what-was-decided",
    ]  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_explains_itself_and_its_notes_cover_nothing(path):
    """Notes say what it does and what to fill in; no note lies on a node, nor on another note."""
    drawn = json.loads(path.read_text())
    notes = [node for node in drawn["nodes"] if node["type"].endswith("stickyNote")]
    assert any("Before you start" in note["parameters"]["content"] for note in notes)
    boxes = [(*note["position"], note["parameters"]["width"], note["parameters"]["height"]) for note in notes]
    boxes += [(*node["position"], 100, 100) for node in drawn["nodes"] if node not in notes]
    for number, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[number + 1 :]:
            apart = x + width <= left or left + wide <= x or y + height <= top or top + high <= y
            assert apart, ((x, y, width, height), (left, top, wide, high))


def test_approve_before_paying(pair):
    made = imported(pair, "approve-before-paying")
    pair.n8n.activate(made)
    invoice = {"to": "acme@example.com", "amount": 5000, "currency": "EUR"}
    for decide, ran in (("approve", "Pay the invoice"), ("reject", "Tell who asked")):
        posted(pair, "invoice", invoice)
        number = newest(pair, made)
        (asked,) = asked_by(pair, number)
        assert asked["summary"] == "Pay 5000 EUR to acme@example.com" and asked["action"] == "invoice.pay"
        assert asked["payload_sha256"] == digest(invoice)
        pair.n8n.waiting(number)
        getattr(pair.gate.link(asked, "bob"), decide)()
        run = pair.n8n.ended(number)
        assert run.status == "success" and run.ran(ran)
        assert run.ran("Pay the invoice") is (decide == "approve")


def test_branch_on_the_outcome(pair):
    made = imported(pair, "branch-on-the-outcome")
    started = pair.n8n.rest(
        "POST", f"/workflows/{made['id']}/run", {"workflowData": made, "triggerToStartFrom": {"name": "Start"}}
    )
    number = started["executionId"]
    first, second = asked_by(pair, number, 2)
    pair.n8n.waiting(number)
    pair.gate.link(first, "bob").reject()
    pair.gate.link(second, "bob").approve()
    run = pair.n8n.ended(number)
    assert run.status == "success", run.error
    assert [item["first"] for item in run.items("Send the refund")] == [True]
    assert [item["order"] for item in run.items("Write to the customer")] == ["A-1"]


def test_review_an_agents_tools(pair):
    model, bank = Model(), Receiver()
    try:
        url = bank.address()

        def point(node):
            if node["name"] == "Pay Invoice":
                node["parameters"]["url"] = url

        openai = pair.n8n.any_credential("openAiApi", "Fake", {"apiKey": "none", "url": model.url})
        made = imported(pair, "review-an-agents-tools", [openai], point)
        pair.n8n.activate(made)
        pay = {"to": "acme@example.com", "amount": 5000}
        ask = model.plan("Pay_Invoice", {"toolParameters": pay, "hitlParameters": {}})
        posted(pair, "mail", {"text": f"Please pay our invoice. {ask}"})
        number = newest(pair, made)
        (asked,) = asked_by(pair, number)
        assert asked["summary"] == "The agent wants to use Pay_Invoice"
        pair.n8n.waiting(number)
        assert bank.received(url) == []
        pair.gate.link(asked, "bob").approve()
        assert pair.n8n.ended(number).ran("Answer")
        assert [json.loads(one.body) for one in bank.received(url)] == [pay]
    finally:
        model.close()
        bank.close()


def test_bring_messages_to_teams_or_whatsapp(pair):
    """A message as docs/channels.md describes it, signed by the Standard Webhooks library with the reviewer's secret."""
    teams, secret = Receiver(), "whsec_" + "5c" * 32
    try:
        url = teams.address()

        def fill_in(node):
            if node["name"] == "Post to Teams":
                node["parameters"]["url"] = url
            if node["name"] == "Check the signature":
                code = node["parameters"]["jsCode"].replace("whsec_REPLACE_ME", secret)
                assert secret in code
                node["parameters"]["jsCode"] = code

        made = imported(pair, "bring-messages-to-teams-or-whatsapp", changes=fill_in)
        pair.n8n.activate(made)
        link = "https://gate.example.com/r/bob-link"
        data = {
            "reviewer": "bob", "approval_id": "01J", "status": "pending", "title": "Pay 5000 EUR — “now”", "text": "by 10:00",
            "url": link,
        }  # fmt: skip

        def send(key=secret, at=None, **changes):
            body = json.dumps({"type": "reviewer.asked", "timestamp": "x", "data": data | changes}).encode()
            return pair.n8n.send("POST", "/webhook/placet-reviewer-bob", body, signed(key, body, at=at))[0]

        wait_until(lambda: send() == 204, 60, "the webhook")
        assert send("whsec_" + "ab" * 32) == 401 and send(at=1) == 401
        assert (
            send(url="https://evil.example.com/r/x") == 204 and send(status="approved", text="Approved by carol") == 204
        )
        cards = [json.loads(one.body)["attachments"][0]["content"] for one in teams.received(url)]
        assert [[block["text"] for block in card["body"]] for card in cards] == [
            [data["title"], "by 10:00"], [data["title"], "by 10:00"], [data["title"], "Approved by carol"],
        ]  # fmt: skip
        assert [[action["url"] for action in card["actions"]] for card in cards] == [[link], [], []]
    finally:
        teams.close()


def test_tell_the_team_what_was_decided(pair):
    made = imported(pair, "tell-the-team-what-was-decided")
    pair.n8n.activate(made)
    wait_until(lambda: hook_urls(pair, made), 60, "the hook at the gate")
    pair.client.asked("auto.no", summary="Pay ACME")

    def told():
        runs = [pair.n8n.execution(one["id"]) for one in pair.n8n.runs_of(made) if one["status"] == "success"]
        return [run.item("Post it")["text"] for run in runs]

    wait_until(lambda: "Pay ACME: rejected by policy:auto no" in told(), 60, "the message")
    pair.n8n.deactivate(made)
