"""What a client does, written once: generators that yield what to send or how long to pause, and get the reply.

`client.py` drives them, blocking or awaiting. Nothing in here does I/O or reads a clock but through its driver.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from . import signing, tokens
from .approval import Approval, Claims
from .canonical import canonical, decoded, digest
from .errors import GateError, InvalidPayload, InvalidToken, NotApproved, TimedOut, Unreachable
from .jwks import KeyCache

T = TypeVar("T")

POLL_SECONDS = 25
ANSWER_SECONDS = 15.0


@dataclass(frozen=True)
class Send:
    """One request. A driver raises `Unreachable` when no answer comes."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Pause:
    """A pause before the next try."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Flow = Generator[Send | Pause, Reply | None, T]


@dataclass(frozen=True)
class Authorized:
    """What may be done now, once: exactly this payload."""

    payload: dict[str, Any]
    approval: Approval
    claims: Claims


@dataclass
class Settings:
    """Who asks, with which keys, and how patiently."""

    client: str
    secrets: Sequence[str]
    algorithm: tokens.Algorithm
    issuer: str | None
    patience: float
    jwks: KeyCache
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


# ---------------------------------------------------------------- calls


def call(settings: Settings, method: str, path: str, body: Any = None, *, waits: float = 0, until: float | None = None) -> Flow[Any]:
    """One signed call. It is tried again while the gate is away, which is safe: each call here is idempotent."""
    raw = b"" if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    give_up = settings.monotonic() + settings.patience + waits
    if until is not None:
        give_up = min(give_up, until)
    pause = 0.2
    while True:
        headers = signing.headers(settings.client, settings.secrets, int(settings.clock()), method, path, raw)
        if body is not None:
            headers["Content-Type"] = "application/json"
        trouble: Unreachable | GateError
        try:
            reply = yield Send(method, path, headers, raw, ANSWER_SECONDS + waits)
            assert reply is not None
            if reply.status < 300:
                return _json(reply)
            refusal = _refusal(reply)
            if reply.status < 500 and reply.status != 429:
                raise refusal
            trouble, least = refusal, _retry_after(reply)
        except Unreachable as error:
            trouble, least = error, 0.0
        wait = max(pause, least)
        if settings.monotonic() + wait >= give_up:
            raise trouble
        yield Pause(wait)
        pause = min(pause * 2, 5.0)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError as error:
        raise Unreachable("the answer is not JSON: this does not seem to be a gate") from error


def _refusal(reply: Reply) -> GateError | Unreachable:
    try:
        problem = json.loads(reply.body)
        code = problem["code"]
        if not isinstance(code, str):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        return Unreachable(f"the answer is {reply.status}: this does not seem to be a gate")
    return GateError(reply.status, code, str(problem.get("detail") or problem.get("title") or "refused"), problem)


def _retry_after(reply: Reply) -> float:
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0


def ask(
    settings: Settings,
    *,
    action: str,
    payload: Mapping[str, Any],
    summary: str,
    request_id: str | None = None,
    timeout_seconds: float | None = None,
    callback_url: str | None = None,
    metadata: Mapping[str, str] | None = None,
    wait_seconds: int = 0,
) -> Flow[Approval]:
    text = canonical(payload)
    question: dict[str, Any] = {
        "request_id": request_id or new_request_id(action),
        "action": action,
        "summary": summary[:500],
        "payload": decoded(text),
        "wait_seconds": wait_seconds,
    }
    if timeout_seconds is not None:
        question["timeout_seconds"] = max(1, math.ceil(timeout_seconds))
    if callback_url is not None:
        question["callback_url"] = callback_url
    if metadata is not None:
        question["metadata"] = dict(metadata)
    approval = Approval.of((yield from call(settings, "POST", "/v1/requests", question, waits=wait_seconds)))
    if approval.payload_sha256 != digest(text) or approval.action != action:
        raise InvalidPayload("the gate read another payload than was sent")
    return approval


def get(settings: Settings, request_id: str, wait_seconds: int = 0, until: float | None = None) -> Flow[Approval]:
    path = f"/v1/requests/{quote(request_id, safe='')}?wait_seconds={wait_seconds}"
    return Approval.of((yield from call(settings, "GET", path, waits=wait_seconds, until=until)))


def wait(settings: Settings, request_id: str, seconds: float | None = None) -> Flow[Approval]:
    """The approval once it has ended, or as it stands after so many seconds."""
    until = None if seconds is None else settings.monotonic() + seconds
    while True:
        left = POLL_SECONDS if until is None else until - settings.monotonic()
        # A remainder under a second is a last look; the gate counts in whole seconds.
        approval = yield from get(settings, request_id, max(0, min(POLL_SECONDS, math.floor(left))), until)
        if approval.ended or (until is not None and settings.monotonic() >= until):
            return approval
        if 0 < left < 1:
            yield Pause(left)


def cancel(settings: Settings, request_id: str) -> Flow[Approval]:
    """Withdraws it; where it has ended already, how it ended."""
    try:
        return Approval.of((yield from call(settings, "POST", f"/v1/requests/{quote(request_id, safe='')}/cancel", {})))
    except GateError as error:
        if error.code == "already_decided":
            return Approval.of(error.problem.get("approval"))
        raise


# ---------------------------------------------------------------- tokens


def verify(
    settings: Settings, token: object, payload: Mapping[str, Any] | bytes | None = None, action: str | None = None
) -> Flow[Claims]:
    """Checks a token here, without the gate (but for its public keys, now and then)."""
    header = tokens.header(token, settings.algorithm)
    assert isinstance(token, str)
    if settings.algorithm == "HS256":
        keys: list[Any] = [secret.encode() for secret in settings.secrets]
    else:
        kid = header.get("kid")
        if settings.jwks.wants_fetch(kid, settings.monotonic()):
            reply = yield Send("GET", "/.well-known/jwks.json", {}, b"", ANSWER_SECONDS)
            assert reply is not None
            if reply.status != 200:
                raise Unreachable(f"the gate's keys cannot be fetched: {reply.status}")
            settings.jwks.put(_json(reply), settings.monotonic())
        keys = settings.jwks.find(kid)
    claims = tokens.read(token, keys, settings.algorithm)
    tokens.check(
        claims, audience=settings.client, now=settings.clock(), issuer=settings.issuer, payload=payload, action=action
    )
    return claims


def verify_online(settings: Settings, token: str, payload: Mapping[str, Any] | None = None) -> Flow[dict[str, Any]]:
    question: dict[str, Any] = {"token": token}
    if payload is not None:
        question["payload"] = decoded(canonical(payload))
    answer = yield from call(settings, "POST", "/v1/tokens/verify", question)
    if not isinstance(answer, dict):
        raise Unreachable("the answer is not an object: this does not seem to be a gate")
    return answer


def redeem(settings: Settings, token: str, payload: Mapping[str, Any] | None, redeemed_by: str) -> Flow[bool]:
    """Uses a token at the gate. True the first time, false where `redeemed_by` had used it before."""
    question: dict[str, Any] = {"token": token, "redeemed_by": redeemed_by}
    if payload is not None:
        question["payload"] = decoded(canonical(payload))
    answer = yield from call(settings, "POST", "/v1/tokens/redeem", question)
    first = answer.get("first") if isinstance(answer, dict) else None
    if not isinstance(first, bool):
        raise Unreachable("the answer does not say whether it was the first: this does not seem to be a gate")
    return first


def use_token(settings: Settings, token: object, payload: Mapping[str, Any], action: str | None) -> Flow[tuple[dict[str, Any], Claims]]:
    """Verifies here, redeems at the gate, and hands out the payload that may be used: the executor's whole duty."""
    text = canonical(payload)
    claims = yield from verify(settings, token, text, action)
    assert isinstance(token, str)
    # A name that no other call has: only this call's own retry is a retry.
    yield from redeem(settings, token, decoded(text), f"{settings.client}-{secrets.token_hex(16)}")
    return decoded(text), claims


