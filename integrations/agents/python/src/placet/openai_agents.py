"""The OpenAI Agents SDK: a tool marked `needs_approval=True` waits for Placet, by the SDK's own approval hook."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, FunctionTool, Runner, RunResult, RunState
from agents.items import ToolApprovalItem
from agents.tool_context import ToolContext

from . import tools
from .canonical import strict_object
from .client import AsyncPlacet
from .errors import PlacetError


async def run(
    agent: Agent[Any], input: Any, gate: AsyncPlacet, *, timeout_seconds: float | None = None, **options: Any
) -> RunResult:
    """`Runner.run`, with every approval that the SDK asks for put before a person.

    The action that the policy sees is the tool's name (`mcp.<server>.<tool>` for a hosted MCP server's), the payload its
    arguments. A tool that is not approved is
    rejected, with the reason, and the model goes on without it. `options` go to `Runner.run`.
    """
    result = await Runner.run(agent, input, **options)
    while result.interruptions:
        state = await decide(result, gate, timeout_seconds=timeout_seconds)
        result = await Runner.run(agent, state, **options)
    return result


async def decide(result: RunResult, gate: AsyncPlacet, *, timeout_seconds: float | None = None) -> RunState[Any]:
    """Puts a result's interruptions before a person; the state to resume with. All are asked at once."""
    state = result.to_state()
    # A group: when one of them is stopped, all are, and withdraw.
    async with asyncio.TaskGroup() as group:
        for item in result.interruptions:
            group.create_task(_decide(state, item, gate, timeout_seconds))
    return state


async def _decide(
    state: RunState[Any], item: ToolApprovalItem, gate: AsyncPlacet, timeout_seconds: float | None
) -> None:
    try:
        name, arguments = item.name, item.arguments
        if name is None or arguments is None:
            raise PlacetError("this kind of tool call has no arguments to approve")
        # The SDK will run the tool with this very text: it must have one reading.
        payload = strict_object(arguments or "{}")
        await gate.authorize(
            action=_action(item, name), payload=payload, summary=f"{item.agent.name} wants to use {name}",
            timeout_seconds=timeout_seconds,
        )  # fmt: skip
    except Exception as error:  # whatever it is, it is no approval
        state.reject(item, rejection_message=tools.refusal(error))
    else:
        state.approve(item)


def _action(item: ToolApprovalItem, name: str) -> str:
    """The tool's name; before it, where there is one, the hosted MCP server or the namespace that the tool is of.

    Two servers may call two tools alike, and a rule for the one must not let the other run.
    """
    raw = item.raw_item
    server = raw.get("server_label") if isinstance(raw, dict) else getattr(raw, "server_label", None)
    if server is None and isinstance(raw, dict):
        server = (raw.get("provider_data") or {}).get("server_label")
    elif server is None:
        server = (getattr(raw, "provider_data", None) or {}).get("server_label")
    if server is not None:
        return f"mcp.{tools.action_of(str(server))}.{tools.action_of(name)}"
    if item.tool_namespace:
        return f"{tools.action_of(item.tool_namespace)}.{tools.action_of(name)}"
    return tools.action_of(name)


def approval_tool(
    gate: AsyncPlacet, wait_seconds: float | None = None, conversation: str | None = None
) -> FunctionTool:
    """`request_approval` as a tool that the model calls by itself, for executors that take a token."""

    async def call(_context: ToolContext[Any], arguments: str) -> str:
        return await gate.run(tools.answer(gate.settings, arguments, wait_seconds, conversation))

    return FunctionTool(
        name=tools.NAME, description=tools.DESCRIPTION, params_json_schema=tools.PARAMETERS, on_invoke_tool=call,
        strict_json_schema=False,
    )  # fmt: skip
