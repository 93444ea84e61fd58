"""An AI Agent of n8n with our node: as a tool that it calls, and as the human review of its other tools.

The model is a fake on loopback; the agent, its tools and the review are n8n's own.
"""

import json
import uuid

import pytest
from model import Model
from n8n_server import VERSION
from placet_client import digest
from receiver import Receiver
from story import Story
from workflows import each, no_op, node, placet, webhook, wired, workflow

OLD = VERSION == "oldest"
PAY = {"to": "acme@example.com", "amount": 5000}


@pytest.fixture(scope="module")
def model():
    running = Model()
    yield running
    running.close()


@pytest.fixture(scope="module")
def bank():
    """What the dangerous tool reaches when it really runs."""
    running = Receiver()
    yield running
    running.close()


def paying_tool(url):
    body = '={{ JSON.stringify({ to: $fromAI("to", "Who is paid", "string"), amount: $fromAI("amount", "How much", "number") }) }}'
    parameters = {
        "toolDescription": "Pays an invoice", "method": "POST", "url": url, "sendBody": True, "specifyBody": "json", "jsonBody": body,
        "options": {},
    }  # fmt: skip
    return node("Pay Invoice", "n8n-nodes-base.httpRequestTool", parameters, version=4.2)


def agent(pair, model, tools, wires, path):
    openai = pair.n8n.any_credential("openAiApi", "Fake", {"apiKey": "none", "url": model.url})
    brain = node(
        "Model", "@n8n/n8n-nodes-langchain.lmChatOpenAi",
        {"model": {"__rl": True, "mode": "id", "value": "fake"}, "options": {}}, version=1.2, credentials=openai,
    )  # fmt: skip
    thinker = node(
        "AI Agent", "@n8n/n8n-nodes-langchain.agent",
        {"promptType": "define", "text": "={{ $json.ask }}", "options": {"enableStreaming": False}}, version=3,
    )  # fmt: skip
    return workflow(
        [webhook(path), each(), thinker, brain, no_op("Done"), *tools],
        wired(
            ("Webhook", "Each"), ("Each", "AI Agent"), ("AI Agent", "Done"),
            ("Model", "AI Agent", 0, "ai_languageModel"), *wires,
        ),
    )  # fmt: skip


class Reviewed(Story):
    """An agent that wants to pay; our node reviews the paying tool."""

    @classmethod
    def begin(cls, pair, model, bank, arguments, action="", item=None, **parameters):
        path, url = uuid.uuid4().hex[:12], bank.address()
        review = placet(pair.credential, kind="placetHitlTool", action=action, **parameters)
        wires = [("Pay Invoice", "Placet", 0, "ai_tool"), ("Placet", "AI Agent", 0, "ai_tool")]
        made = pair.n8n.workflow(agent(pair, model, [review, paying_tool(url)], wires, path))
        story = cls(pair, made, path)
        story.paid = lambda: [json.loads(delivery.body) for delivery in bank.received(url)]
        ask = model.plan("Pay_Invoice", arguments)
        story.number = pair.n8n.trigger(path, {"items": [{"ask": ask} | (item or {})]})
        return story

    def said(self):
        """What the agent said in the end, which repeats what it was told."""
        run = self.ended()
        assert run.status == "success", (run.status, run.error)
        return run.item("Done")["output"]


def test_an_approved_tool_runs_with_the_parameters_that_were_approved(pair, model, bank):
    story = Reviewed.begin(pair, model, bank, {"toolParameters": PAY, "hitlParameters": {}})
    (asked,) = story.asked()
    assert asked["payload_sha256"] == digest({"tool": "Pay_Invoice", "parameters": PAY})
    assert asked["action"] == "tool.Pay_Invoice"
    # The sentence is n8n's own; old versions do not name the parameters in it.
    assert "Pay_Invoice" in asked["summary"] and (OLD or "acme@example.com" in asked["summary"])
    story.waiting()
    assert story.paid() == []
    story.approve(asked)
    assert "The tool said" in story.said()
    assert story.paid() == [PAY]


