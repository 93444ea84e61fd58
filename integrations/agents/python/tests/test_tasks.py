"""MCP Tasks with the official Python client: it has no client for tasks of its own, but a place to add one."""

import asyncio
from typing import ClassVar, Literal

import mcp
import pytest
from mcp.client.extension import ClientExtension, ResultClaim
from mcp_types import CallToolResult, Request, RequestParams, Result
from test_mcp import http, stdio

PAYLOAD = {"to": "acme@example.com", "amount": 5000}


class Created(Result):
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskParams(RequestParams):
    task_id: str


class GetTask(Request[TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    name_param: ClassVar[str | None] = "taskId"


class Task(Result):
    task_id: str
    status: str
    result: dict | None = None


class Tasks(ClientExtension):
    """Asks for a task until it has ended."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.seen = []

    def claims(self):
        return [ResultClaim(result_type="task", model=Created, resolve=self.resolve)]

    async def resolve(self, created, context):
        self.seen.append(created.task_id)
        while True:
            task = await context.session.send_request(GetTask(params=TaskParams(task_id=created.task_id)), Task)
            if task.status != "working":
                break
            await asyncio.sleep(0.1)
        if task.status == "completed":
            return CallToolResult.model_validate(task.result)
        return CallToolResult(content=[], is_error=True)


class Leaves(Tasks):
    """Waits for nothing: it has the task's id, and that is all it wants."""

    async def resolve(self, created, context):
        self.seen.append(created.task_id)
        return CallToolResult(content=[])


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_task_outlives_the_session_that_closed_right_after_it_was_handed_over(running, desk, raw, transport):
    """Over stdio the server ends with its client as well."""
    client_id, action = {"stdio": ("agent", "py.left.io"), "http": ("mcp", "py.left.http")}[transport]

    def opened(tasks):
        to = stdio(running) if transport == "stdio" else http(running, f"mcp.{raw('mcp').secret}")
        return mcp.Client(to, extensions=[tasks])

    left = Leaves()
    async with opened(left) as client:
        await client.call_tool("request_approval", {"summary": "pay", "action": action, "payload": PAYLOAD})
    (approval,) = await asyncio.to_thread(desk.waiting, raw(client_id), action)
    assert left.seen == [approval["approval_id"]]

    async def task():
        get = GetTask(params=TaskParams(task_id=approval["approval_id"]))
        return await client.session.send_request(get, Task)

    async with opened(Tasks()) as client:
        assert (await task()).status == "working"
        await asyncio.to_thread(desk.decide, approval, "approve")
        ended = await task()
    assert (ended.status, ended.result["structuredContent"]["status"]) == ("completed", "approved")


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_question_is_a_task_until_a_person_has_decided(running, desk, raw, transport, decision):
    client_id, action = {"stdio": ("agent", "py.task.io"), "http": ("mcp", "py.task.http")}[transport]
    to = stdio(running) if transport == "stdio" else http(running, f"mcp.{raw('mcp').secret}")
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
