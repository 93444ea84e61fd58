"""An errand (ask, wait, redeem) from its first call to its end: its time limit, its ways out, its patience, its address."""

import asyncio
import dataclasses
import datetime
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from local_gate import LocalGate
from meddler import Meddler
from placet import (
    AsyncPlacet,
    Executor,
    GateError,
    InvalidPayload,
    Placet,
    PlacetError,
    TimedOut,
    Unreachable,
    flows,
    tools,
)
from placet.patience import Patience, is_tried_again, retry_after
from placet_client import wait_until

PATIENCE = json.loads((Path(__file__).resolve().parents[4] / "tests/fixtures/patience.json").read_text())


def status(raw, approval, client="agent"):
    return raw(client).state(approval["request_id"])["status"]


# ---------------------------------------------------------------- the time limit


@pytest.mark.parametrize("kind", [Placet, AsyncPlacet])
@pytest.mark.parametrize(("place", "what"), [
    ("/v1/requests", "hang"), ("/v1/requests", "lose"), ("GET", "hang"), ("GET", "slow"), ("cancel", "hang"), ("redeem", "hang"), ("redeem", "lose"), ("jwks.json", "hang"),
    ("redeem", "trickle"), ("GET", "trickle"),
])  # fmt: skip
def test_one_time_limit_is_for_all_of_it(running, raw, connect, kind, place, what):
    def meddle(method, path):
        return what if path.endswith(place) or (place == "GET" and method == "GET") else "pass"

    action = "limit.people" if place in ("GET", "cancel") else "auto.limit"
    with Meddler(running.url, meddle) as between:
        client = kind(between.url, "signed", raw("signed").secret)

        async def wait_for(errand):
            async with client:
                return await errand

        began = time.monotonic()
        with pytest.raises((Unreachable, TimedOut)):
            errand = client.authorize(action=action, payload={"n": 1}, summary="s", timeout_seconds=2)
            if kind is AsyncPlacet:
                asyncio.run(wait_for(errand))
        assert time.monotonic() - began < 8


# ---------------------------------------------------------------- the ways out


async def test_a_cancelled_task_withdraws_its_question(agate, desk, raw):
    errand = asyncio.create_task(agate.authorize(action="out.task", payload={}, summary="s"))
    approval = (await asyncio.to_thread(desk.waiting, raw("agent"), "out.task"))[0]
    errand.cancel()
    with pytest.raises(asyncio.CancelledError):
        await errand
    assert status(raw, approval) == "cancelled"


async def test_a_scope_that_cancels_again_and_again_withdraws_it_too(agate, desk, raw):
    async def ask():
        await agate.authorize(action="out.scope", payload={}, summary="s")

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        approval = (await asyncio.to_thread(desk.waiting, raw("agent"), "out.scope"))[0]
        group.cancel_scope.cancel()
    await agate.close()
    assert status(raw, approval) == "cancelled"


async def test_a_question_that_is_cancelled_while_it_is_asked_is_withdrawn(running, raw):
    """The gate has it, the answer is on its way: whether it arrived is not known, so it is looked for."""
    with Meddler(running.url, lambda method, path: "lose" if path == "/v1/requests" else "pass") as between:
        async with AsyncPlacet(between.url, "agent", raw("agent").secret, algorithm="HS256") as client:
            errand = asyncio.create_task(
                client.authorize(action="out.asking", payload={}, summary="s", request_id="out-asking")
            )
            approval = await asyncio.to_thread(
                wait_until,
                lambda: raw("agent").get("out-asking").status == 200 and raw("agent").state("out-asking"),
                30,
                "the question",
            )
            errand.cancel()
            with pytest.raises(asyncio.CancelledError):
                await errand
    assert status(raw, approval) == "cancelled"


