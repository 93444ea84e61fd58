"""CrewAI: tools that run only once a person has approved their real arguments.

The tool itself is wrapped, because a hook of CrewAI that fails is passed over, and hooks behind it may change the arguments.
"""

from __future__ import annotations

import asyncio
from typing import Any

from crewai.tools import BaseTool
from pydantic import PrivateAttr

from . import tools
from .client import Placet


def gated(gate: Placet, tool: BaseTool, *, action: str | None = None, timeout_seconds: float | None = None) -> BaseTool:
    """The same tool for `Agent(tools=[gated(gate, send_invoice)])`, behind the gate.

    The action that the policy sees is `action`, or the tool's name; the payload is its arguments. A call that is not
    approved returns the reason in place of a result, and the model goes on without it.
    """
    wrapped = _Gated(
        name=tool.name, description=tool.description, args_schema=tool.args_schema, result_as_answer=tool.result_as_answer,
        max_usage_count=tool.max_usage_count, cache_function=_never, description_updated=True,
    )  # fmt: skip
    # Described once, by the tool itself.
    wrapped.description = tool.description
    wrapped._gate, wrapped._tool = gate, tool
    wrapped._action, wrapped._timeout_seconds = action or tools.action_of(tool.name), timeout_seconds
    return wrapped


def _never(_args: Any = None, _result: Any = None) -> bool:
    # A result that CrewAI remembers would be the answer to a call that nobody approved.
    return False


class _Gated(BaseTool):
    _gate: Placet = PrivateAttr()
    _tool: BaseTool = PrivateAttr()
    _action: str = PrivateAttr()
    _timeout_seconds: float | None = PrivateAttr(default=None)

    def _run(self, **arguments: Any) -> Any:
        try:
            approved = self._gate.authorize(
                action=self._action, payload=arguments, summary=f"An agent wants to use {self._tool.name}",
                timeout_seconds=self._timeout_seconds,
            )  # fmt: skip
        except Exception as error:  # whatever it is, it is no approval
            return tools.refusal(error)
        return self._tool.run(**approved.payload)

    async def _arun(self, **arguments: Any) -> Any:
        # Waiting holds up no event loop.
        return await asyncio.to_thread(self._run, **arguments)
