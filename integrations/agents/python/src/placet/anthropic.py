"""Claude's Messages API: the `request_approval` tool, and its answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any, overload

from . import tools
from .client import AsyncPlacet, Placet
from .flows import Flow


def tool() -> dict[str, Any]:
    """For `client.messages.create(tools=[…])`."""
    return {"name": tools.NAME, "description": tools.DESCRIPTION, "input_schema": tools.PARAMETERS}


@overload
def answer(
    gate: Placet, block: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> dict[str, Any]: ...
@overload
def answer(
    gate: AsyncPlacet, block: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> Awaitable[dict[str, Any]]: ...
def answer(gate: Any, block: Any, wait_seconds: float | None = None, conversation: str | None = None) -> Any:
    """The `tool_result` block for a `tool_use` block that calls `request_approval`."""

    def flow() -> Flow[dict[str, Any]]:
        content = yield from tools.answer(gate.settings, block.input, wait_seconds, conversation)
        result = {"type": "tool_result", "tool_use_id": block.id, "content": content}
        return {**result, "is_error": True} if "error" in json.loads(content) else result

    return gate.run(flow())
