"""MCP over HTTP with the official Python client, and tasks: it has no client for them of its own, but a place to add one."""

import asyncio
from typing import ClassVar, Literal

import httpx2
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Request, RequestParams, Result


def http(url, key, **headers):
    """A way to the gate at that URL, with that bearer key."""
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return streamable_http_client(f"{url}/mcp", http_client=httpx2.AsyncClient(headers=headers, timeout=60))


class Created(Result):
    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskParams(RequestParams):
    task_id: str


class GetTask(Request[TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    name_param: ClassVar[str | None] = "taskId"


class CancelTask(Request[TaskParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
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
            task = await get_task(context, created.task_id)
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


async def get_task(client, task_id):
    return await client.session.send_request(GetTask(params=TaskParams(task_id=task_id)), Task)


async def cancel_task(client, task_id):
    await client.session.send_request(CancelTask(params=TaskParams(task_id=task_id)), Result)
