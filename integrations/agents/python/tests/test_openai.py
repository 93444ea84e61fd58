"""OpenAI's own SDKs drive the adapters; only the model is played."""

import asyncio
import json

import openai
import pytest
from agents import Agent, OpenAIResponsesModel, UserError, function_tool, set_tracing_disabled
from placet import openai as placet_openai
from placet import openai_agents
from recorded import model_server

set_tracing_disabled(True)

PAYLOAD = {"to": "acme@example.com", "amount": 5000}


def ask(name, payload=PAYLOAD, action="invoice.send"):
    arguments = {"request_id": name, "summary": "Send invoice 4711", "action": action, "payload": payload}
    return json.dumps(arguments)


def responses_call(tool, arguments, call_id="call_1"):
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": tool,
        "arguments": arguments,
        "status": "completed",
    }


def responses_text(text):
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]


def executor(gate, action="invoice.send"):
    sent = []

    @gate.requires_token(action)
    def send_invoice(to, amount):
        sent.append((to, amount))
        return f"sent to {to}"

    return send_invoice, sent


def test_a_responses_agent_asks_and_the_executor_takes_its_token(gate, desk, raw):
    send_invoice, sent = executor(gate)
    answering = desk.answers(raw("agent"), "invoice.send", "approve")
    use = json.dumps({**PAYLOAD, "approval_token": "{{approval_token}}"})
    script = [
        [responses_call("request_approval", ask("responses-1"))],
        [responses_call("send_invoice", use)],
        responses_text("Done."),
    ]
    with model_server(script) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        items, answer = [{"role": "user", "content": "Send invoice 4711."}], None
        tools = [placet_openai.responses_tool()]
        while answer is None or any(item.type == "function_call" for item in answer.output):
            for item in answer.output if answer else ():
                items.append(item.model_dump(exclude_none=True))
                if item.name == "request_approval":
                    items.append(placet_openai.answer_responses_call(gate, item))
                else:
                    output = send_invoice(**json.loads(item.arguments))
                    items.append({"type": "function_call_output", "call_id": item.call_id, "output": output})
            answer = client.responses.create(model="gpt-test", input=items, tools=tools)
        assert url.calls[0]["tools"] == tools
    answering.done()
    assert answer.output_text == "Done." and sent == [("acme@example.com", 5000)]


async def test_a_chat_agent_is_told_no_with_the_reason(agate, desk, raw):
    answering = desk.answers(raw("agent"), "invoice.chat", "reject", reason="wrong address")
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "request_approval", "arguments": ask("chat-1", action="invoice.chat")},
    }
    with model_server([{"content": None, "tool_calls": [call]}, {"content": "It was refused."}]) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        messages = [{"role": "user", "content": "Send invoice 4711."}]
        first = (
            (await client.chat.completions.create(model="m", messages=messages, tools=[placet_openai.chat_tool()]))
            .choices[0]
            .message
        )
        told = await placet_openai.answer_chat_call(agate, first.tool_calls[0])
        messages += [first.model_dump(exclude_none=True), told]
        last = await client.chat.completions.create(model="m", messages=messages)
    answering.done()
    said = json.loads(told["content"])
    assert (said["approved"], said["status"], said["reason"]) == (False, "rejected", "wrong address")
    assert "approval_token" not in said and last.choices[0].message.content == "It was refused."


def test_a_model_that_asks_wrongly_is_told_so_and_nothing_is_approved(gate):
    for arguments in (
        "", "[]", "{", '{"request_id":"a","request_id":"b"}', "{}", ask("x", payload=[]), ask("bad name!"), ask("x", {"n": 2**60}),
        ask("x", action="auto."), json.dumps({**json.loads(ask("x")), "auto_approve": True}), json.dumps({**json.loads(ask("x")), "summary": 1}),
    ):  # fmt: skip
        call = openai.types.responses.ResponseFunctionToolCall(
            arguments=arguments, call_id="c", name="request_approval", type="function_call"
        )
        said = json.loads(placet_openai.answer_responses_call(gate, call)["output"])
        assert said["approved"] is False and said["error"] and "approval_token" not in said, arguments


def test_while_nobody_answers_the_model_is_told_to_call_again(gate, raw):
    call = openai.types.responses.ResponseFunctionToolCall(
        arguments=ask("pending-1", action="invoice.later"), call_id="c", name="request_approval", type="function_call"
    )
    said = json.loads(placet_openai.answer_responses_call(gate, call, wait_seconds=0)["output"])
    assert (said["status"], said["approved"]) == ("pending", False) and "call request_approval again" in said["next"]
    assert said["request_id"] == "pending-1"
    again = json.loads(placet_openai.answer_responses_call(gate, call, wait_seconds=0)["output"])
    assert again == said
    pending = [
        row
        for row in raw("agent").list(status="pending", limit=100).json()["requests"]
        if row["action"] == "invoice.later"
    ]
    assert len(pending) == 1
    gate.cancel(pending[0]["request_id"])


