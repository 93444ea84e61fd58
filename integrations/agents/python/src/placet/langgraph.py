"""LangGraph: `run_approved` and `approved_payload` pause a node by `interrupt` until a person has decided.

What a graph is resumed with is a wake-up call and nothing more: whoever can resume a graph could say anything. The
outcome is read from the gate, and its token verified and redeemed.

A question of a paused graph stays open when the program ends: the graph can be resumed by another one.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.config import get_config
from langgraph.types import Command, interrupt

from .canonical import canonical, decoded, digest
from .client import AsyncPlacet, Placet
from .errors import GateError, NotApproved, PlacetError

R = TypeVar("R")

KEY = "placet_request"
# Where a task runs knows its graph's checkpointer. LangGraph has no public name for it; a test pins this one.
CHECKPOINTER = "__pregel_checkpointer"
TASKS_REMEMBERED = 10_000


def run_approved(
    gate: Placet,
    deed: Callable[[dict[str, Any]], R],
    *,
    action: str,
    payload: Mapping[str, Any],
    summary: str,
    request_id: str | None = None,
    call_id: str | None = None,
    timeout_seconds: float | None = None,
) -> R:
    """In a node or a tool: does the deed with the approved payload, once, and returns its result.

    LangGraph runs a paused task again from its start, as often as something in it pauses. The deed's result is kept with
    the graph's checkpoints, so a later run of the same task gets it without doing the deed again. `call_id` tells two
    calls with the same arguments apart (a tool call's id). Raises `PlacetError` where it is not approved.
    """
    name = request_id or _name(action, canonical(payload), call_id)
    saver, place = _keeper(name)
    if saver is not None and (kept := saver.get_tuple(place)) is not None:
        result: R = kept.checkpoint["channel_values"]["result"]
        return result
    approved = approved_payload(
        gate, action=action, payload=payload, summary=summary, request_id=name, timeout_seconds=timeout_seconds
    )
    result = deed(approved)
    if saver is not None:
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"]["result"] = result
        checkpoint["channel_versions"]["result"] = 1
        saver.put(place, checkpoint, {"source": "update", "step": -1, "parents": {}}, {"result": 1})
    return result


def approved_payload(
    gate: Placet,
    *,
    action: str,
    payload: Mapping[str, Any],
    summary: str,
    request_id: str | None = None,
    call_id: str | None = None,
    timeout_seconds: float | None = None,
) -> dict[str, Any]:
    """In a node: the payload that may be acted on now, once. Pauses the graph while nobody has decided.

    Do the deed right after it, in the same task, and let nothing pause behind it: a task that is paused runs again from
    its start, and what was used is used. Where one task asks several times (tools of one `ToolNode`), what is approved is
    used only once all of it has been decided; where they ask one after the other, use `run_approved`. Raises
    `PlacetError` where it is not approved.
    """
    text = canonical(payload)
    name = request_id or _name(action, text, call_id)
    approval = gate.ask(
        request_id=name, action=action, payload=decoded(text), summary=summary, timeout_seconds=timeout_seconds
    )
    task = _task()
    while not approval.ended:
        _siblings.add(task, name)
        interrupt({
            KEY: name, "action": action, "payload": decoded(text), "summary": summary, "deadline": approval.deadline,
        })  # fmt: skip
        approval = gate.get(name)
    _siblings.remove(task, name)
    if not approval.approved:
        raise NotApproved(approval)
    # While another question of this task is open, the task will pause and lose what was done before: so nothing is.
    for other in _siblings.of(task):
        while not gate.get(other).ended:
            interrupt({KEY: other})
        _siblings.remove(task, other)
    try:
        return gate.use_token(approval.token, decoded(text), action)
    except GateError as error:
        if error.code == "already_redeemed":
            raise PlacetError(
                "already_redeemed: an earlier run of this node has used this approval, and LangGraph has not kept what came "
                "of it; run_approved keeps it"
            ) from error
        raise


class _Siblings:
    """The open questions of each task, as far as this process has asked them."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, set[str]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, task: str, name: str) -> None:
        with self._lock:
            self._names.setdefault(task, set()).add(name)
            while len(self._names) > TASKS_REMEMBERED:
                self._names.popitem(last=False)

    def remove(self, task: str, name: str) -> None:
        with self._lock:
            names = self._names.get(task, set())
            names.discard(name)
            if not names:
                self._names.pop(task, None)

    def of(self, task: str) -> list[str]:
        with self._lock:
            return sorted(self._names.get(task, ()))


_siblings = _Siblings()


def _place() -> dict[str, Any]:
    place: dict[str, Any] = get_config().get("configurable", {})
    return place


def _task() -> str:
    """This task, whichever of its runs it is: `checkpoint_ns` ends with its id."""
    return "\n".join(str(_place().get(key, "")) for key in ("thread_id", "checkpoint_ns"))


def _name(action: str, text: bytes, call_id: str | None) -> str:
    """The same name each time that the paused task runs again, and for no other task, call or payload."""
    parts = [_task(), action, digest(text), *([] if call_id is None else [call_id])]
    return "langgraph-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def _keeper(name: str) -> tuple[BaseCheckpointSaver[Any] | None, Any]:
    """The graph's checkpointer, and where in it the result of that name is: in the same thread, beside its checkpoints."""
    saver = _place().get(CHECKPOINTER)
    place = {"configurable": {"thread_id": _place().get("thread_id"), "checkpoint_ns": f"placet:{_task()}:{name}"}}
    return (saver if isinstance(saver, BaseCheckpointSaver) else None), place


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
