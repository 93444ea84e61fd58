"""A `PreToolUse` hook for Claude Code: `placet-claude-hook`. It reads the hook's JSON and writes the decision.

In `.claude/settings.json`:

    {"hooks": {"PreToolUse": [{"matcher": "Bash|Write", "hooks": [
        {"type": "command", "command": "placet-claude-hook --timeout 540", "timeout": 600}]}]}}

with `PLACET_URL`, `PLACET_CLIENT` and `PLACET_SECRET` in the environment. A hook that Claude Code gives up on blocks
nothing, so `--timeout` must be less than the hook's own `timeout`.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from . import flows
from .canonical import strict_object
from .client import Placet
from .errors import InvalidPayload, PlacetError
from .flows import Flow, Settings
from .tools import action_of

BLOCKS = 2


def judge(
    settings: Settings, tool: object, tool_input: object, use_id: object, timeout_seconds: float | None
) -> Flow[dict[str, Any]]:
    """The input that a tool may be used with, once; raises where it may not."""
    if not isinstance(tool, str) or not isinstance(tool_input, dict):
        raise InvalidPayload("a tool's name and input are needed")
    authorized = yield from flows.authorize(
        settings,
        action=action_of(tool, "claude."),
        payload={"tool": tool, "input": tool_input},
        summary=f"Claude Code wants to use {tool}",
        request_id=f"claude-{action_of(use_id)}" if isinstance(use_id, str) and use_id else None,
        timeout_seconds=timeout_seconds,
    )
    approved: dict[str, Any] = authorized.payload["input"]
    return approved


def main() -> None:
    """Exit 0 with a decision; any other end blocks the tool (2), whatever went wrong."""
    parser = argparse.ArgumentParser(prog="placet-claude-hook", description="Claude Code's PreToolUse hook for Placet")
    parser.add_argument("--timeout", type=float, default=540.0, metavar="SECONDS", help="deny after so long (default 540)")
    options = parser.parse_args()
    decision: dict[str, Any] = {"hookEventName": "PreToolUse", "permissionDecision": "deny"}
    try:
        asked = strict_object(sys.stdin.read())
        with Placet.from_env(patience_seconds=min(60.0, options.timeout)) as gate:
            flow = judge(
                gate.settings, asked.get("tool_name"), asked.get("tool_input"), asked.get("tool_use_id"), options.timeout
            )
            approved = gate.run(flow)
        decision |= {"permissionDecision": "allow", "permissionDecisionReason": "approved", "updatedInput": approved}
    except PlacetError as error:
        decision["permissionDecisionReason"] = f"Not approved, and not done. {error}"
    except Exception as error:  # a traceback would exit with 1, which blocks nothing
        print(f"placet-claude-hook: {type(error).__name__}", file=sys.stderr)
        sys.exit(BLOCKS)
    print(json.dumps({"hookSpecificOutput": decision}))


if __name__ == "__main__":
    main()