# ---------------------------------------------------------------- the Agents SDK


def agent(url, tools):
    model = OpenAIResponsesModel("gpt-test", openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))
    return Agent(name="Clerk", model=model, tools=tools)


def invoice_tool():
    sent = []

    @function_tool(needs_approval=True)
    def send_invoice(to: str, amount: int) -> str:
        """Send an invoice."""
        sent.append((to, amount))
        return "sent"

    return send_invoice, sent


async def test_a_tool_marked_as_needing_approval_waits_for_placet(agate, desk, raw):
    tool, sent = invoice_tool()
    answering = desk.answers(raw("agent"), "send_invoice", "approve", "reject", reason="as agreed")
    script = [
        [responses_call("send_invoice", json.dumps(PAYLOAD), f"call_{n}") for n in (1, 2)],
        responses_text("x"),
        responses_text("One was sent."),
    ]
    with model_server(script) as url:
        result = await openai_agents.run(agent(url, [tool]), "Send both.", agate)
        outputs = [item["output"] for item in url.calls[-1]["input"] if item.get("type") == "function_call_output"]
    answering.done()
    assert result.final_output == "One was sent." and sent == [("acme@example.com", 5000)]
    assert (
        sorted(outputs)[1] == "sent"
        and "Not approved, and not done." in sorted(outputs)[0]
        and "as agreed" in sorted(outputs)[0]
    )


@pytest.mark.parametrize(
    "arguments", ['{"to":"a","amount":1,"amount":1000000}', '{"to":"a","amount":9007199254740993}']
)
async def test_arguments_with_two_readings_are_never_run(agate, arguments):
    tool, sent = invoice_tool()
    with model_server([[responses_call("send_invoice", arguments)], responses_text("Refused.")]) as url:
        result = await openai_agents.run(agent(url, [tool]), "Send it.", agate)
    assert result.final_output == "Refused." and sent == []


async def test_without_a_gate_a_tool_is_rejected(free_url):
    from placet import AsyncPlacet

    tool, sent = invoice_tool()
    async with AsyncPlacet(free_url, "agent", "whsec_x", patience_seconds=0.3) as away:
        with model_server(
            [[responses_call("send_invoice", json.dumps(PAYLOAD))], responses_text("Not possible.")]
        ) as url:
            result = await openai_agents.run(agent(url, [tool]), "Send it.", away)
    assert result.final_output == "Not possible." and sent == []


async def test_after_the_time_a_tool_is_rejected(agate):
    tool, sent = invoice_tool()
    with model_server([[responses_call("send_invoice", json.dumps(PAYLOAD))], responses_text("Too late.")]) as url:
        result = await openai_agents.run(agent(url, [tool]), "Send it.", agate, timeout_seconds=1)
    assert result.final_output == "Too late." and sent == []


async def test_the_approval_tool_serves_an_executor_of_the_agents_sdk(agate, desk, raw):
    sent = []

    @function_tool(failure_error_function=None)
    @agate.requires_token("invoice.tool")
    async def send_invoice(to: str, amount: int) -> str:
        """Send an invoice."""
        sent.append((to, amount))
        return "sent"

    assert "approval_token" in send_invoice.params_json_schema["required"]
    answering = desk.answers(raw("agent"), "invoice.tool", "approve")
    use = json.dumps({**PAYLOAD, "approval_token": "{{approval_token}}"})
    script = [
        [responses_call("request_approval", ask("tool-1", action="invoice.tool"))],
        [responses_call("send_invoice", use, "call_2")],
        responses_text("Done."),
    ]
    with model_server(script) as url:
        clerk = agent(url, [openai_agents.approval_tool(agate), send_invoice])
        result = await openai_agents.run(clerk, "Send it.", agate)
    answering.done()
    assert result.final_output == "Done." and sent == [("acme@example.com", 5000)]
    with (
        model_server([[responses_call("send_invoice", json.dumps({**PAYLOAD, "approval_token": "approved"}))]]) as url,
        pytest.raises(UserError, match="approval token is not valid"),
    ):
        await asyncio.wait_for(openai_agents.run(agent(url, [send_invoice]), "Send it.", agate), 60)
    assert len(sent) == 1


@pytest.mark.parametrize("second", [{**PAYLOAD, "amount": 999_999}, PAYLOAD])
async def test_a_call_id_that_comes_again_runs_nothing_that_nobody_approved(agate, desk, raw, second):
    """The model's server names the calls. One that counts from zero in every answer must not get a second call through."""
    tool, sent = invoice_tool()
    action = "send_invoice"
    answering = desk.answers(raw("agent"), action, "approve")
    script = [
        [responses_call(action, json.dumps(PAYLOAD), "call_0")],
        [responses_call(action, json.dumps(second), "call_0")],
        responses_text("Done."),
    ]
    with model_server(script) as url:
        try:
            await openai_agents.run(agent(url, [tool]), "Send it.", agate, timeout_seconds=2)
        except Exception as error:  # the SDK may take it for what it is: a fault of the model
            assert type(error).__module__.startswith("agents"), error
    answering.done()
    assert sent == [("acme@example.com", 5000)]