async def test_another_question_of_that_name_is_left_alone(gate, running, raw):
    gate.ask(request_id="out-other", action="out.other", payload={"n": 1}, summary="s")
    with Meddler(running.url, lambda method, path: "hang" if path == "/v1/requests" else "pass") as between:
        async with AsyncPlacet(between.url, "agent", raw("agent").secret, algorithm="HS256") as client:
            with pytest.raises(asyncio.TimeoutError):
                async with asyncio.timeout(1):
                    await client.authorize(action="out.other", payload={"n": 2}, summary="s", request_id="out-other")
    assert gate.get("out-other").status == "pending"
    with pytest.raises(GateError, match="request_id_conflict"):
        gate.authorize(action="out.other", payload={"n": 2}, summary="s", request_id="out-other")
    assert gate.get("out-other").status == "pending"
    gate.cancel("out-other")


async def test_a_stopped_agent_withdraws_what_its_model_asked(agate, desk, raw):
    given = {"summary": "s", "action": "out.model", "payload": {}}
    errand = asyncio.create_task(agate.run(tools.answer(agate.settings, given, None)))
    approval = (await asyncio.to_thread(desk.waiting, raw("agent"), "out.model"))[0]
    errand.cancel()
    with pytest.raises(asyncio.CancelledError):
        await errand
    assert status(raw, approval) == "cancelled"


def test_whatever_goes_wrong_in_the_notice_withdraws_it(gate, raw):
    seen = []

    def notice(approval):
        seen.append(approval)
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        gate.authorize(action="out.notice", payload={}, summary="s", notify=notice)
    assert seen[0].status == "pending" and gate.get(seen[0].request_id).status == "cancelled"


SYNC = """
    from placet import Placet
    Placet.from_env().authorize(action={action!r}, payload={{}}, summary="s")
"""
ASYNC = """
    import asyncio
    from placet import AsyncPlacet
    async def main():
        async with AsyncPlacet.from_env() as gate:
            await asyncio.gather(*(gate.authorize(action={action!r}, payload={{"n": n}}, summary="s") for n in range(2)))
    asyncio.run(main())
"""
OWN_HANDLER = """
    import signal, sys
    from placet import Placet
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    Placet.from_env().authorize(action={action!r}, payload={{}}, summary="s")
"""


@pytest.mark.parametrize(("program", "number", "count", "code"), [
    (SYNC, signal.SIGINT, 1, -signal.SIGINT), (SYNC, signal.SIGTERM, 1, -signal.SIGTERM), (ASYNC, signal.SIGINT, 2, -signal.SIGINT), (ASYNC, signal.SIGTERM, 2, -signal.SIGTERM),
    (OWN_HANDLER, signal.SIGTERM, 1, 7),
])  # fmt: skip
def test_a_program_that_is_ended_withdraws_its_questions(running, raw, desk, program, number, count, code):
    action = f"end.{len(program)}.s{int(number)}"
    env = {
        "PATH": os.environ["PATH"],
        "PLACET_URL": running.url,
        "PLACET_CLIENT": "agent",
        "PLACET_SECRET": raw("agent").secret,
        "PLACET_TOKEN_ALG": "HS256",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program).format(action=action)], env=env, stderr=subprocess.PIPE
    )
    approvals = desk.waiting(raw("agent"), action, count)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert [status(raw, one) for one in approvals] == ["cancelled"] * count


# ---------------------------------------------------------------- patience


def test_one_table_says_what_is_tried_again():
    assert all(map(is_tried_again, PATIENCE["tried_again"])) and not any(map(is_tried_again, PATIENCE["final"]))
    for row in PATIENCE["retry_after"]:
        assert retry_after({"retry-after": row["text"]}, PATIENCE["now"]) == row["seconds"], row
    away = Patience(60, None)
    pauses, now = [], 0.0
    while (pause := away.pause(now, None)) is not None:
        pauses.append(pause)
        now += pause
    assert pauses[:6] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0] and 54 < now < 60
    busy, now = Patience(60, None), 0.0
    while (pause := busy.pause(now, 30)) is not None:
        assert 30 <= pause <= 35.1
        now += pause
    assert 500 < now < 600
    assert Patience(60, 1.0).pause(0.9, None) is None and Patience(60, 20.0).pause(0, 30) is None


