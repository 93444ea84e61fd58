"""Generated from crates/http/openapi.json by integrations/agents/scripts/generate_approval.py: do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Status = Literal["pending", "approved", "rejected", "expired", "cancelled"]
STATUSES: tuple[str, ...] = ("pending", "approved", "rejected", "expired", "cancelled")


class Vote(TypedDict):
    """One reviewer's word."""

    # `approve` or `reject`.
    decision: str
    # Who.
    reviewer: str
    # When.
    voted_at: str
    # Why.
    reason: str | None


@dataclass(frozen=True)
class ApprovalFields:
    """What every response, callback and hook carries. The token is left out of the `repr`."""

    # Dotted name of what will be done.
    action: str
    # The gate's name for it, a ULID.
    approval_id: str
    # True only for `approved`.
    approved: bool
    # Who asked.
    client: str
    # When it was taken.
    created_at: str
    # Who ended it: reviewer ids, `policy:<rule>`, `timeout:<rule>` or `client:<id>`.
    decided_by: tuple[str, ...]
    # The caller's labels, as they came.
    metadata: Mapping[str, str]
    # Hex SHA-256 of the payload's canonical JSON (RFC 8785).
    payload_sha256: str
    # The client's name for the request.
    request_id: str
    # `pending`, `approved`, `rejected`, `expired` or `cancelled`.
    status: Status
    # Where the client can ask again.
    status_url: str
    # The agent's own words.
    summary: str
    # The gate's own words for it, made from the payload.
    title: str
    # Who has spoken.
    votes: tuple[Vote, ...]
    # What a reviewer has changed, in words, by the path of the field: only where one has.
    changes: Mapping[str, str] | None = None
    # When it ends at the latest; null where policy decided alone.
    deadline: str | None = None
    # When it ended.
    decided_at: str | None = None
    # What is approved, where a reviewer has changed what was asked: act on this, and verify the token with it.
    payload: Mapping[str, Any] | None = None
    # An older request of the same client, with the same action and payload, that still waits. Only in the answer to a
    # new request.
    pending_twin: str | None = None
    # Why, in the decider's words.
    reason: str | None = None
    # The policy's rule that applied; null where none matched.
    rule: str | None = None
    # Number of the stage that asks, or asked last, from 1; null where policy decided alone.
    stage: int | None = None
    # The decision token, once it has ended. An auditor's hook does not get it.
    token: str | None = field(default=None, repr=False)
