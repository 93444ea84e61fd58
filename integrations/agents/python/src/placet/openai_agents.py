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

    The action that the policy sees is the tool's name, the payload its arguments. A tool that is not approved is
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
    await asyncio.gather(*(_decide(state, item, gate, timeout_seconds) for item in result.interruptions))
    return state


async def _decide(state: RunState[Any], item: ToolApprovalItem, gate: AsyncPlacet, timeout_seconds: float | None) -> None:
    try:
        name, arguments = item.name, item.arguments
        if name is None or arguments is None:
            raise PlacetError("this kind of tool call has no arguments to approve")
        # The SDK will run the tool with this very text: it must have one reading.
        payload = strict_object(arguments or "{}")
        await gate.authorize(
            action=tools.action_of(name), payload=payload, summary=f"{item.agent.name} wants to use {name}",
            timeout_seconds=timeout_seconds,
        )  # fmt: skip
    except PlacetError as error:
        state.reject(item, rejection_message=f"Not approved, and not done. {error}")
    else:
        state.approve(item)


def approval_tool(gate: AsyncPlacet, wait_seconds: float | None = None) -> FunctionTool:
    """`request_approval` as a tool that the model calls by itself, for executors that take a token."""

    async def call(_context: ToolContext[Any], arguments: str) -> str:
        return await gate.run(tools.answer(gate.settings, arguments, wait_seconds))

    return FunctionTool(
        name=tools.NAME, description=tools.DESCRIPTION, params_json_schema=tools.PARAMETERS, on_invoke_tool=call,
        strict_json_schema=False,
    )  # fmt: skip
