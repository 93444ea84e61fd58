"""The `request_approval` tool that a model calls, and what it is told. One for every SDK; each adapter only wraps it.

The model asks and gets a token; the tool that does the deed takes the token and verifies it (`requires_token`). What
the model says about an approval is worth nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from . import flows
from .approval import Approval
from .canonical import canonical, decoded, strict_object
from .errors import PlacetError
from .flows import Flow, Settings

NAME = "request_approval"
DESCRIPTION = (
    "Ask a person to approve something before you do it, and wait for the answer. `payload` is exactly what will be "
    "done. If `status` is still `pending`, call this again with the same arguments. Only `approved: true` with an "
    "`approval_token` allows it: hand the token to the tool that does it. Anything else means no."
)
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "request_id": {
            "type": "string",
            "description": "Your name for this one deed, 1 to 128 of A-Za-z0-9._:- ; the same name again asks nobody twice",
        },
        "summary": {"type": "string", "description": "What the person is told, in your words, at most 500 characters"},
        "action": {"type": "string", "description": "Dotted name of what will be done, such as invoice.pay"},
        "payload": {
            "type": "object",
            "description": "Exactly the arguments that the deed will be done with",
            "additionalProperties": True,
        },
    },
    "required": ["request_id", "summary", "action", "payload"],
    "additionalProperties": False,
}


def answer(settings: Settings, arguments: str | Mapping[str, Any], wait_seconds: float | None) -> Flow[str]:
    """What the model is told, as JSON. Whatever goes wrong is told as not approved."""
    try:
        asked = strict_object(arguments) if isinstance(arguments, str) else dict(arguments)
        if asked.keys() != PARAMETERS["properties"].keys():
            raise PlacetError(f"{NAME} takes {', '.join(PARAMETERS['properties'])}")
        if not all(isinstance(asked[name], str) for name in ("request_id", "summary", "action")):
            raise PlacetError("request_id, summary and action are texts")
        payload = decoded(canonical(asked["payload"]))
        approval = yield from flows.ask(
            settings, request_id=asked["request_id"], summary=asked["summary"], action=asked["action"], payload=payload
        )
        if not approval.ended:
            approval = yield from flows.wait(settings, approval.request_id, wait_seconds)
        if approval.approved:
            yield from flows.verify(settings, approval.token, payload, asked["action"])
        return json.dumps(told(approval))
    except PlacetError as error:
        return json.dumps({"approved": False, "status": "not_approved", "error": str(error)})


def told(approval: Approval) -> dict[str, Any]:
    """The approval as the model sees it. The reason is a person's words to the agent."""
    said: dict[str, Any] = {
        "request_id": approval.request_id,
        "status": approval.status,
        "approved": approval.approved,
        "decided_by": list(approval.decided_by),
        "reason": approval.reason,
    }
    if approval.approved:
        said["approval_token"] = approval.token
    elif not approval.ended:
        said["next"] = f"call {NAME} again with the same arguments"
    return said


def action_of(tool: str, prefix: str = "") -> str:
    """A tool's name as a dotted action: what the policy's rules are written for."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "-" for char in tool[:100])
    return prefix + (name or "unnamed")