def test_a_gate_that_holds_no_calls_is_looked_at_when_it_says(gate, raw):
    """Driven by hand: what is asked, and for how long the client rests in between."""
    now, rests, asked = [0.0], [], []
    settings = dataclasses.replace(gate.settings, monotonic=lambda: now[0])
    approved = raw("agent").asked("auto.paced", {})
    pending = {**approved, "status": "pending", "approved": False, "token": None}
    answers = [(pending, "2"), (pending, "7"), (pending, "30"), (approved, None)]

    def wait(seconds):
        flow, reply = flows.wait(settings, "r", seconds), None
        left = iter(answers)
        try:
            while True:
                step = flow.send(reply)
                if isinstance(step, flows.Pause):
                    rests.append(step.seconds)
                    now[0] += step.seconds
                    reply = None
                    continue
                asked.append((step.headers["Prefer"], step.path))
                approval, told = next(left)
                headers = {} if told is None else {"retry-after": told}
                reply = flows.Reply(200, headers, json.dumps(approval).encode())
        except StopIteration as ended:
            return ended.value

    assert wait(None).status == "approved" and rests == [2, 7, 30]
    assert asked == [("respond-async", "/v1/requests/r?wait_seconds=25")] * 4
    # The last look is at the end of the wait, and not after it.
    now[0], rests[:], asked[:] = 0.0, [], []
    assert wait(5).status == "pending" and rests == [2, 3]
    assert [path.rpartition("=")[2] for _, path in asked] == ["5", "3", "0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_gate_that_is_restarted_under_a_wait_is_waited_for(own_gate, number):
    gate, client = own_gate
    answers = []
    errand = threading.Thread(
        target=lambda: answers.append(
            client.authorize(action="be.patient", payload={}, summary="s", timeout_seconds=120)
        ),
        daemon=True,
    )
    errand.start()
    own = gate.client("agent")
    row = wait_until(lambda: own.list(status="pending", limit=10).json()["requests"], 30, "the question")[0]

    async def awaited():
        async with AsyncPlacet(gate.url, "agent", client.settings.secrets[0], algorithm="HS256") as waiting:
            return await waiting.wait(row["request_id"])

    also = threading.Thread(target=lambda: answers.append(asyncio.run(awaited())), daemon=True)
    also.start()
    time.sleep(0.5)
    gate.stop(number)
    gate.port = int(gate.url.rsplit(":", 1)[1])
    time.sleep(1)
    gate.start(seconds=60)
    gate.link(row, "bob", seconds=60).approve()
    errand.join(60)
    also.join(60)
    assert len(answers) == 2, gate.logs()[-500:]


@pytest.mark.parametrize("trouble", [
    (503, b'{"code":"unavailable"}', {"Retry-After": "1"}), (429, b'{"code":"rate_limited"}', {"Retry-After": "1"}), (502, b"<html>", {}), "reset", "cut",
])  # fmt: skip
def test_each_call_is_tried_again(running, raw, connect, trouble):
    met = {}

    def meddle(method, path):
        met[(method, path)] = met.get((method, path), 0) + 1
        return trouble if met[(method, path)] <= 2 else "pass"

    with Meddler(running.url, meddle) as between, Placet(between.url, "signed", raw("signed").secret) as client:
        done = client.authorize(action="auto.again", payload={"n": 1}, summary="s", timeout_seconds=60)
    assert done.payload == {"n": 1} and set(met.values()) == {3}, met


# ---------------------------------------------------------------- the address


@pytest.mark.parametrize("url", [
    "http://gate.example.com", "http://10.0.0.1:8484", "http://0.0.0.0:8484", "http://169.254.169.254", "http://localhost.example.com", "http://127.0.0.1.example.com",
    "http://127.0.0.1@example.com", "http://example.com#127.0.0.1", "http://example.com\\@127.0.0.1", "https://user:password@gate.example.com", "http://[::2]:8484",
    "http://[::ffff:10.0.0.1]", "HTTP://GATE.EXAMPLE.COM", "ftp://127.0.0.1", "gate.example.com", "127.0.0.1:8484", "", "http://", "https://", "https://gate.example.com?x=1",
    "https://gate.example.com#x", "http://127.0.0.1:99999", "http://localhost%2eexample.com", "http://loc\u0430lhost", " http://127.0.0.1", "http://127.0.0.1\n.example.com", None, 1,
])  # fmt: skip
def test_an_address_that_cannot_be_trusted_is_refused_by_every_client(url):
    for make in (
        lambda: Placet(url, "a", "s"),
        lambda: AsyncPlacet(url, "a", "s"),
        lambda: Executor(url, "a", lambda *_: True),
    ):
        with pytest.raises(ValueError):
            make()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8484",
        "http://127.1.2.3",
        "http://localhost:8484/",
        "http://LOCALHOST",
        "http://[::1]:8484",
        "https://gate.example.com",
        "https://gate.example.com/placet/",
        "HTTPS://gate.example.com",
    ],
)
def test_an_address_that_can_be_trusted_is_taken(url):
    assert Placet(url, "a", "s").url == url.rstrip("/")


