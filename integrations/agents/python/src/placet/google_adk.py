"""Google's Agent Development Kit: a plugin that puts the calls of tools before a person."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.adk.plugins.base_plugin import BasePlugin
from google.adk.tools.base_tool import BaseTool
from google.adk.tools.tool_context import ToolContext

from . import tools
from .client import AsyncPlacet


class PlacetPlugin(BasePlugin):
    """For `App(…, plugins=[PlacetPlugin(gate)])`: each call of these tools waits for a person, whatever agent makes it.

    `tools` names the tools that are gated; without it all are, those of MCP servers and of sub-agents included. The action
    that the policy sees is the tool's name, the payload its arguments. A call that is not approved returns the reason in
    place of a result. What runs is what was approved: no callback behind this one may change the arguments, so put this
    plugin last, and gate an agent with a `before_tool_callback` that changes them by `requires_approval` instead.
    """

    def __init__(
        self, gate: AsyncPlacet, *, tools: Collection[str] | None = None, timeout_seconds: float | None = None
    ) -> None:
        super().__init__(name="placet")
        self._gate, self._tools, self._timeout_seconds = gate, tools, timeout_seconds

    async def before_tool_callback(
        self, *, tool: BaseTool, tool_args: dict[str, Any], tool_context: ToolContext
    ) -> dict[str, Any] | None:
        """None lets the call go ahead; anything else is its result."""
        if self._tools is not None and tool.name not in self._tools:
            return None
        try:
            approved = await self._gate.authorize(
                action=tools.action_of(tool.name), payload=tool_args,
                summary=f"{tool_context.agent_name} wants to use {tool.name}", timeout_seconds=self._timeout_seconds,
            )  # fmt: skip
        except Exception as error:  # whatever it is, it is no approval
            return {"error": tools.refusal(error)}
        tool_args.clear()
        tool_args.update(approved.payload)
        return None
