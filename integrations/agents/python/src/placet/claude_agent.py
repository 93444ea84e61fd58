"""The Claude Agent SDK: its permission callback, and a `PreToolUse` hook, that wait for Placet."""

from __future__ import annotations

from typing import Any

from claude_agent_sdk import (
    CanUseTool,
    HookCallback,
    HookContext,
    HookInput,
    HookJSONOutput,
    PermissionResult,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)

from .claude_code import judge
from .client import AsyncPlacet
from .errors import PlacetError


def can_use_tool(gate: AsyncPlacet, *, timeout_seconds: float | None = None) -> CanUseTool:
    """For `ClaudeAgentOptions(can_use_tool=…)`: every tool call that Claude Code would ask about goes to a person.

    Calls that `allowed_tools`, a permission mode or a settings file allow never get here: use `pre_tool_use` to gate
    those as well. What runs is the input as it was approved.
    """

    async def callback(tool: str, tool_input: dict[str, Any], context: ToolPermissionContext) -> PermissionResult:
        try:
            approved = await gate.run(judge(gate.settings, tool, tool_input, context.tool_use_id, timeout_seconds))
        except PlacetError as error:
            return PermissionResultDeny(message=f"Not approved, and not done. {error}")
        return PermissionResultAllow(updated_input=approved)

    return callback


def pre_tool_use(gate: AsyncPlacet, *, timeout_seconds: float) -> HookCallback:
    """For `hooks={"PreToolUse": [HookMatcher(matcher="Bash", hooks=[…], timeout=…)]}`: gates whatever it matches.

    `timeout_seconds` must be less than the matcher's `timeout`: a hook that Claude Code gives up on blocks nothing.
    """

    async def callback(hook: HookInput, tool_use_id: str | None, _context: HookContext) -> HookJSONOutput:
        decision: dict[str, Any] = {"hookEventName": "PreToolUse", "permissionDecision": "deny"}
        try:
            if hook["hook_event_name"] != "PreToolUse":
                raise PlacetError("this hook is for PreToolUse")
            approved = await gate.run(
                judge(gate.settings, hook["tool_name"], hook["tool_input"], tool_use_id, timeout_seconds)
            )
        except PlacetError as error:
            decision["permissionDecisionReason"] = f"Not approved, and not done. {error}"
        else:
            decision |= {
                "permissionDecision": "allow", "permissionDecisionReason": "approved", "updatedInput": approved,
            }  # fmt: skip
        return {"hookSpecificOutput": decision}  # type: ignore[typeddict-item]

    return callback