async def test_loopback_is_never_proxied(running, raw, free_url, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, free_url)
        monkeypatch.setenv(name.lower(), free_url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Placet(running.url, "signed", raw("signed").secret, patience_seconds=0.5) as client:
        token = client.ask(action="auto.proxy", payload={}, summary="s").token
    async with AsyncPlacet(running.url, "signed", raw("signed").secret, patience_seconds=0.5) as client:
        assert (await client.verify(token)).aud == "signed"
    assert Executor(running.url, "signed", lambda *_: True, patience_seconds=0.5).verify(token).aud == "signed"


def authority(folder):
    """A private authority, and a certificate of its for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    own = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name, issuer, public, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(public)
            .serial_number(x509.random_serial_number())
        )
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
            now + datetime.timedelta(days=1)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def named(name):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    (folder / "ca.pem").write_bytes(
        certificate("Test CA", "Test CA", key.public_key(), x509.BasicConstraints(True, None), usage)
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    private = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(certificate("gate", "Test CA", own.public_key(), names) + private)
    return folder / "ca.pem", folder / "server.pem"


@pytest.fixture
def over_tls(running, tmp_path):
    """The gate behind TLS with a private authority's certificate: the address, and the authority's file."""
    ca, server = authority(tmp_path)
    with Meddler(running.url, lambda *_: "pass") as between:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        between.server.socket = context.wrap_socket(between.server.socket, server_side=True)
        yield between.url.replace("http://", "https://"), ca


async def test_a_private_authority_is_trusted_where_ssl_cert_file_names_it(over_tls, raw, monkeypatch):
    url, ca = over_tls
    with (
        Placet(url, "signed", raw("signed").secret, patience_seconds=0) as stranger,
        pytest.raises(Unreachable, match="certificate"),
    ):
        stranger.ask(action="auto.tls", payload={}, summary="s")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    with Placet(url, "signed", raw("signed").secret) as client:
        assert client.authorize(action="auto.tls", payload={}, summary="s").claims.aud == "signed"
    async with AsyncPlacet(url, "signed", raw("signed").secret) as client:
        token = (await client.ask(action="auto.tls", payload={}, summary="s")).token
    assert Executor(url, "signed", lambda *_: True).verify(token).aud == "signed"


# ---------------------------------------------------------------- what is compared


def test_a_payload_that_is_not_there_is_not_one_that_was_left_out(gate, running):
    token = gate.ask(action="auto.null", payload={"n": 1}, summary="s").token
    assert gate.verify(token).action == gate.verify(token, {"n": 1}).action == "auto.null"
    assert gate.verify_online(token)["valid"] and gate.verify_online(token, {"n": 1})["valid"]
    for nothing in (None, [], "", 0, False):
        for call in (
            gate.verify,
            gate.verify_online,
            lambda *given: gate.redeem(*given, "me"),
            lambda *given: gate.use_token(*given, "auto.null"),
        ):
            with pytest.raises(InvalidPayload):
                call(token, nothing)
    assert gate.redeem(token, {"n": 1}, "me") is True


def test_a_token_is_used_for_one_action_that_is_named(gate, running, raw):
    token = gate.ask(action="auto.look", payload={"n": 1}, summary="s").token
    executor = Executor(running.url, "signed", lambda *_: True)
    for user in (gate, executor):
        with pytest.raises(TypeError):
            user.use_token(token, {"n": 1})
        with pytest.raises(TypeError):
            user.use_token(token, {"n": 1}, None)
    with pytest.raises(PlacetError, match="wrong_action"):
        gate.use_token(token, {"n": 1}, "auto.pay")
    assert gate.use_token(token, {"n": 1}, "auto.look") == {"n": 1}


def test_an_executor_takes_the_tokens_of_the_clients_it_is_told(running, raw, connect):
    token = raw("signed").asked("auto.pay", {"n": 1})["token"]
    other = raw("signed2").asked("auto.pay", {"n": 1})["token"]
    with Placet(running.url, "payments", "whsec_x", audience="signed") as executor:
        assert executor.verify(token, {"n": 1}, "auto.pay").aud == "signed"
        with pytest.raises(PlacetError, match="wrong_audience"):
            executor.verify(other, {"n": 1}, "auto.pay")
        assert executor.verify(other, audience="signed2").aud == "signed2"
    with Placet(running.url, "payments", "whsec_x", audience=["signed", "signed2"]) as executor:
        assert {executor.verify(one).aud for one in (token, other)} == {"signed", "signed2"}
        with pytest.raises(PlacetError, match="wrong_audience"):
            executor.verify(other, audience="signed")
    with Placet(running.url, "payments", "whsec_x") as executor, pytest.raises(PlacetError, match="wrong_audience"):
        executor.verify(token)
    for wrong in ("", [], ["signed", ""]):
        with pytest.raises(ValueError):
            Placet(running.url, "payments", "s", audience=wrong)
    with pytest.raises(ValueError, match="HS256"):
        Placet(running.url, "payments", "s", audience="agent", algorithm="HS256")


def test_words_are_cut_by_characters_and_made_readable(gate):
    summary = "😀" * 499 + "ä" + "zzz"
    assert gate.ask(action="auto.words", payload={}, summary=summary).summary == summary[:500]
    assert gate.ask(action="auto.words", payload={}, summary="a\ud800b", metadata={"k": "\udfff"}).summary == "a\ufffdb"


EXECUTORS = """
issuer = "https://gate.example.test"

[[clients]]
id = "asker"
roles = ["requester"]
executors = ["payments"]

[[clients]]
id = "payments"
roles = ["executor"]

[[clients]]
id = "stranger"
roles = ["executor"]

[[rules]]
name = "auto"
when = 'true'
decide = "approve"
"""


def test_an_executor_redeems_with_a_secret_of_its_own(tmp_path):
    gate = LocalGate(tmp_path, EXECUTORS)
    try:
        gate.start(seconds=60)
        asker = Placet(gate.url, "asker", gate.secret("asker"), issuer="https://gate.example.test")
        executor = Placet(
            gate.url, "payments", gate.secret("payments"), audience="asker", issuer="https://gate.example.test"
        )
        stranger = Placet(gate.url, "stranger", gate.secret("stranger"), audience="asker")
        done = []

        @executor.requires_token("invoice.pay")
        def pay(to, amount):
            done.append((to, amount))

        token = asker.ask(action="invoice.pay", payload={"to": "acme", "amount": 1}, summary="s", wait_seconds=1).token
        with pytest.raises(GateError):
            stranger.use_token(token, {"to": "acme", "amount": 1}, "invoice.pay")
        with pytest.raises(PlacetError, match="payload_mismatch"):
            pay("acme", 2, approval_token=token)
        assert executor.verify_online(token, {"to": "acme", "amount": 1})["valid"] is True
        pay("acme", 1, approval_token=token)
        with pytest.raises(PlacetError, match="already_redeemed"):
            pay("acme", 1, approval_token=token)
        with pytest.raises(PlacetError, match="already_redeemed"):
            asker.use_token(token, {"to": "acme", "amount": 1}, "invoice.pay")
        assert done == [("acme", 1)]
    finally:
        gate.kill()
