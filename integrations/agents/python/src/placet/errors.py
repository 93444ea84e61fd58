"""Why something may not be done. Everything here means: do not act."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .approval import Approval


class PlacetError(Exception):
    """Any reason not to act. Catch this one, and nothing was approved."""


class NotApproved(PlacetError):
    """The request ended without an approval."""

    def __init__(self, approval: Approval, message: str | None = None) -> None:
        self.approval = approval
        by = f" by {', '.join(approval.decided_by)}" if approval.decided_by else ""
        why = f": {approval.reason}" if approval.reason else ""
        super().__init__(message or f"{approval.request_id} was {approval.status}{by}{why}")


class TimedOut(NotApproved):
    """Nobody answered in time: it expired, or this program stopped waiting and withdrew it."""


class InvalidToken(PlacetError):
    """The token does not allow this. `problem` is the gate's own code, such as `payload_mismatch`."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the approval token is not valid for this: {problem}")


class InvalidReceipt(PlacetError):
    """The receipt proves nothing. `problem` is the code that `placet audit verify` gives, such as `not_in_log`."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the receipt is not valid: {problem}")


class InvalidPayload(PlacetError, ValueError):
    """The arguments are not JSON that every program reads alike."""


class GateError(PlacetError):
    """The gate refused the call (RFC 9457). `code` is stable, such as `request_id_conflict`."""

    def __init__(self, status: int, code: str, detail: str, problem: dict[str, object]) -> None:
        self.status, self.code, self.detail, self.problem = status, code, detail, problem
        super().__init__(f"{detail} ({code})")


class Unreachable(PlacetError):
    """The gate gave no answer, or one that no gate gives. `final`: trying again would not help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(message)
