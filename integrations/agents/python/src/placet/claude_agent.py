"""The Claude Agent SDK: its permission callback, and a `PreToolUse` hook, that wait for Placet."""

from __future__ import annotations

from typing import Any

from claude_agent_sdk import (
    CanUseTool,
    HookCallback,
    HookContext,
    HookInput,
    HookJSONOutput,
    HookMatcher,
    PermissionResult,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)

from .client import AsyncPlacet
from .errors import PlacetError
from .tools import refusal
from .uses import judge


def can_use_tool(gate: AsyncPlacet, *, timeout_seconds: float | None = None) -> CanUseTool:
    """For `ClaudeAgentOptions(can_use_tool=…)`: every tool call that Claude Code would ask about goes to a person.

    Calls that `allowed_tools`, a permission mode or a settings file allow never get here: use `pre_tool_use` to gate
    those as well. What runs is the input as it was approved.
    """

    async def callback(tool: str, tool_input: dict[str, Any], context: ToolPermissionContext) -> PermissionResult:
        try:
            approved = await gate.run(judge(gate.settings, tool, tool_input, context.tool_use_id, timeout_seconds))
        except Exception as error:  # whatever it is: an answer that the SDK cannot read might count as none
            return PermissionResultDeny(message=refusal(error))
        return PermissionResultAllow(updated_input=approved)

    return callback


def pre_tool_use(gate: AsyncPlacet, *, timeout_seconds: float) -> HookCallback:
    """A callback for `HookMatcher(matcher="Bash", hooks=[…], timeout=…, on_failure="block")`: gates whatever it matches.

    `timeout_seconds` must be less than the matcher's `timeout`: without `on_failure`, a hook that Claude Code gives up on
    blocks nothing. `gated` makes such a matcher.
    """

    async def callback(hook: HookInput, tool_use_id: str | None, _context: HookContext) -> HookJSONOutput:
        decision: dict[str, Any] = {"hookEventName": "PreToolUse", "permissionDecision": "deny"}
        try:
            if hook["hook_event_name"] != "PreToolUse":
                raise PlacetError("this hook is for PreToolUse")
            use_id, session = hook.get("tool_use_id") or tool_use_id, hook.get("session_id")
            approved = await gate.run(
                judge(gate.settings, hook["tool_name"], hook["tool_input"], use_id, timeout_seconds, session=session)
            )
        except Exception as error:  # a hook that raises blocks nothing
            decision["permissionDecisionReason"] = refusal(error)
        else:
            decision |= {
                "permissionDecision": "allow", "permissionDecisionReason": "approved", "updatedInput": approved,
            }  # fmt: skip
        return {"hookSpecificOutput": decision}  # type: ignore[typeddict-item]

    return callback


def gated(gate: AsyncPlacet, matcher: str, *, timeout_seconds: float = 540.0) -> HookMatcher:
    """For `hooks={"PreToolUse": [gated(gate, "Bash|Write")]}`: a hook whose every failure blocks the tool."""
    hook = pre_tool_use(gate, timeout_seconds=timeout_seconds)
    return HookMatcher(matcher=matcher, hooks=[hook], timeout=timeout_seconds + 60, on_failure="block")
