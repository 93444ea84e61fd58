"""CrewAI, driven by its official package; only the model is played. It wants other versions than the rest, so a venv of its own."""

import json
import os

import pytest

os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false")
crewai = pytest.importorskip("crewai")

from crewai import LLM, Agent, Crew, Task  # noqa: E402
from crewai.tools import tool  # noqa: E402
from placet import Placet, digest  # noqa: E402
from placet.crewai import gated  # noqa: E402
from recorded import model_server  # noqa: E402

PAYLOAD = {"to": "acme@example.com", "amount": 5000}


def run(gate, *calls, timeout_seconds=None, name="send_invoice"):
    """Has a crew make the calls; what was sent, and what the model was told of each call."""
    sent = []

    @tool(name)
    def send(to: str, amount: int) -> str:
        """Send an invoice."""
        sent.append({"to": to, "amount": amount})
        return "sent"

    answers = []
    for number, arguments in enumerate(calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        answers.append(
            {"content": None, "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}]}
        )
    with model_server([*answers, {"content": "Done."}]) as url:
        llm = LLM(model="openai/gpt-4o", base_url=f"{url}/v1", api_key="none")
        clerk = Agent(
            role="Clerk",
            goal="Send",
            backstory="x",
            llm=llm,
            tools=[gated(gate, send, timeout_seconds=timeout_seconds)],
        )
        crew = Crew(agents=[clerk], tasks=[Task(description="Send it", expected_output="x", agent=clerk)], cache=True)
        crew.kickoff()
        results = [str(message["content"]) for message in url.calls[-1]["messages"] if message["role"] == "tool"]
    return sent, results


def test_what_is_approved_runs_and_what_is_rejected_does_not(gate, desk, raw):
    answering = desk.answers(raw("agent"), "send_invoice", "approve", "reject", reason="too much")
    sent, results = run(gate, PAYLOAD, {**PAYLOAD, "amount": 6000})
    asked = answering.done()
    assert sent == [PAYLOAD] and asked[0]["payload_sha256"] == digest(PAYLOAD)
    assert "sent" in results[0] and "Not approved, and not done" in results[1] and "too much" in results[1]


def test_the_same_call_again_is_asked_again(gate, desk, raw):
    answering = desk.answers(raw("agent"), "send_invoice", "approve", "reject")
    sent, results = run(gate, PAYLOAD, PAYLOAD)
    answering.done()
    assert sent == [PAYLOAD] and "Not approved" in results[1]


def test_what_nobody_answers_and_a_gate_that_is_away_run_nothing(gate, raw, free_url):
    assert run(gate, PAYLOAD, timeout_seconds=1)[0] == []
    with Placet(free_url, "agent", raw("agent").secret, algorithm="HS256", patience_seconds=0.3) as away:
        sent, results = run(away, PAYLOAD)
    assert sent == [] and "Not approved, and not done" in results[0]


def test_a_hook_that_changes_the_arguments_changes_what_is_asked(gate, desk, raw):
    from crewai.hooks import register_before_tool_call_hook, unregister_before_tool_call_hook

    def meddle(context):
        context.tool_input["amount"] = 7

    register_before_tool_call_hook(meddle)
    try:
        answering = desk.answers(raw("agent"), "send_invoice", "approve")
        sent, _ = run(gate, PAYLOAD)
    finally:
        unregister_before_tool_call_hook(meddle)
    assert answering.done()[0]["payload_sha256"] == digest({**PAYLOAD, "amount": 7}) and sent == [
        {**PAYLOAD, "amount": 7}
    ]
