"""Placet: a person approves before your program acts.

`Placet` and `AsyncPlacet` are clients of a gate; `requires_approval` gates a function; `Executor` verifies without a
secret. The adapters are modules of their own, each importing one SDK: `placet.openai`, `placet.openai_agents`,
`placet.anthropic`, `placet.claude_agent`, `placet.langgraph`, `placet.pydantic_ai`, `placet.google_adk`, `placet.crewai`;
`placet.claude_code` is a hook for Claude Code.
"""

try:
    from .approval import Approval, Claims
    from .callbacks import InvalidCallback, read_callback
    from .canonical import canonical, digest
    from .client import AsyncPlacet, Placet
    from .errors import (
        GateError,
        InvalidPayload,
        InvalidReceipt,
        InvalidToken,
        NotApproved,
        PlacetError,
        TimedOut,
        Unreachable,
    )
    from .executor import Executor
    from .flows import UNCHECKED, Authorized
    from .receipts import VerifiedReceipt, verify_receipt
except (Exception, SystemExit) as error:
    # A module is missing or broken. The hook `placet.claude_code` lives in this package, too, and must come as far as to
    # say so with its exit code: an error in here would end it with 1, which blocks nothing.
    _error = error

    def __getattr__(name: str) -> object:
        if name in __all__:
            raise ImportError(f"placet cannot be used: {_error}") from _error
        raise AttributeError(name)


__all__ = [
    "UNCHECKED",
    "Approval",
    "AsyncPlacet",
    "Authorized",
    "Claims",
    "Executor",
    "GateError",
    "InvalidCallback",
    "InvalidPayload",
    "InvalidReceipt",
    "InvalidToken",
    "NotApproved",
    "Placet",
    "PlacetError",
    "TimedOut",
    "Unreachable",
    "VerifiedReceipt",
    "canonical",
    "digest",
    "read_callback",
    "verify_receipt",
]
