"""Placet: a person approves before your program acts.

`Placet` and `AsyncPlacet` are clients of a gate; `requires_approval` gates a function; `Executor` verifies without a
secret. The adapters are modules of their own, each importing one SDK: `placet.openai`, `placet.openai_agents`,
`placet.anthropic`, `placet.claude_agent`, `placet.langgraph`; `placet.claude_code` is a hook for Claude Code.
"""

from .approval import Approval, Claims
from .callbacks import InvalidCallback, read_callback
from .canonical import canonical, digest
from .client import AsyncPlacet, Placet
from .errors import GateError, InvalidPayload, InvalidToken, NotApproved, PlacetError, TimedOut, Unreachable
from .executor import Executor
from .flows import Authorized

__all__ = [
    "Approval",
    "AsyncPlacet",
    "Authorized",
    "Claims",
    "Executor",
    "GateError",
    "InvalidCallback",
    "InvalidPayload",
    "InvalidToken",
    "NotApproved",
    "Placet",
    "PlacetError",
    "TimedOut",
    "Unreachable",
    "canonical",
    "digest",
    "read_callback",
]