async def test_two_calls_of_one_answer_under_one_id_do_not_share_an_approval(agate, desk, raw):
    tool, sent = invoice_tool()
    calls = [
        responses_call("send_invoice", json.dumps({**PAYLOAD, "amount": amount}), "call_0")
        for amount in (5000, 999_999)
    ]
    answering = desk.answers(raw("agent"), "send_invoice", "approve")
    with model_server([calls, responses_text("Done.")]) as url:
        try:
            await openai_agents.run(agent(url, [tool]), "Send them.", agate, timeout_seconds=2)
        except Exception as error:
            assert type(error).__module__.startswith("agents"), error
    approved = [one["payload_sha256"] for one in answering.asked]
    from placet import digest

    assert len(sent) <= 1 and all(digest({"to": to, "amount": amount}) in approved for to, amount in sent)


async def test_a_hosted_servers_tool_is_another_action_than_a_function_of_its_name(agate, raw):
    """Two MCP servers may name two tools alike: a rule for the one must not let the other run."""
    from agents.items import ToolApprovalItem
    from openai.types.responses.response_output_item import McpApprovalRequest

    request = McpApprovalRequest(
        id="r1", arguments="{}", name="look", server_label="my crm", type="mcp_approval_request"
    )
    clerk = Agent(name="Clerk")
    items = {
        "mcp.my-crm-": ToolApprovalItem(clerk, request),
        "billing.look": ToolApprovalItem(
            clerk, {"type": "function_call", "name": "look", "namespace": "billing", "arguments": "{}", "call_id": "c"}
        ),
        "look": ToolApprovalItem(clerk, {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "c"}),
    }
    actions = {name: openai_agents._action(item, item.name) for name, item in items.items()}
    assert all(action.startswith(name) for name, action in actions.items()) and len(set(actions.values())) == 3, actions


def test_no_two_tools_share_an_action():
    from placet.tools import action_of

    names = [
        "pay",
        "pay ",
        " pay",
        "pay!",
        "pay?",
        "pay.",
        "p\u0430y",
        "",
        "x" * 80,
        "x" * 81,
        "x" * 82,
        "pay-",
        "PAY",
        "päy",
        "p\u0308ay",
        "auto.pay",
        "auto/pay",
    ]
    actions = [action_of(name, "claude.") for name in names]
    assert (
        len(set(actions)) == len(names)
        and actions[0] == "claude.pay"
        and all(len(one) <= 128 and "auto.pay" not in one for one in actions)
    )


def test_a_model_names_no_request_but_its_own(gate, raw, desk):
    """What it calls its request is a label: with it, no other's request is joined, read or stood in the way of."""
    gate.ask(request_id="invoice-77", action="label.pay", payload=PAYLOAD, summary="s")
    told = {}
    for conversation in (None, "a", "b"):
        call = openai.types.responses.ResponseFunctionToolCall(
            arguments=ask("invoice-77", action="label.pay"), call_id="c", name="request_approval", type="function_call"
        )
        told[conversation] = json.loads(
            placet_openai.answer_responses_call(gate, call, wait_seconds=0, conversation=conversation)["output"]
        )
    rows = [
        row["request_id"]
        for row in raw("agent").list(status="pending", limit=100).json()["requests"]
        if row["action"] == "label.pay"
    ]
    assert len(set(rows)) == 4 and {one["request_id"] for one in told.values()} == {"invoice-77"}
    other = json.loads(
        placet_openai.answer_responses_call(
            gate,
            openai.types.responses.ResponseFunctionToolCall(
                arguments=ask("invoice-77", {**PAYLOAD, "amount": 1}, "label.pay"),
                call_id="c",
                name="request_approval",
                type="function_call",
            ),
            wait_seconds=0,
        )["output"]
    )
    assert other["status"] == "pending"
    for row in raw("agent").list(status="pending", limit=100).json()["requests"]:
        if row["action"] == "label.pay":
            gate.cancel(row["request_id"])


def test_a_model_that_names_nothing_is_told_a_name_to_go_on_with(gate, raw):
    def call(**extra):
        arguments = {"summary": "s", "action": "nameless.pay", "payload": PAYLOAD, **extra}
        item = openai.types.responses.ResponseFunctionToolCall(
            arguments=json.dumps(arguments), call_id="c", name="request_approval", type="function_call"
        )
        return json.loads(placet_openai.answer_responses_call(gate, item, wait_seconds=0)["output"])

    first = call()
    assert call(request_id=first["request_id"])["request_id"] == first["request_id"] != call()["request_id"]
    rows = [
        row
        for row in raw("agent").list(status="pending", limit=100).json()["requests"]
        if row["action"] == "nameless.pay"
    ]
    assert len(rows) == 2
    for row in rows:
        gate.cancel(row["request_id"])
