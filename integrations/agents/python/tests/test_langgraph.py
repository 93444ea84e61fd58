"""LangGraph itself drives the adapter: a node pauses until a person has decided."""

from typing import Annotated, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from placet import NotApproved, PlacetError
from placet.langgraph import approved_payload, arun, run, run_approved


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
    graph, _paid = graph_of(gate, "graph.async")
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
    pending = [
        row for row in raw("agent").list(status="pending", limit=100).json()["requests"] if row["action"] == action
    ]
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


class Chat(TypedDict):
    messages: Annotated[list, add_messages]


def tools_graph(gate, calls, keeps, saver=None):
    """A model that calls tools, and the node that runs them: each a payment behind an approval. `keeps`: `run_approved`."""
    paid = []

    def pay(action, amount, call_id):
        question = {"action": action, "payload": {"amount": amount}, "summary": "Pay", "call_id": call_id}

        def deed(payload):
            paid.append((action, payload["amount"]))
            return f"paid {payload['amount']} by {action}"

        return run_approved(gate, deed, **question) if keeps else deed(approved_payload(gate, **question))

    @tool
    def transfer(action: str, amount: int, call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Transfer."""
        return pay(action, amount, call_id)

    @tool
    def refund(action: str, amount: int, call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Refund."""
        return pay(action, amount, call_id)

    def model(_):
        return {"messages": [AIMessage("", tool_calls=calls)]}

    builder = StateGraph(Chat)
    builder.add_node("model", model)
    builder.add_node("tools", ToolNode([transfer, refund]))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    builder.add_edge("tools", END)
    return builder.compile(checkpointer=saver or InMemorySaver()), paid


def call(name, action, amount, call_id):
    return {"name": name, "args": {"action": action, "amount": amount}, "id": call_id}


def results(state):
    return [message.content for message in state["messages"] if message.type == "tool"]


@pytest.mark.parametrize("keeps", [True, False])
def test_two_gated_tools_of_one_node_are_done_once_each_and_their_results_are_kept(gate, desk, raw, keeps):
    action = f"graph.two{keeps}"
    graph, paid = tools_graph(gate, [call("transfer", action, 7, "c1"), call("refund", action, 8, "c2")], keeps)
    answering = desk.answers(raw("agent"), action, "approve", "approve")
    state = run(graph, {"messages": [("user", "pay")]}, thread("t1"), gate)
    answering.done()
    assert results(state) == [f"paid 7 by {action}", f"paid 8 by {action}"]
    assert sorted(paid) == [(action, 7), (action, 8)]


def test_two_calls_with_the_same_arguments_are_two_deeds(gate, desk, raw):
    graph, paid = tools_graph(
        gate, [call("transfer", "graph.same", 7, "c1"), call("transfer", "graph.same", 7, "c2")], True
    )
    answering = desk.answers(raw("agent"), "graph.same", "approve", "approve")
    state = run(graph, {"messages": [("user", "pay")]}, thread("t1"), gate)
    assert len(answering.done()) == 2 and len(results(state)) == 2 and len(paid) == 2


def test_what_policy_approves_at_once_beside_what_a_person_has_to_is_done_once(gate, desk, raw):
    graph, paid = tools_graph(
        gate, [call("transfer", "auto.first", 7, "c1"), call("refund", "graph.second", 8, "c2")], True
    )
    answering = desk.answers(raw("agent"), "graph.second", "approve")
    state = run(graph, {"messages": [("user", "pay")]}, thread("t1"), gate)
    answering.done()
    assert results(state) == ["paid 7 by auto.first", "paid 8 by graph.second"]
    assert sorted(paid) == [("auto.first", 7), ("graph.second", 8)]


def test_another_process_that_resumes_the_graph_finds_what_was_done(gate, desk, raw):
    """The checkpoints are all that is left: the graph, and what this process remembers, are made anew."""
    from placet import langgraph

    saver, calls = (
        InMemorySaver(),
        [call("transfer", "auto.process", 7, "c1"), call("refund", "graph.process", 8, "c2")],
    )
    graph, paid = tools_graph(gate, calls, True, saver)
    paused = graph.invoke({"messages": [("user", "pay")]}, thread("t1"))
    assert paused["__interrupt__"] and paid in (
        [],
        [("auto.process", 7)],
    )  # the first, where the second was asked in time
    langgraph._siblings = langgraph._Siblings()
    again, more = tools_graph(gate, calls, True, saver)
    answering = desk.answers(raw("agent"), "graph.process", "approve")
    state = run(again, None, thread("t1"), gate)
    answering.done()
    assert results(state) == ["paid 7 by auto.process", "paid 8 by graph.process"]
    assert sorted(paid + more) == [("auto.process", 7), ("graph.process", 8)]


def test_deeds_one_after_the_other_in_one_node_are_done_once_each(gate, desk, raw):
    paid = []

    def node(state):
        for action in ("graph.one", "graph.after"):
            run_approved(
                gate, lambda payload, action=action: paid.append(action), action=action, payload={}, summary="s"
            )
        return {"receipt": "both"}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    answers = [desk.answers(raw("agent"), action, "approve") for action in ("graph.one", "graph.after")]
    assert run(builder.compile(checkpointer=InMemorySaver()), {"amount": 1}, thread("t1"), gate)["receipt"] == "both"
    for answering in answers:
        answering.done()
    assert paid == ["graph.one", "graph.after"]


def test_a_kept_result_is_not_found_from_the_past(gate, desk, raw):
    """Who goes back in a thread's history and runs the task again asks again."""
    paid = []

    def pay(state):
        return {
            "receipt": run_approved(
                gate, lambda payload: paid.append(1) or "paid", action="graph.back", payload={}, summary="s"
            )
        }

    builder = StateGraph(State)
    builder.add_node("pay", pay)
    builder.add_edge(START, "pay")
    builder.add_edge("pay", END)
    graph = builder.compile(checkpointer=InMemorySaver())
    answering = desk.answers(raw("agent"), "graph.back", "approve")
    run(graph, {"amount": 7}, thread("t1"), gate)
    answering.done()
    before = next(state for state in graph.get_state_history(thread("t1")) if state.next == ("pay",))
    again = graph.invoke(None, before.config)
    assert again["__interrupt__"] and paid == [1]
    gate.cancel(again["__interrupt__"][0].value["placet_request"])