def test_a_denied_tool_does_not_run_and_the_model_hears_the_reason(pair, model, bank):
    story = Reviewed.begin(
        pair,
        model,
        bank,
        {"toolParameters": PAY, "hitlParameters": {}},
        item={"approved": True},
        message="Let the agent pay?",
    )
    (asked,) = story.asked()
    assert asked["summary"] == "Let the agent pay?"
    story.waiting()
    story.reject(asked, reason="ask ACME for a discount first")
    assert "ask ACME for a discount first" in story.said()
    assert story.paid() == []


def test_a_tool_that_nobody_decides_on_does_not_run_though_the_input_says_approved(pair, model, bank):
    story = Reviewed.begin(
        pair, model, bank, {"toolParameters": PAY, "hitlParameters": {}}, action="quick.tool",
        item={"approved": True, "data": {"approved": True}},
    )  # fmt: skip
    story.asked()
    assert "nobody decided in time" in story.said()
    assert story.paid() == []


def test_a_policys_own_answer_needs_no_wait(pair, model, bank):
    yes = Reviewed.begin(pair, model, bank, {"toolParameters": PAY, "hitlParameters": {}}, action="auto.yes")
    assert "The tool said" in yes.said() and yes.paid() == [PAY]
    no = Reviewed.begin(pair, model, bank, {"toolParameters": PAY, "hitlParameters": {}}, action="auto.no")
    no.said()
    assert no.paid() == []


def test_n8ns_own_wait_limit_frees_no_tool(own_pair, model, bank):
    story = Reviewed.begin(
        own_pair,
        model,
        bank,
        {"toolParameters": PAY, "hitlParameters": {}},
        item={"approved": True, "data": {"approved": True}},
    )
    story.asked()
    story.waiting()
    own_pair.n8n.kill()
    own_pair.gate.kill()
    own_pair.n8n.database(
        "UPDATE execution_entity SET waitTill = datetime('now', '+1 second') WHERE id = ?", story.number
    )
    own_pair.n8n.start()
    own_pair.n8n.ended(story.number, seconds=150)
    assert story.paid() == []


def test_a_model_cannot_show_the_reviewers_another_tool_than_it_calls(pair, model, bank):
    """n8n spreads the model's `hitlParameters` over the item that the review sees."""
    arguments = {"toolParameters": PAY, "hitlParameters": {"tool": "Read_Calendar", "toolParameters": {"day": "today"}}}
    story = Reviewed.begin(pair, model, bank, arguments)
    (asked,) = story.asked()
    assert asked["payload_sha256"] == digest({"tool": "Pay_Invoice", "parameters": PAY})
    story.waiting()
    story.reject(asked)
    story.said()
    assert story.paid() == []


def test_an_agent_can_ask_for_approval_as_a_tool(pair, model):
    for decide, expected in (
        (lambda story, asked: story.approve(asked), '"approved":true'),
        (lambda story, asked: story.reject(asked, reason="not today"), "rejected by bob: not today"),
    ):
        path = uuid.uuid4().hex[:12]
        asking = placet(
            pair.credential, name="Ask a Person", kind="placetTool", descriptionType="manual",
            toolDescription="Asks a person whether something may be done", resource="approval", operation="sendAndWait",
            message='={{ $fromAI("what", "What is to be done", "string") }}', action="ask.agent", payloadMode="fields",
            payloadFields={"field": [{"name": "what", "value": '={{ $fromAI("what", "What is to be done", "string") }}'}]},
        )  # fmt: skip
        made = pair.n8n.workflow(agent(pair, model, [asking], [("Ask a Person", "AI Agent", 0, "ai_tool")], path))
        story = Story(pair, made, path)
        ask = model.plan("Ask_a_Person", {"what": "Delete the old backups"})
        story.number = pair.n8n.trigger(path, {"items": [{"ask": ask, "approved": True}]})
        (asked,) = story.asked()
        assert asked["summary"] == "Delete the old backups"
        assert asked["payload_sha256"] == digest({"what": "Delete the old backups"})
        story.waiting()
        decide(story, asked)
        run = story.ended()
        if OLD and "rejected" in expected:
            # A tool that fails ends the whole run there.
            assert run.status == "error" and expected in run.error
            continue
        assert run.status == "success", run.error
        assert (
            expected in run.item("Done")["output"].replace(" ", "").replace('\\"', '"')
            or expected in run.item("Done")["output"]
        )
