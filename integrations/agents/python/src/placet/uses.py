"""One use of a tool by Claude Code or its Agent SDK, put before a person."""

from __future__ import annotations

import hashlib
import platform
from typing import Any

from . import flows
from .errors import InvalidPayload
from .flows import Flow, Settings
from .tools import action_of


def judge(
    settings: Settings, tool: object, tool_input: object, use_id: object, timeout_seconds: float | None,
    until: float | None = None, session: object = None,
) -> Flow[dict[str, Any]]:  # fmt: skip
    """The input that a tool may be used with, once; raises where it may not. `until`: the end, by `settings.monotonic`."""
    if not isinstance(tool, str) or not isinstance(tool_input, dict):
        raise InvalidPayload("a tool's name and input are needed")
    use = f"claude-{action_of(use_id)}" if isinstance(use_id, str) and use_id else None
    # Hooks of two settings files ask about one use at once, on one machine: what one of them used up, the other may let run.
    machine = hashlib.sha256(f"{platform.node()}\n{session}\n{use}".encode(errors="replace")).hexdigest()[:32]
    authorized = yield from flows.authorize_use(
        settings, use=use, redeemed_by=f"claude-{machine}", action=action_of(tool, "claude."),
        payload={"tool": tool, "input": tool_input}, summary=f"Claude Code wants to use {tool}", timeout_seconds=timeout_seconds,
        until=until,
    )  # fmt: skip
    approved: dict[str, Any] = authorized.payload["input"]
    return approved
