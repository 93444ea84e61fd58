"""What the gate says: an approval, and the claims of its token."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .approval_wire import STATUSES, ApprovalFields
from .errors import InvalidToken, Unreachable


@dataclass(frozen=True)
class Approval(ApprovalFields):
    """One request and how it stands. The token is left out of its `repr`."""

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
    """What a token says, once its signature is known to be good. Times are Unix seconds."""

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
    # The version of the policy that was in force; a gate older than this claim leaves it out.
    policy: str | int | None = None
    # Not valid before this time. The gate does not set it; a token that has it is held to it.
    nbf: float | None = None

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
        rule, nbf = body.get("rule"), body.get("nbf")
        if not all(type(who) is str for who in values["decided_by"]) or not (rule is None or type(rule) is str):
            raise InvalidToken("malformed")
        if "nbf" in body and type(nbf) not in (int, float):
            raise InvalidToken("malformed")
        values["decided_by"] = tuple(values["decided_by"])
        return cls(**values, rule=rule, policy=body.get("policy"), nbf=nbf)


CLAIM_TYPES: dict[str, type] = {
    "iss": str, "sub": str, "aud": str, "jti": str, "iat": int, "exp": int, "status": str, "approved": bool,
    "action": str, "payload_sha256": str, "decided_by": list,
}  # fmt: skip
