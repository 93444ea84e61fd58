"""The clients against a real gate: ask, wait, verify, redeem, call back."""

import asyncio
import threading

import pytest
from placet import (
    AsyncPlacet,
    Executor,
    GateError,
    InvalidPayload,
    InvalidToken,
    Placet,
    PlacetError,
    Unreachable,
    digest,
    read_callback,
)
from placet_client import new_id
from receiver import Receiver

PAYLOAD = {"to": "acme@example.com", "amount": 1250.5, "note": "für März"}


def test_an_approval_is_asked_waited_for_verified_and_redeemed(gate, desk, raw):
    name = new_id()
    asked = gate.ask(request_id=name, action="invoice.pay", payload=PAYLOAD, summary="pay it", metadata={"run": "17"})
    assert (asked.status, asked.approved, asked.token, asked.payload_sha256) == (
        "pending",
        False,
        None,
        digest(PAYLOAD),
    )
    again = gate.ask(request_id=name, action="invoice.pay", payload=PAYLOAD, summary="pay it", metadata={"run": "17"})
    assert again.approval_id == asked.approval_id
    answering = desk.answers(raw("agent"), "invoice.pay", "approve", reason="fine")
    ended = gate.wait(name)
    answering.done()
    assert (ended.status, ended.decided_by, ended.reason, ended.metadata) == (
        "approved",
        ("bob",),
        "fine",
        {"run": "17"},
    )
    claims = gate.verify(ended.token, PAYLOAD, "invoice.pay")
    assert (claims.sub, claims.jti, claims.aud, claims.decided_by) == (name, ended.approval_id, "agent", ("bob",))
    assert gate.verify_online(ended.token, PAYLOAD)["valid"] is True
    assert gate.redeem(ended.token, PAYLOAD, "run-17") is True
    assert gate.redeem(ended.token, PAYLOAD, "run-17") is False
    with pytest.raises(GateError) as refused:
        gate.redeem(ended.token, PAYLOAD, "run-18")
    assert (refused.value.status, refused.value.code) == (409, "already_redeemed")
    assert ended.token not in repr(ended) and raw("agent").secret not in repr(gate)


async def test_the_async_client_does_the_same(agate, desk, raw):
    answering = desk.answers(raw("agent"), "async.pay", "approve")
    asked = await agate.ask(action="async.pay", payload=PAYLOAD, summary="pay it")
    ended = await agate.wait(asked.request_id)
    answering.done()
    assert (await agate.verify(ended.token, PAYLOAD)).sub == asked.request_id
    assert (await agate.get(asked.request_id)).approved
    assert await agate.redeem(ended.token, PAYLOAD, "run-1") is True
    assert (await agate.verify_online(ended.token))["valid"] is True


async def test_many_can_wait_on_one_async_client(agate, desk, raw):
    async def one(number):
        return await agate.authorize(action="many.pay", payload={"n": number}, summary="one of many")

    answering = desk.answers(raw("agent"), "many.pay", *["approve"] * 5)
    done = await asyncio.gather(*(one(number) for number in range(5)))
    answering.done()
    assert [one.payload for one in done] == [{"n": number} for number in range(5)]


def test_an_eddsa_token_is_verified_with_keys_that_are_fetched_once(connect, running):
    with connect("signed") as client:
        tokens = [client.ask(action="auto.do", payload={"n": n}, summary="s", wait_seconds=1).token for n in range(3)]
        fetched = []
        send = client._send
        client._send = lambda step: fetched.append(step.path) or send(step)
        for number, token in enumerate(tokens):
            assert client.verify(token, {"n": number}).aud == "signed"
        assert fetched == ["/.well-known/jwks.json"]


async def test_an_eddsa_token_is_verified_by_the_async_client(connect):
    async with connect("signed", AsyncPlacet) as client:
        done = await client.authorize(action="auto.do", payload={"n": 1}, summary="s")
        assert done.claims.aud == "signed"


def test_an_unknown_key_is_looked_for_at_most_every_so_often(connect):
    from placet.jwks import COOLDOWN_SECONDS, LIFESPAN_SECONDS, KeyCache

    cache = KeyCache()
    assert cache.wants_fetch("a", 0)
    cache.put({"keys": []}, 0)
    assert not cache.wants_fetch("made-up", COOLDOWN_SECONDS)
    assert cache.wants_fetch("made-up", COOLDOWN_SECONDS + 1)
    cache.put({"keys": [{"kty": "RSA", "kid": "a"}, {"kty": "OKP", "crv": "X25519", "kid": "b"}]}, 100)
    assert cache.find("a") == cache.find("b") == cache.find(None) == []
    assert not cache.wants_fetch("a", 100) and cache.wants_fetch("a", 100 + LIFESPAN_SECONDS + 1)


