"""LangGraph: `approved_payload` pauses a node by `interrupt` until a person has decided.

What a graph is resumed with is a wake-up call and nothing more: whoever can resume a graph could say anything. The
outcome is read from the gate, and its token verified and redeemed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from langgraph.config import get_config
from langgraph.types import Command, interrupt

from .canonical import canonical, decoded, digest
from .client import AsyncPlacet, Placet
from .errors import NotApproved

KEY = "placet_request"


def approved_payload(
    gate: Placet,
    *,
    action: str,
    payload: Mapping[str, Any],
    summary: str,
    request_id: str | None = None,
    timeout_seconds: float | None = None,
) -> dict[str, Any]:
    """In a node: the payload that may be acted on now, once. Pauses the graph while nobody has decided.

    Do the deed right after it, in the same node, and ask once a node: a node that is paused runs again from its start.
    Raises `PlacetError` where it is not approved.
    """
    text = canonical(payload)
    name = request_id or _name(action, text)
    approval = gate.ask(
        request_id=name, action=action, payload=decoded(text), summary=summary, timeout_seconds=timeout_seconds
    )
    while not approval.ended:
        interrupt({
            KEY: name, "action": action, "payload": decoded(text), "summary": summary, "deadline": approval.deadline,
        })  # fmt: skip
        approval = gate.get(name)
    if not approval.approved:
        raise NotApproved(approval)
    return gate.use_token(approval.token, decoded(text), action)


def _name(action: str, text: bytes) -> str:
    """The same name each time that the paused node runs again, and for no other run, node or payload."""
    place = get_config().get("configurable", {})
    parts = [str(place.get(key, "")) for key in ("thread_id", "checkpoint_ns")]
    return "langgraph-" + hashlib.sha256("\n".join([*parts, action, digest(text)]).encode()).hexdigest()[:40]


def run(graph: Any, input: Any, config: Any, gate: Placet) -> Any:
    """`graph.invoke`, resumed each time that a person has decided. Other interrupts are left to the caller."""
    result = graph.invoke(input, config)
    while waiting := _waiting(result):
        result = graph.invoke(Command(resume={id: gate.wait(name).status for id, name in waiting.items()}), config)
    return result


async def arun(graph: Any, input: Any, config: Any, gate: AsyncPlacet) -> Any:
    """As `run`, for `graph.ainvoke`."""
    result = await graph.ainvoke(input, config)
    while waiting := _waiting(result):
        resume = {id: (await gate.wait(name)).status for id, name in waiting.items()}
        result = await graph.ainvoke(Command(resume=resume), config)
    return result


def _waiting(result: Any) -> dict[str, str]:
    """Our interrupts: their ids, and the requests they wait for."""
    found = result.get("__interrupt__", ()) if isinstance(result, dict) else ()
    return {one.id: one.value[KEY] for one in found if isinstance(one.value, dict) and KEY in one.value}
