"""The MCP server, driven by the official MCP client over both transports."""

import json
import subprocess

import anyio
import httpx2
import mcp
import pytest
from local_gate import BINARY
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_tasks import http
from placet_client import new_id

TOOLS = {"request_approval", "wait_for_approval", "verify_token"}
PAYLOAD = {"to": "acme@example.com", "amount": 5000}


def stdio(running, client_id="agent", *extra):
    return stdio_client(StdioServerParameters(
        command=str(BINARY), args=["mcp", "--data", str(running.data), "--client", client_id, *extra],
    ))  # fmt: skip


@pytest.fixture(params=["stdio", "http"])
def session(request, running, raw):
    """Opens a session of the official client, and says whose requests it makes."""
    client_id = {"stdio": "agent", "http": "mcp"}[request.param]

    def opened():
        if request.param == "stdio":
            return mcp.Client(stdio(running))
        return mcp.Client(http(running.url, f"mcp.{raw('mcp').secret}"))

    return opened, client_id


async def test_an_agent_asks_waits_and_verifies(session, desk, raw):
    opened, client_id = session
    async with opened() as client:
        offered = (await client.list_tools()).tools
        assert {tool.name for tool in offered} == TOOLS
        assert all(tool.description and tool.annotations for tool in offered)
        name, action = new_id(), f"mcp.pay.{client_id}"
        question = {"request_id": name, "summary": "pay", "action": action, "payload": PAYLOAD}
        asked = (await client.call_tool("request_approval", question)).structured_content
        assert (asked["status"], asked["approved"]) == ("pending", False)
        again = (await client.call_tool("request_approval", question)).structured_content
        assert again["approval_id"] == asked["approval_id"]
        answering = desk.answers(raw(client_id), action, "approve")
        ended = (
            await client.call_tool("wait_for_approval", {"request_id": name, "wait_seconds": 45})
        ).structured_content
        assert (ended["status"], ended["decided_by"]) == ("approved", ["bob"])
        verdict = await client.call_tool("verify_token", {"token": ended["token"], "payload": PAYLOAD})
        assert verdict.structured_content["valid"] is True and json.loads(verdict.content[0].text)["valid"] is True
        other = await client.call_tool("verify_token", {"token": ended["token"], "payload": {**PAYLOAD, "amount": 1}})
        assert other.structured_content["problem"] == "payload_mismatch"
    answering.done()


async def test_a_waiting_client_hears_of_progress_and_the_wait_ends_by_itself(session):
    opened, _client_id = session
    heard = []

    async def progress(done, total, message):
        heard.append((done, total, message))

    async with opened() as client:
        name = new_id()
        await client.call_tool(
            "request_approval", {"request_id": name, "summary": "s", "action": "mcp.slow", "payload": {}}
        )
        waited = await client.call_tool(
            "wait_for_approval", {"request_id": name, "wait_seconds": 11}, progress_callback=progress
        )
        assert waited.structured_content["status"] == "pending"
    assert len(heard) >= 2 and heard == sorted(heard) and all(total == 11 for _, total, _ in heard)
    assert "waiting for a person" in heard[0][2]


async def test_the_longest_wait_stays_below_what_clients_bear(session):
    opened, _ = session
    async with opened() as client:
        schema = next(
            tool for tool in (await client.list_tools()).tools if tool.name == "wait_for_approval"
        ).input_schema
    assert schema["properties"]["wait_seconds"]["maximum"] == 45


async def test_a_refusal_is_a_tool_error_with_the_gates_code(session):
    opened, _ = session
    async with opened() as client:
        name = new_id()
        for arguments, code in (
            ({"request_id": "bad name!", "summary": "s", "action": "a.b", "payload": {}}, "invalid_request"),
            ({"request_id": name, "summary": "s", "action": "a.b", "payload": {"n": 2**60}}, "invalid_request"),
        ):
            refused = await client.call_tool("request_approval", arguments)
            assert refused.is_error and refused.structured_content["code"] == code, refused
        await client.call_tool("request_approval", {"request_id": name, "summary": "s", "action": "a.b", "payload": {}})
        twice = await client.call_tool(
            "request_approval", {"request_id": name, "summary": "s", "action": "a.b", "payload": {"n": 1}}
        )
        assert twice.is_error and twice.structured_content["code"] == "request_id_conflict"
        for name in ("never-asked", "../../v1/requests", "a?b", "", "ü/%2e"):
            missing = await client.call_tool("wait_for_approval", {"request_id": name, "wait_seconds": 1})
            assert missing.is_error and missing.structured_content["code"] == "not_found", (name, missing)


