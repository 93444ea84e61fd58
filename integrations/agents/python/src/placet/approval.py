"""What the gate says: an approval, and the claims of its token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import InvalidToken, Unreachable

STATUSES = ("pending", "approved", "rejected", "expired", "cancelled")


@dataclass(frozen=True)
class Approval:
    """One request and how it stands. The token is left out of its `repr`."""

    request_id: str
    approval_id: str
    client: str
    status: str
    approved: bool
    action: str
    summary: str
    payload_sha256: str
    created_at: str
    status_url: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    rule: str | None = None
    stage: int | None = None
    deadline: str | None = None
    decided_at: str | None = None
    decided_by: tuple[str, ...] = ()
    reason: str | None = None
    votes: tuple[Mapping[str, Any], ...] = ()
    token: str | None = field(default=None, repr=False)
    pending_twin: str | None = None

    @property
    def ended(self) -> bool:
        return self.status != "pending"

    @classmethod
    def of(cls, body: Any) -> Approval:
        """Reads the wire's shape; fields of a newer gate are left out."""
        known = {one.name for one in fields(cls)}
        try:
            values = {name: value for name, value in body.items() if name in known}
            values["decided_by"] = tuple(body.get("decided_by") or ())
            values["votes"] = tuple(body.get("votes") or ())
            approval = cls(**values)
        except (AttributeError, TypeError) as error:
            raise Unreachable("the answer is no approval: this does not seem to be a gate") from error
        # Two fields say the same; where they differ, nothing is approved.
        if approval.status not in STATUSES or approval.approved is not (approval.status == "approved"):
            raise Unreachable("the answer contradicts itself: this does not seem to be a gate")
        return approval


@dataclass(frozen=True)
class Claims:
    """What a token says, once its signature is known to be good."""

    iss: str
    sub: str
    aud: str
    jti: str
    iat: int
    exp: int
    status: str
    approved: bool
    action: str
    payload_sha256: str
    decided_by: tuple[str, ...]
    rule: str | None

    @classmethod
    def of(cls, body: Any) -> Claims:
        """Every claim has to be there, and of its type: `"yes"` is not `true`, and a list is no audience."""
        if not isinstance(body, dict):
            raise InvalidToken("malformed")
        values: dict[str, Any] = {}
        for name, kind in CLAIM_TYPES.items():
            value = body.get(name)
            if type(value) is not kind:
                raise InvalidToken("malformed")
            values[name] = value
        rule = body.get("rule")
        if not all(type(who) is str for who in values["decided_by"]) or not (rule is None or type(rule) is str):
            raise InvalidToken("malformed")
        return cls(**{**values, "decided_by": tuple(values["decided_by"]), "rule": rule})


CLAIM_TYPES: dict[str, type] = {
    "iss": str, "sub": str, "aud": str, "jti": str, "iat": int, "exp": int, "status": str, "approved": bool,
    "action": str, "payload_sha256": str, "decided_by": list,
}  # fmt: skip