# ---------------------------------------------------------------- the whole way


def authorize(
    settings: Settings,
    *,
    action: str,
    payload: Mapping[str, Any],
    summary: str,
    request_id: str | None = None,
    timeout_seconds: float | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Flow[Authorized]:
    """Asks, waits, verifies and redeems. What it returns may be done, once; everything else is an exception."""
    until = None if timeout_seconds is None else settings.monotonic() + timeout_seconds
    payload = decoded(canonical(payload))
    approval = yield from ask(
        settings, action=action, payload=payload, summary=summary, request_id=request_id,
        timeout_seconds=timeout_seconds, metadata=metadata,
    )  # fmt: skip
    if not approval.ended:
        left = None if until is None else max(0.0, until - settings.monotonic())
        approval = yield from wait(settings, approval.request_id, left)
    if not approval.ended:
        # Nobody is to approve what nobody will do. If a decision came first, it stands, for both sides.
        approval = yield from cancel(settings, approval.request_id)
    if not approval.approved or approval.token is None:
        stopped = approval.status == "cancelled" and approval.decided_by == (f"client:{settings.client}",)
        if approval.status == "expired" or (stopped and timeout_seconds is not None):
            raise TimedOut(approval, f"{approval.request_id}: nobody answered in time ({approval.status})")
        raise NotApproved(approval)
    usable, claims = yield from use_token(settings, approval.token, payload, action)
    if claims.jti != approval.approval_id:
        raise InvalidToken("unknown_approval")
    return Authorized(usable, approval, claims)


def new_request_id(action: str) -> str:
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._:-") else "-" for char in action[:80])
    return f"{kept}-{secrets.token_hex(8)}"
