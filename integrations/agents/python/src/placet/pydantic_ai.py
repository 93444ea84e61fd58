"""Pydantic AI: tools with `requires_approval=True` wait for Placet, by the framework's own way of deferring calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolApproved, ToolDenied

from . import tools
from .canonical import canonical, decoded, strict_object
from .client import AsyncPlacet
from .errors import PlacetError


def approvals(gate: AsyncPlacet, *, timeout_seconds: float | None = None) -> HandleDeferredToolCalls[Any]:
    """For `Agent(…, capabilities=[approvals(gate)])`: every call that needs approval is put before a person.

    Mark a tool with `requires_approval=True`, or a whole toolset (an MCP server's, say) with `.approval_required()`. The
    action that the policy sees is the tool's name, the payload its arguments. A call that is not approved is denied, with the
    reason, and the model goes on without it.
    """

    async def handle(_context: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults | None:
        if not requests.approvals:
            return None
        return await decide(requests, gate, timeout_seconds=timeout_seconds)

    return HandleDeferredToolCalls(handler=handle)


async def decide(
    requests: DeferredToolRequests, gate: AsyncPlacet, *, timeout_seconds: float | None = None
) -> DeferredToolResults:
    """Puts the requests of a paused run before a person; the results to resume it with. All are asked at once.

    What runs is what was approved: the arguments are handed over anew.
    """
    verdicts: dict[str, ToolApproved | ToolDenied] = {}
    # One verdict is for all calls of its id: an id that comes twice would run what nobody was asked about.
    count = Counter(call.tool_call_id for call in requests.approvals)

    async def ask(call: ToolCallPart) -> None:
        verdicts[call.tool_call_id] = await _verdict(call, gate, timeout_seconds, unique=count[call.tool_call_id] == 1)

    # A group: when one of them is stopped, all are, and withdraw.
    async with asyncio.TaskGroup() as group:
        for call in requests.approvals:
            group.create_task(ask(call))
    return requests.build_results(approvals=verdicts)


async def _verdict(
    call: ToolCallPart, gate: AsyncPlacet, timeout_seconds: float | None, unique: bool
) -> ToolApproved | ToolDenied:
    try:
        if not unique:
            raise PlacetError("another call has the same id")
        given = strict_object(call.args or "{}") if isinstance(call.args, str) else decoded(canonical(call.args or {}))
        approved = await gate.authorize(
            action=tools.action_of(call.tool_name), payload=given, summary=f"An agent wants to use {call.tool_name}",
            timeout_seconds=timeout_seconds,
        )  # fmt: skip
    except Exception as error:  # whatever it is, it is no approval
        return ToolDenied(tools.refusal(error))
    return ToolApproved(override_args=approved.payload)
