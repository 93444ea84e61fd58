"""MCP Tasks with the official Python client."""

import asyncio

import mcp
import pytest
from mcp_tasks import Leaves, Tasks, get_task, http
from test_mcp import stdio

PAYLOAD = {"to": "acme@example.com", "amount": 5000}


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_task_outlives_the_session_that_closed_right_after_it_was_handed_over(running, desk, raw, transport):
    """Over stdio the server ends with its client as well."""
    client_id, action = {"stdio": ("agent", "py.left.io"), "http": ("mcp", "py.left.http")}[transport]

    def opened(tasks):
        to = stdio(running) if transport == "stdio" else http(running.url, f"mcp.{raw('mcp').secret}")
        return mcp.Client(to, extensions=[tasks])

    left = Leaves()
    async with opened(left) as client:
        await client.call_tool("request_approval", {"summary": "pay", "action": action, "payload": PAYLOAD})
    (approval,) = await asyncio.to_thread(desk.waiting, raw(client_id), action)
    assert left.seen == [approval["approval_id"]]

    async with opened(Tasks()) as client:
        assert (await get_task(client, approval["approval_id"])).status == "working"
        await asyncio.to_thread(desk.decide, approval, "approve")
        ended = await get_task(client, approval["approval_id"])
    assert (ended.status, ended.result["structuredContent"]["status"]) == ("completed", "approved")


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_question_is_a_task_until_a_person_has_decided(running, desk, raw, transport, decision):
    client_id, action = {"stdio": ("agent", "py.task.io"), "http": ("mcp", "py.task.http")}[transport]
    to = stdio(running) if transport == "stdio" else http(running.url, f"mcp.{raw('mcp').secret}")
    tasks = Tasks()
    async with mcp.Client(to, extensions=[tasks]) as client:
        asking = asyncio.create_task(
            client.call_tool("request_approval", {"summary": "pay", "action": action, "payload": PAYLOAD})
        )
        (approval,) = await asyncio.to_thread(desk.waiting, raw(client_id), action)
        await asyncio.to_thread(desk.decide, approval, decision)
        ended = (await asking).structured_content
    assert tasks.seen == [approval["approval_id"]] == [ended["approval_id"]]
    assert ended["status"] == {"approve": "approved", "reject": "rejected"}[decision]
