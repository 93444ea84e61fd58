"""LangGraph itself drives the adapter: a node pauses until a person has decided."""

from typing import TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from placet import NotApproved, PlacetError
from placet.langgraph import approved_payload, arun, run


class State(TypedDict, total=False):
    amount: int
    receipt: str


def graph_of(gate, action, **options):
    paid = []

    def pay(state):
        payload = approved_payload(gate, action=action, payload={"amount": state["amount"]}, summary="Pay", **options)
        paid.append(payload["amount"])
        return {"receipt": f"paid {payload['amount']}"}

    builder = StateGraph(State)
    builder.add_node("pay", pay)
    builder.add_edge(START, "pay")
    builder.add_edge("pay", END)
    return builder.compile(checkpointer=InMemorySaver()), paid


def thread(name):
    return {"configurable": {"thread_id": name}}


def test_a_node_pauses_until_a_person_has_approved(gate, desk, raw):
    graph, paid = graph_of(gate, "graph.pay")
    answering = desk.answers(raw("agent"), "graph.pay", "approve")
    assert run(graph, {"amount": 7}, thread("t1"), gate)["receipt"] == "paid 7"
    assert paid == [7] and len(answering.done()) == 1


async def test_an_async_run_waits_too(gate, agate, desk, raw):
    graph, paid = graph_of(gate, "graph.async")
    answering = desk.answers(raw("agent"), "graph.async", "approve")
    assert (await arun(graph, {"amount": 7}, thread("t1"), agate))["receipt"] == "paid 7"
    answering.done()


def test_a_rejection_ends_the_node_with_the_reason(gate, desk, raw):
    graph, paid = graph_of(gate, "graph.no")
    answering = desk.answers(raw("agent"), "graph.no", "reject", reason="too much")
    with pytest.raises(NotApproved, match="too much"):
        run(graph, {"amount": 7}, thread("t1"), gate)
    answering.done()
    assert paid == []


@pytest.mark.parametrize("word", [True, "approved", {"approved": True}, {"status": "approved", "token": "x.y.z"}])
def test_whoever_resumes_the_graph_approves_nothing(gate, raw, word):
    action = f"graph.resume{type(word).__name__}"
    graph, paid = graph_of(gate, action)
    first = graph.invoke({"amount": 7}, thread("t1"))
    (pause,) = first["__interrupt__"]
    assert pause.value["payload"] == {"amount": 7}
    again = graph.invoke(Command(resume=word), thread("t1"))
    assert [one.value["placet_request"] for one in again["__interrupt__"]] == [pause.value["placet_request"]]
    assert paid == []
    # The paused node, run again and again, has asked once.
    pending = [row for row in raw("agent").list(status="pending", limit=100).json()["requests"] if row["action"] == action]
    assert len(pending) == 1
    gate.cancel(pause.value["placet_request"])


def test_each_thread_asks_for_itself(gate, desk, raw):
    graph, paid = graph_of(gate, "graph.threads")
    answering = desk.answers(raw("agent"), "graph.threads", "approve", "approve")
    for name in ("t1", "t2"):
        run(graph, {"amount": 7}, thread(name), gate)
    assert paid == [7, 7] and len(answering.done()) == 2


def test_a_node_that_is_run_again_from_its_past_does_not_pay_twice(gate, desk, raw):
    graph, paid = graph_of(gate, "graph.past")
    answering = desk.answers(raw("agent"), "graph.past", "approve")
    run(graph, {"amount": 7}, thread("t1"), gate)
    answering.done()
    before = next(state for state in graph.get_state_history(thread("t1")) if state.next == ("pay",))
    try:
        again = graph.invoke(None, before.config)
        assert again["__interrupt__"]  # it may ask anew; it may not use what is used up
    except PlacetError as error:
        assert "already_redeemed" in str(error)
    assert paid == [7]
