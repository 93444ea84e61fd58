"""The `request_approval` tool that a model calls, and what it is told. One for every SDK; each adapter only wraps it.

The model asks and gets a token; the tool that does the deed takes the token and verifies it (`requires_token`). What
the model says about an approval is worth nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from . import flows
from .approval import Approval
from .canonical import canonical, decoded, digest, strict_object
from .errors import PlacetError
from .flows import Flow, Settings

NAME = "request_approval"
LABEL = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:-]{1,128}")
DESCRIPTION = (
    "Ask a person to approve something before you do it, and wait for the answer. `payload` is exactly what will be "
    "done. If `status` is still `pending`, call this again with the same arguments and the `request_id` you were told. Only `approved: true` with an "
    "`approval_token` allows it: hand the token to the tool that does it. Anything else means no."
)
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "request_id": {
            "type": "string",
            "description": "Leave it out at first. To go on waiting for an answer, the request_id that you were told",
        },
        "summary": {"type": "string", "description": "What the person is told, in your words, at most 500 characters"},
        "action": {"type": "string", "description": "Dotted name of what will be done, such as invoice.pay"},
        "payload": {
            "type": "object",
            "description": "Exactly the arguments that the deed will be done with",
            "additionalProperties": True,
        },
    },
    "required": ["summary", "action", "payload"],
    "additionalProperties": False,
}


def answer(
    settings: Settings, arguments: object, wait_seconds: float | None, conversation: str | None = None
) -> Flow[str]:
    """What the model is told, as JSON. Whatever goes wrong is told as not approved.

    The model's `request_id` is a label of its own: the request's real name is made here, from the label, from what is
    asked, and from the host's name of the conversation. So no model can name a request that is not its own.
    """
    name = action = ""
    text: bytes | None = None
    approval: Approval | None = None
    try:
        asked = strict_object(arguments) if isinstance(arguments, str) else arguments
        if (
            not isinstance(asked, Mapping)
            or not set(PARAMETERS["required"]) <= asked.keys() <= PARAMETERS["properties"].keys()
        ):
            raise PlacetError(f"{NAME} takes {', '.join(PARAMETERS['properties'])}")
        label = secrets.token_hex(8) if asked.get("request_id") is None else asked["request_id"]
        action = asked["action"]
        if not all(isinstance(one, str) for one in (label, action, asked["summary"])):
            raise PlacetError("request_id, summary and action are texts")
        if not LABEL.fullmatch(label):
            raise PlacetError("request_id is 1 to 128 of A-Za-z0-9._:-, and neither . nor ..")
        text = canonical(asked["payload"])
        name = _name(settings.client, conversation, label, action, text)
        approval = yield from flows.ask(
            settings, request_id=name, summary=asked["summary"], action=action, payload=decoded(text)
        )
        if not approval.ended:
            approval = yield from flows.wait(settings, name, wait_seconds)
        if approval.approved:
            yield from flows.verify(settings, approval.token, text, action, settings.client)
        return json.dumps(told(approval, label))
    except PlacetError as error:
        return json.dumps({"approved": False, "status": "not_approved", "error": str(error)})
    except GeneratorExit:
        raise
    except BaseException as error:
        # The agent is stopped: nobody will hear the answer.
        if name and text is not None and not (approval is not None and approval.ended):
            yield from flows.withdraw(settings, name, action, digest(text), approval, None, error)
        raise


def _name(client: str, conversation: str | None, label: str, action: str, text: bytes) -> str:
    parts = json.dumps([client, conversation, label, action, digest(text)])
    return f"{label[:60]}-{hashlib.sha256(parts.encode()).hexdigest()[:24]}"


def told(approval: Approval, label: str) -> dict[str, Any]:
    """The approval as the model sees it, under its own label. The reason is a person's words to the agent."""
    said: dict[str, Any] = {
        "request_id": label,
        "status": approval.status,
        "approved": approval.approved,
        "decided_by": list(approval.decided_by),
        "reason": approval.reason,
    }
    if approval.approved:
        said["approval_token"] = approval.token
    elif not approval.ended:
        said["next"] = f"call {NAME} again with the same arguments and this request_id"
    return said


def refusal(error: Exception) -> str:
    """What a model is told of a call that was not approved. What is not ours could quote anything: only its kind is told."""
    return f"Not approved, and not done. {error if isinstance(error, PlacetError) else type(error).__name__}"


def action_of(tool: str, prefix: str = "") -> str:
    """A tool's name as a dotted action: what the policy's rules are written for.

    A name that is no action as it is gets a digest at its end: no two tools share an action, and so a rule.
    """
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "-" for char in tool[:80])
    if name != tool or not name:
        name = f"{name or 'unnamed'}-{hashlib.sha256(tool.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return prefix + name