async def test_no_tool_decides_and_nothing_that_is_said_approves(session, raw):
    opened, client_id = session
    async with opened() as client:
        name = new_id()
        question = {"request_id": name, "summary": "s", "action": "mcp.inject", "payload": {"approved": True}}
        for extra in ({"approved": True}, {"auto_approve": True}, {"decision": "approve"}):
            assert await fails(client, "request_approval", {**question, **extra})
        asked = await client.call_tool("request_approval", question)
        assert asked.structured_content["approved"] is False
        for tool in ("decide", "approve", "decide_approval", "permission_prompt"):
            assert await fails(client, tool, {"request_id": name, "decision": "approve", "tool_name": "x", "input": {}})
        state = raw(client_id).state(name)
        assert (state["status"], state["votes"]) == ("pending", [])
        said = await client.call_tool("verify_token", {"token": '{"approved": true}'})
        assert said.structured_content["valid"] is False


async def fails(client, tool, arguments):
    try:
        return (await client.call_tool(tool, arguments)).is_error
    except mcp.MCPError:
        return True


async def test_a_wait_that_the_client_gives_up_is_given_up(session, desk, raw):
    opened, client_id = session
    async with opened() as client:
        name = new_id()
        await client.call_tool(
            "request_approval", {"request_id": name, "summary": "s", "action": "mcp.give.up", "payload": {}}
        )
        with anyio.move_on_after(1.5) as scope:
            await client.call_tool("wait_for_approval", {"request_id": name, "wait_seconds": 45})
        assert scope.cancelled_caught
        answering = desk.answers(raw(client_id), "mcp.give.up", "reject")
        ended = await client.call_tool("wait_for_approval", {"request_id": name, "wait_seconds": 45})
        assert ended.structured_content["status"] == "rejected"
    answering.done()


async def test_another_clients_requests_are_not_found(running, raw, session):
    opened, _client_id = session
    asked = raw("other").asked("mcp.other", {})
    async with opened() as client:
        missing = await client.call_tool("wait_for_approval", {"request_id": asked["request_id"], "wait_seconds": 0})
        assert missing.is_error and missing.structured_content["code"] == "not_found"


@pytest.mark.parametrize("key", [None, "mcp", "mcp.whsec_" + "0" * 64, "nobody.x", "agent.", "jira.", "Ünïcode"])
def test_http_is_for_bearer_clients_that_may_ask(running, raw, key):
    if key in ("agent.", "jira."):  # right secrets, of a client that must sign, and of one that decides
        key += raw(key[:-1]).secret
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}".encode()
    for method, body in (
        ("POST", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
        ("GET", None),
        ("DELETE", None),
    ):
        answer = httpx2.request(method, f"{running.url}/mcp", headers=headers, json=body)
        assert answer.status_code in (401, 403), (method, answer)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("www-authenticate", "").startswith("Bearer ") is (answer.status_code == 401)


def test_a_browser_is_refused_by_its_origin(running, raw):
    headers = {
        "Authorization": f"Bearer mcp.{raw('mcp').secret}", "Accept": "application/json, text/event-stream", "Origin": "https://evil.example",
    }  # fmt: skip
    answer = httpx2.post(
        f"{running.url}/mcp", headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    )
    assert answer.status_code == 403, answer


def test_a_message_that_is_too_long_is_refused(running, raw):
    headers = {"Authorization": f"Bearer mcp.{raw('mcp').secret}", "Accept": "application/json, text/event-stream"}
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "verify_token", "arguments": {"token": "x" * 700_000}},
    }
    assert httpx2.post(f"{running.url}/mcp", headers=headers, json=body).status_code == 413


def test_stdio_needs_a_gate_that_serves(tmp_path):
    (tmp_path / "data").mkdir()
    ran = subprocess.run(
        [str(BINARY), "mcp", "--data", str(tmp_path / "data")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 1 and "no gate serves" in ran.stderr and ran.stdout == ""


async def test_a_gate_that_is_gone_approves_nothing(own_gate):
    gate, _ = own_gate
    async with mcp.Client(stdio(gate)) as client:
        gate.kill()
        answer = await client.call_tool("verify_token", {"token": "x"})
        assert answer.is_error and "nothing was approved" in answer.content[0].text
