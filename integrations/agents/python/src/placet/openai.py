"""OpenAI's Responses and Chat Completions APIs: the `request_approval` tool, and its answer.

The tool definitions are plain dictionaries, so that this module works with any client of the API.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, overload

from . import tools
from .client import AsyncPlacet, Placet
from .flows import Flow


def responses_tool() -> dict[str, Any]:
    """For `client.responses.create(tools=[…])`."""
    # Strict schemas cannot say "any object", which a payload is.
    return {
        "type": "function", "name": tools.NAME, "description": tools.DESCRIPTION, "parameters": tools.PARAMETERS,
        "strict": False,
    }  # fmt: skip


def chat_tool() -> dict[str, Any]:
    """For `client.chat.completions.create(tools=[…])`."""
    function = {"name": tools.NAME, "description": tools.DESCRIPTION, "parameters": tools.PARAMETERS, "strict": False}
    return {"type": "function", "function": function}


@overload
def answer_responses_call(
    gate: Placet, call: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> dict[str, Any]: ...
@overload
def answer_responses_call(
    gate: AsyncPlacet, call: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> Awaitable[dict[str, Any]]: ...
def answer_responses_call(
    gate: Any, call: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> Any:
    """The `function_call_output` item for a `function_call` item that calls `request_approval`."""

    def flow() -> Flow[dict[str, Any]]:
        output = yield from tools.answer(gate.settings, call.arguments, wait_seconds, conversation)
        return {"type": "function_call_output", "call_id": call.call_id, "output": output}

    return gate.run(flow())


@overload
def answer_chat_call(
    gate: Placet, call: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> dict[str, Any]: ...
@overload
def answer_chat_call(
    gate: AsyncPlacet, call: Any, wait_seconds: float | None = None, conversation: str | None = None
) -> Awaitable[dict[str, Any]]: ...
def answer_chat_call(gate: Any, call: Any, wait_seconds: float | None = None, conversation: str | None = None) -> Any:
    """The `tool` message for a tool call that calls `request_approval`."""

    def flow() -> Flow[dict[str, Any]]:
        content = yield from tools.answer(gate.settings, call.function.arguments, wait_seconds, conversation)
        return {"role": "tool", "tool_call_id": call.id, "content": content}

    return gate.run(flow())
