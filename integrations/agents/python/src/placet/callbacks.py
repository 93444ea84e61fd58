"""Callbacks of the gate: Standard Webhooks, signed with the client's secret."""

from __future__ import annotations

from collections.abc import Mapping

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from .approval import Approval
from .errors import PlacetError


class InvalidCallback(PlacetError):
    """Not from the gate, too old, or changed on the way."""


def read_callback(secret: str, headers: Mapping[str, str], body: bytes | str) -> Approval:
    """The approval in a callback. Use its token as any other: a callback may come twice."""
    try:
        event = Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    except WebhookVerificationError as error:
        raise InvalidCallback(str(error)) from error
    except ValueError as error:
        raise InvalidCallback("not a callback") from error
    if not isinstance(event, dict) or event.get("type") not in ("approval.requested", "approval.decided"):
        raise InvalidCallback("not an approval's event")
    return Approval.of(event.get("data"))
