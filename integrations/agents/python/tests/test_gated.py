"""`requires_approval` and `requires_token`: what runs, with what, and what does not."""

import inspect

import pytest
from placet import InvalidPayload, InvalidToken, NotApproved, PlacetError, TimedOut, Unreachable, digest


def paying(gate, action="pay.invoice", **options):
    """A gated function, and the calls that reached it."""
    ran = []

    @gate.requires_approval(action, **options)
    def pay(to, amount, *lines, urgent=False, **extra):
        """Pay an invoice."""
        ran.append((to, amount, lines, urgent, extra))
        return "paid"

    return pay, ran


def test_the_function_runs_with_exactly_what_was_approved(gate, desk, raw):
    pay, ran = paying(gate, summary=lambda call: f"Pay {call['to']} {call['amount']}")
    answering = desk.answers(raw("agent"), "pay.invoice", "approve")
    assert pay("acme", 12.5, "line 1", {"no": 2}, memo=["x"]) == "paid"
    (approval,) = answering.done()
    assert ran == [("acme", 12.5, ("line 1", {"no": 2}), False, {"memo": ["x"]})]
    # Defaults are part of what is approved.
    payload = {"to": "acme", "amount": 12.5, "lines": ["line 1", {"no": 2}], "urgent": False, "extra": {"memo": ["x"]}}
    assert approval["payload_sha256"] == digest(payload)
    assert approval["summary"] == "Pay acme 12.5"


def test_an_argument_that_changes_while_a_person_thinks_changes_nothing(gate, desk, raw):
    ran = []

    @gate.requires_approval("send.mail")
    def send(mail):
        ran.append(mail)

    mail = {"to": ["acme@example.com"]}

    def approve():
        approval = desk.waiting(raw("agent"), "send.mail")[0]
        mail["to"].append("everybody@example.com")
        desk.decide(approval)

    import threading

    reviewer = threading.Thread(target=approve)
    reviewer.start()
    send(mail)
    reviewer.join(120)
    assert mail["to"] == ["acme@example.com", "everybody@example.com"]
    assert ran == [{"to": ["acme@example.com"]}]


def test_a_rejection_runs_nothing_not_even_the_fallback(gate, desk, raw):
    fallen = []
    pay, ran = paying(gate, "pay.no", fallback=lambda *_, **__: fallen.append(1), timeout_seconds=600)
    answering = desk.answers(raw("agent"), "pay.no", "reject", reason="not this month")
    with pytest.raises(NotApproved, match="not this month") as refused:
        pay("acme", 1)
    answering.done()
    assert not isinstance(refused.value, TimedOut) and refused.value.approval.decided_by == ("bob",)
    assert ran == fallen == []


def test_policy_may_decide_alone(gate):
    pay, ran = paying(gate, "auto.pay")
    assert pay("acme", 1) == "paid"
    refused, never = paying(gate, "never.pay")
    with pytest.raises(NotApproved):
        refused("acme", 1)
    assert len(ran) == 1 and never == []


def test_after_the_time_the_request_is_withdrawn_and_the_fallback_runs(gate, raw):
    fallen = []

    def later(to, amount, **_):
        fallen.append((to, amount))
        return "put on the list"

    pay, ran = paying(gate, "pay.late", timeout_seconds=1, fallback=later, request_id="late-1")
    assert pay("acme", 5) == "put on the list"
    assert (ran, fallen) == ([], [("acme", 5)])
    assert raw("agent").state("late-1")["status"] in ("expired", "cancelled")
    strict, never = paying(gate, "pay.late", timeout_seconds=1)
    with pytest.raises(TimedOut):
        strict("acme", 5)
    assert never == []


async def test_async_functions_wait_without_blocking(agate, desk, raw):
    ran = []

    @agate.requires_approval("async.gated", timeout_seconds=600)
    async def pay(to):
        ran.append(to)
        return "paid"

    answering = desk.answers(raw("agent"), "async.gated", "approve", "reject")
    assert await pay("acme") == "paid"
    with pytest.raises(NotApproved):
        await pay(to="acme")
    answering.done()

    async def later(to):
        return f"later: {to}"

    @agate.requires_approval("async.late", timeout_seconds=1, fallback=later)
    async def late(to):
        ran.append(to)

    assert await late("acme") == "later: acme"
    assert ran == ["acme"]


def test_no_gate_means_no(free_url):
    from placet import Placet

    with Placet(free_url, "agent", "whsec_x", patience_seconds=0.3) as away:
        pay, ran = paying(away)
        with pytest.raises(Unreachable):
            pay("acme", 1)
        again, _ = paying(away, timeout_seconds=0.5, fallback=lambda *_, **__: "later")
        assert again("acme", 1) == "later"
    assert ran == []


def test_one_deed_under_one_name_runs_once(gate, desk, raw):
    pay, ran = paying(gate, "pay.once", request_id=lambda call: f"once-{call['to']}")
    answering = desk.answers(raw("agent"), "pay.once", "approve")
    assert pay("acme", 1) == "paid"
    answering.done()
    with pytest.raises(PlacetError, match="already_redeemed"):
        pay("acme", 1)
    with pytest.raises(PlacetError, match="request_id_conflict"):
        pay("acme", 2)
    assert len(ran) == 1


def test_context_is_handed_on_and_is_no_part_of_the_payload(gate):
    class Books:
        @gate.requires_approval("auto.book", context=["self", "session"])
        def book(self, session, amount):
            return (self, session, amount)

    books, session = Books(), object()
    assert books.book(session, 3) == (books, session, 3)
    with pytest.raises(TypeError, match="no parameter"):
        gate.requires_approval("auto.book", context=["nobody"])(lambda amount: amount)


def test_arguments_that_are_no_json_ask_nobody(gate):
    pay, ran = paying(gate)
    with pytest.raises(InvalidPayload, match=r"payload\.to is a object"):
        pay(object(), 1)
    with pytest.raises(TypeError):
        pay()
    assert ran == []


def test_a_blocking_client_does_not_take_an_async_function(gate):
    with pytest.raises(TypeError, match="AsyncPlacet"):

        @gate.requires_approval("auto.do")
        async def pay():
            pass


def test_the_executor_asks_for_the_token_as_a_parameter(gate):
    ran = []

    @gate.requires_token("auto.pay")
    def pay(to: str, amount: int = 1) -> str:
        ran.append((to, amount))
        return "paid"

    assert list(inspect.signature(pay).parameters) == ["to", "amount", "approval_token"]
    done = gate.ask(action="auto.pay", payload={"to": "acme", "amount": 1}, summary="s", wait_seconds=1)
    assert pay("acme", approval_token=done.token) == "paid"
    with pytest.raises(PlacetError, match="already_redeemed"):
        pay("acme", approval_token=done.token)
    with pytest.raises(InvalidToken, match="missing"):
        pay("acme")
    assert ran == [("acme", 1)]


async def test_an_async_executor_does_the_same(agate):
    ran = []

    @agate.requires_token("auto.pay")
    async def pay(to):
        ran.append(to)

    done = await agate.ask(action="auto.pay", payload={"to": "acme"}, summary="s", wait_seconds=1)
    await pay("acme", approval_token=done.token)
    for token in (done.token, None, "x"):
        with pytest.raises(PlacetError):
            await pay("acme", approval_token=token)
    assert ran == ["acme"]
