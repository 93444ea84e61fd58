"""Pydantic AI and Google's ADK, driven by their official packages; only the model is played."""

import asyncio
import json

import pytest
from google.adk.agents import LlmAgent
from google.adk.apps import App
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.genai import types
from meddler import Meddler
from placet import AsyncPlacet
from placet.google_adk import PlacetPlugin
from placet.pydantic_ai import approvals, decide
from pydantic_ai import Agent
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import DeferredToolRequests, ToolDenied
from recorded import model_server

PAYLOAD = {"to": "acme@example.com", "amount": 5000}


def chat_call(tool, arguments, call_id="call_1"):
    arguments = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": tool, "arguments": arguments}}


def calling(*calls):
    return {"content": None, "tool_calls": list(calls)}


class Played(BaseLlm):
    """A model of the ADK's that says what it is told to: function calls, then a text."""

    script: list

    async def generate_content_async(self, llm_request, stream=False):
        results = sum(bool(part.function_response) for one in llm_request.contents for part in one.parts or ())
        calls = self.script[0] if results == 0 else None
        if calls:
            parts = [types.Part.from_function_call(name=name, args=args) for name, args in calls]
        else:
            parts = [types.Part.from_text(text="Done.")]
        yield LlmResponse(content=types.Content(role="model", parts=parts))


class Framework:
    """An agent with the tool `send_invoice` behind the gate, and what it has sent."""

    def __init__(self, gate, timeout_seconds=None):
        self.gate, self.timeout_seconds, self.sent = gate, timeout_seconds, []

    def tool(self):
        def send_invoice(to: str, amount: int) -> str:
            """Send an invoice."""
            self.sent.append({"to": to, "amount": amount})
            return "sent"

        return send_invoice


class PydanticAI(Framework):
    async def run(self, *calls):
        script = [
            calling(*(chat_call(*call, f"call_{n}") for n, call in enumerate(calls))),
            *[{"content": "Done."}] * 3,
        ]
        with model_server(script) as url:
            model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
            agent = Agent(model, capabilities=[approvals(self.gate, timeout_seconds=self.timeout_seconds)])
            agent.tool_plain(requires_approval=True)(self.tool())
            return (await agent.run("Send it.")).output


class GoogleAdk(Framework):
    async def run(self, *calls):
        agent = LlmAgent(name="clerk", model=Played(model="played", script=[calls]), tools=[self.tool()])
        plugin = PlacetPlugin(self.gate, timeout_seconds=self.timeout_seconds)
        runner = InMemoryRunner(app=App(name="clerk", root_agent=agent, plugins=[plugin]))
        session = await runner.session_service.create_session(app_name="clerk", user_id="u")
        message = types.Content(role="user", parts=[types.Part.from_text(text="Send it.")])
        said = ""
        async for event in runner.run_async(user_id="u", session_id=session.id, new_message=message):
            for part in (event.content.parts or ()) if event.content else ():
                said = part.text or said
        return said


FRAMEWORKS = pytest.mark.parametrize("kind", [PydanticAI, GoogleAdk])


@FRAMEWORKS
async def test_what_is_approved_runs_and_what_is_rejected_does_not(agate, desk, raw, kind):
    framework = kind(agate)
    answering = desk.answers(raw("agent"), "send_invoice", "approve", "reject")
    other = {**PAYLOAD, "amount": 6000}
    assert await framework.run(("send_invoice", PAYLOAD), ("send_invoice", other)) == "Done."
    asked = answering.done()
    from placet import digest

    approved = [one for one in asked if one["approved"]]
    assert [digest(one) for one in framework.sent] == [one["payload_sha256"] for one in approved] and len(asked) == 2


@FRAMEWORKS
async def test_what_nobody_answers_is_withdrawn_and_does_not_run(agate, raw, kind):
    framework = kind(agate, timeout_seconds=1)
    assert await framework.run(("send_invoice", {**PAYLOAD, "to": kind.__name__})) == "Done."
    assert framework.sent == []
    rows = raw("agent").list(status="pending", limit=100).json()["requests"]
    assert not [row for row in rows if row["action"] == "send_invoice"]


@FRAMEWORKS
async def test_a_gate_that_is_away_or_lies_runs_nothing(running, raw, kind, free_url):
    lie = {"approved": True, "status": "approved", "token": "x"}
    with Meddler(running.url, lambda *_: (200, json.dumps(lie).encode(), {})) as liar:
        for url in (free_url, liar.url):
            async with AsyncPlacet(url, "agent", raw("agent").secret, algorithm="HS256", patience_seconds=0.3) as away:
                framework = kind(away)
                assert await framework.run(("send_invoice", PAYLOAD)) == "Done."
                assert framework.sent == []


@FRAMEWORKS
async def test_an_agent_that_is_stopped_withdraws_its_question(agate, desk, raw, kind):
    framework = kind(agate)
    errand = asyncio.create_task(framework.run(("send_invoice", {**PAYLOAD, "to": "stopped"})))
    approval = (await asyncio.to_thread(desk.waiting, raw("agent"), "send_invoice"))[0]
    errand.cancel()
    with pytest.raises(asyncio.CancelledError):
        await errand
    await asyncio.sleep(0)
    await agate.close()
    assert raw("agent").state(approval["request_id"])["status"] == "cancelled" and framework.sent == []


async def test_arguments_with_two_readings_and_ids_that_come_twice_are_denied(agate):
    twice = [ToolCallPart("auto.pay", PAYLOAD, "c1"), ToolCallPart("auto.pay", {**PAYLOAD, "amount": 1}, "c1")]
    for calls in (
        twice,
        [ToolCallPart("auto.pay", '{"amount":1,"amount":2}', "c1")],
        [ToolCallPart("auto.pay", "[1]", "c1")],
        [ToolCallPart("auto.pay", {"n": 2**60}, "c1")],
    ):
        results = await decide(DeferredToolRequests(approvals=calls), agate)
        assert {type(verdict) for verdict in results.approvals.values()} == {ToolDenied}, calls


async def test_only_the_named_tools_of_the_adk_wait(agate, desk, raw):
    done = []

    def look(path: str) -> str:
        """Look at something."""
        done.append(path)
        return "seen"

    agent = LlmAgent(name="clerk", model=Played(model="played", script=[[("look", {"path": "x"})]]), tools=[look])
    plugin = PlacetPlugin(agate, tools=["send_invoice"])
    runner = InMemoryRunner(app=App(name="clerk", root_agent=agent, plugins=[plugin]))
    session = await runner.session_service.create_session(app_name="clerk", user_id="u")
    message = types.Content(role="user", parts=[types.Part.from_text(text="Look.")])
    async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=message):
        pass
    assert done == ["x"]