def test_keys_and_secrets_may_be_rotated_while_a_client_works(own_gate):
    gate, client = own_gate
    before = client.ask(action="auto.do", payload={}, summary="s", wait_seconds=1)
    gate.cli("keys", "rotate")
    fresh = Placet(gate.url, "agent", [gate.secret("agent"), client.settings.secrets[0]], algorithm="HS256")
    for one in (client, fresh):
        after = one.ask(action="auto.do", payload={"n": 1}, summary="s", wait_seconds=1)
        assert one.verify(after.token, {"n": 1}).jti == after.approval_id
    assert fresh.verify(before.token).jti == before.approval_id
    fresh.close()


def test_a_request_is_withdrawn_or_its_outcome_told(gate, desk, raw):
    asked = gate.ask(action="draw.back", payload={}, summary="s")
    assert gate.cancel(asked.request_id).status == "cancelled"
    decided = gate.ask(action="auto.do", payload={}, summary="s", wait_seconds=1)
    assert gate.cancel(decided.request_id).status == "approved"


def test_a_wait_ends_after_its_seconds_with_what_is_known(gate):
    asked = gate.ask(action="slow.answer", payload={}, summary="s")
    assert gate.wait(asked.request_id, 1.5).status == "pending"
    assert gate.wait(asked.request_id, 0).status == "pending"
    gate.cancel(asked.request_id)


def test_a_refusal_has_the_gates_code(gate, running, connect):
    name = new_id()
    gate.ask(request_id=name, action="auto.do", payload={"n": 1}, summary="s")
    with pytest.raises(GateError) as conflict:
        gate.ask(request_id=name, action="auto.do", payload={"n": 2}, summary="s")
    assert (conflict.value.status, conflict.value.code) == (409, "request_id_conflict")
    with pytest.raises(GateError) as missing:
        gate.get("never-asked")
    assert missing.value.code == "not_found"
    with pytest.raises(GateError) as invalid:
        gate.ask(action="not dotted!", payload={}, summary="s")
    assert invalid.value.code == "invalid_request" and invalid.value.problem["errors"][0]["field"] == "action"
    with Placet(running.url, "agent", "whsec_" + "0" * 64) as stranger, pytest.raises(GateError) as unknown:
        stranger.get(name)
    assert unknown.value.code == "invalid_signature"


@pytest.mark.parametrize("payload", [
    {"n": 2**53}, {"n": 1e300}, {"n": float("nan")}, {"n": {1, 2}}, {1: "a"}, {"d": object()}, {"s": "\ud800"},
    {"s": "x" * 70_000}, ["a"], None, {"b": b"bytes"},
])  # fmt: skip
def test_what_is_not_plain_json_is_refused_before_anybody_is_asked(gate, payload):
    with pytest.raises(InvalidPayload):
        gate.ask(action="auto.do", payload=payload, summary="s")


def test_a_gate_that_is_away_is_an_exception_after_the_patience(free_url):
    with Placet(free_url, "agent", "whsec_x", patience_seconds=0.5) as client, pytest.raises(Unreachable):
        client.authorize(action="auto.do", payload={}, summary="s")
    executor = Executor(free_url, "signed", lambda *_: True)
    with pytest.raises(InvalidToken):
        executor.verify("no token")


def test_a_gate_that_comes_back_finds_its_client_waiting(own_gate):
    gate, client = own_gate
    asked = client.ask(action="be.patient", payload={}, summary="s")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(client.wait(asked.request_id)), daemon=True)
    waiting.start()
    gate.kill()
    gate.port = int(gate.url.rsplit(":", 1)[1])
    gate.start(seconds=60)
    gate.link({"approval_id": asked.approval_id}, "bob", seconds=60).approve()
    waiting.join(120)
    assert [answer.status for answer in answers] == ["approved"]


def test_a_callback_is_verified_with_the_clients_secret(gate, raw, desk):
    receiver = Receiver()
    try:
        url = receiver.address()
        asked = gate.ask(action="call.back", payload=PAYLOAD, summary="s", callback_url=url)
        desk.decide({"approval_id": asked.approval_id})
        delivery = receiver.wait(url, seconds=60)[0]
        approval = read_callback(raw("agent").secret, delivery.headers, delivery.body)
        assert (approval.request_id, approval.approved) == (asked.request_id, True)
        assert gate.verify(approval.token, PAYLOAD).jti == asked.approval_id
        with pytest.raises(PlacetError):
            read_callback(raw("other").secret, delivery.headers, delivery.body)
    finally:
        receiver.close()


def test_settings_come_from_the_environment(running, raw, monkeypatch):
    with pytest.raises(PlacetError, match="PLACET_URL, PLACET_CLIENT, PLACET_SECRET"):
        Placet.from_env()
    monkeypatch.setenv("PLACET_URL", running.url)
    monkeypatch.setenv("PLACET_CLIENT", "agent")
    monkeypatch.setenv("PLACET_SECRET", f"{raw('agent').secret}, {raw('other').secret}")
    with Placet.from_env() as client:
        assert client.ask(action="auto.do", payload={}, summary="s").approved
    for bad in ({"url": "gate.example.com"}, {"secret": ""}, {"algorithm": "none"}):
        with pytest.raises(ValueError):
            Placet(**{"url": running.url, "client": "agent", "secret": "s", **bad})
