"""What a client does, written once: generators that yield what to send or how long to pause, and get the reply.

`driver.py` drives them, blocking or awaiting. Nothing in here does I/O or reads a clock but through its driver. Whatever
goes wrong in a driver, an interrupt included, is raised inside the flow, which then has its last words: it withdraws.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote

from . import signing, tokens
from .approval import Approval, Claims
from .canonical import canonical, decoded, digest, well_formed
from .errors import GateError, InvalidPayload, InvalidToken, NotApproved, PlacetError, TimedOut, Unreachable
from .jwks import KeyCache
from .patience import Patience, is_tried_again, retry_after

T = TypeVar("T")

POLL_SECONDS = 25
ANSWER_SECONDS = 15.0
# Hooks that ask about one use at once may hear of its end so much later than each other.
ONE_USE_SECONDS = 20.0
# Withdrawing, when this program is on its way out: whoever stops it does not wait for long.
LAST_WORDS_SECONDS = 5.0


class _Unchecked:
    """The type of `UNCHECKED`."""

    def __repr__(self) -> str:
        return "UNCHECKED"


# No payload was given to compare with. `None` is something else: a payload that is not there.
UNCHECKED: Final = _Unchecked()


@dataclass(frozen=True)
class Send:
    """One request. A driver raises `Unreachable` when no answer comes within `seconds`."""

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
    """Who asks, with which keys, and how patiently. `audiences`: the clients whose tokens are taken."""

    client: str
    secrets: Sequence[str]
    algorithm: tokens.Algorithm
    issuer: str | None
    patience: float
    jwks: KeyCache
    audiences: frozenset[str]
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


# ---------------------------------------------------------------- calls


def call(
    settings: Settings, method: str, path: str, body: Any = None, *, waits: float = 0, until: float | None = None,
    patience: float | None = None, signed: bool = True, looks_again: bool = False,
) -> Flow[Reply]:  # fmt: skip
    """One call. It is tried again while the gate is away (`patience.py`), which is safe: each call here is idempotent."""
    raw = b"" if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    patient = Patience(settings.patience if patience is None else patience, until)
    while True:
        headers = (
            signing.headers(settings.client, settings.secrets, int(settings.clock()), method, path, raw)
            if signed
            else {}
        )
        if body is not None:
            headers["Content-Type"] = "application/json"
        if looks_again:
            headers["Prefer"] = "respond-async"
        seconds = ANSWER_SECONDS + waits
        if until is not None:
            seconds = min(seconds, until - settings.monotonic())
            if seconds <= 0:
                raise Unreachable("the time for this was over before the gate could be asked")
        trouble: Unreachable | GateError
        told = None
        try:
            reply = yield Send(method, path, headers, raw, seconds)
            assert reply is not None
            if 200 <= reply.status < 300:
                return reply
            trouble = _refusal(reply)
            if not is_tried_again(reply.status):
                raise trouble
            if reply.status in (429, 503):
                told = retry_after(reply.headers, settings.clock())
        except Unreachable as error:
            trouble = error
            if error.final:
                raise
        pause = patient.pause(settings.monotonic(), told)
        if pause is None:
            raise trouble
        yield Pause(pause)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise Unreachable("the answer is not JSON: this does not seem to be a gate") from error


def _refusal(reply: Reply) -> GateError | Unreachable:
    try:
        problem = json.loads(reply.body)
        code = problem["code"]
        if not isinstance(code, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        return Unreachable(
            f"the answer is {reply.status}: this does not seem to be a gate", final=not is_tried_again(reply.status)
        )
    return GateError(reply.status, code, str(problem.get("detail") or problem.get("title") or "refused"), problem)


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
    until: float | None = None,
) -> Flow[Approval]:
    approval, _, _ = yield from _ask(
        settings, action, canonical(payload), summary, request_id or new_request_id(action), timeout_seconds,
        callback_url=callback_url, metadata=metadata, wait_seconds=wait_seconds, until=until,
    )  # fmt: skip
    return approval


def _ask(
    settings: Settings, action: str, text: bytes, summary: str, name: str, timeout_seconds: float | None, *,
    callback_url: str | None = None, metadata: Mapping[str, str] | None = None, wait_seconds: int = 0,
    until: float | None = None,
) -> Flow[tuple[Approval, bool, float]]:  # fmt: skip
    """The approval; whether the question is new, or has joined one that was asked before; how long ago it was decided."""
    question: dict[str, Any] = {
        "request_id": well_formed(name), "action": well_formed(action), "summary": well_formed(summary, 500),
        "payload": decoded(text), "wait_seconds": wait_seconds,
    }  # fmt: skip
    if timeout_seconds is not None:
        question["timeout_seconds"] = max(1, math.ceil(timeout_seconds))
    if callback_url is not None:
        question["callback_url"] = callback_url
    if metadata is not None:
        question["metadata"] = {well_formed(key): well_formed(value) for key, value in metadata.items()}
    reply = yield from call(settings, "POST", "/v1/requests", question, waits=wait_seconds, until=until)
    approval = Approval.of(_json(reply))
    if approval.payload_sha256 != digest(text) or approval.action != action:
        raise InvalidPayload("the gate read another payload than was sent")
    return approval, reply.status == 201, _age(approval.decided_at, reply, settings.clock())


def _age(decided_at: str | None, reply: Reply, now: float) -> float:
    """Seconds since the decision, both times by the gate's clock where its answer is dated."""
    try:
        then = datetime.fromisoformat(decided_at or "").timestamp()
        return parsedate_to_datetime(reply.headers["date"]).timestamp() - then
    except KeyError:
        return now - then
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.inf


def get(settings: Settings, request_id: str, wait_seconds: int = 0, until: float | None = None) -> Flow[Approval]:
    path = f"/v1/requests/{quote(request_id, safe='')}?wait_seconds={wait_seconds}"
    return Approval.of(_json((yield from call(settings, "GET", path, waits=wait_seconds, until=until))))


def wait(
    settings: Settings, request_id: str, seconds: float | None = None, until: float | None = None
) -> Flow[Approval]:
    """The approval once it has ended, or as it stands after so many seconds. Nothing is waited for beyond `until`."""
    listen = None if seconds is None else settings.monotonic() + seconds
    if until is None and listen is not None:
        until = listen + settings.patience
    while True:
        began = settings.monotonic()
        left = POLL_SECONDS if listen is None else listen - began
        # A remainder under a second is a last look; the gate counts in whole seconds.
        asked = max(0, min(POLL_SECONDS, math.floor(left)))
        path = f"/v1/requests/{quote(request_id, safe='')}?wait_seconds={asked}"
        reply = yield from call(settings, "GET", path, waits=asked, until=until, looks_again=True)
        approval = Approval.of(_json(reply))
        now = settings.monotonic()
        if approval.ended or (listen is not None and now >= listen):
            return approval
        told = retry_after(reply.headers, settings.clock())
        if told is not None:
            # A gate that holds no calls says when to look again. The last look is at the end of the wait.
            yield Pause(max(0.2, min([told, *(end - now for end in (listen, until) if end is not None)])))
        elif 0 < left < 1:
            yield Pause(left)
        elif settings.monotonic() - began < asked / 2:
            # A gate that is about to stop answers at once.
            yield Pause(0.2)


def cancel(
    settings: Settings, request_id: str, until: float | None = None, patience: float | None = None
) -> Flow[Approval]:
    """Withdraws it; where it has ended already, how it ended."""
    path = f"/v1/requests/{quote(request_id, safe='')}/cancel"
    try:
        return Approval.of(_json((yield from call(settings, "POST", path, {}, until=until, patience=patience))))
    except GateError as error:
        if error.code == "already_decided":
            return Approval.of(error.problem.get("approval"))
        raise


# ---------------------------------------------------------------- tokens


def verify(
    settings: Settings, token: object, payload: Mapping[str, Any] | bytes | _Unchecked | None = UNCHECKED,
    action: str | None = None, audience: str | None = None, until: float | None = None,
) -> Flow[Claims]:  # fmt: skip
    """Checks a token here, without the gate (but for its public keys, now and then)."""
    text = None if isinstance(payload, _Unchecked) else payload if isinstance(payload, bytes) else canonical(payload)  # type: ignore[arg-type]
    header = tokens.header(token, settings.algorithm)
    assert isinstance(token, str)
    if settings.algorithm == "HS256":
        keys: list[Any] = [secret.encode() for secret in settings.secrets]
    else:
        kid = header.get("kid")
        if settings.jwks.wants_fetch(kid, settings.monotonic()):
            reply = yield from call(settings, "GET", "/.well-known/jwks.json", until=until, signed=False)
            settings.jwks.put(_json(reply), settings.monotonic())
        keys = settings.jwks.find(kid)
    claims = tokens.read(token, keys, settings.algorithm)
    tokens.check(
        claims, audience=settings.audiences if audience is None else audience, now=settings.clock(), issuer=settings.issuer,
        payload=text, action=action,
    )  # fmt: skip
    return claims


def verify_online(
    settings: Settings, token: str, payload: Mapping[str, Any] | _Unchecked | None = UNCHECKED
) -> Flow[dict[str, Any]]:
    question: dict[str, Any] = {"token": token}
    if not isinstance(payload, _Unchecked):
        question["payload"] = decoded(canonical(payload))  # type: ignore[arg-type]
    answer = _json((yield from call(settings, "POST", "/v1/tokens/verify", question)))
    if not isinstance(answer, dict):
        raise Unreachable("the answer is not an object: this does not seem to be a gate")
    return answer


def redeem(
    settings: Settings, token: str, payload: Mapping[str, Any], redeemed_by: str, until: float | None = None
) -> Flow[bool]:
    """Uses a token at the gate. True the first time, false where `redeemed_by` had used it before."""
    question = {"token": token, "redeemed_by": redeemed_by, "payload": decoded(canonical(payload))}
    answer = _json((yield from call(settings, "POST", "/v1/tokens/redeem", question, until=until)))
    first = answer.get("first") if isinstance(answer, dict) else None
    if not isinstance(first, bool):
        raise Unreachable("the answer does not say whether it was the first: this does not seem to be a gate")
    return first


def use_token(
    settings: Settings, token: object, payload: Mapping[str, Any], action: str, audience: str | None = None,
    until: float | None = None, redeemed_by: str | None = None,
) -> Flow[tuple[dict[str, Any], Claims]]:  # fmt: skip
    """Verifies here, redeems at the gate, and hands out the payload that may be used: the executor's whole duty."""
    if not isinstance(action, str):
        # A token for any action at all would be one for an action that the policy approves alone.
        raise TypeError("the action that is about to be done is needed")
    text = canonical(payload)
    claims = yield from verify(settings, token, text, action, audience, until)
    assert isinstance(token, str)
    # A name that no other call has: only this call's own retry is a retry.
    name = redeemed_by or f"{settings.client}-{secrets.token_hex(16)}"
    yield from redeem(settings, token, decoded(text), name, until)
    return decoded(text), claims


# ---------------------------------------------------------------- the whole way


class _Joined(Exception):
    """The name of a use belonged to another question, or to one that had ended before."""


def authorize(
    settings: Settings,
    *,
    action: str,
    payload: Mapping[str, Any],
    summary: str,
    request_id: str | None = None,
    timeout_seconds: float | None = None,
    metadata: Mapping[str, str] | None = None,
    notify: Callable[[Approval], object] | None = None,
) -> Flow[Authorized]:
    """Asks, waits, verifies and redeems. What it returns may be done, once; everything else is an exception.

    All of it ends within `timeout_seconds`. On every way out but an approval, the question is withdrawn.
    """
    until = None if timeout_seconds is None else settings.monotonic() + timeout_seconds
    name = request_id or new_request_id(action)
    return (
        yield from _authorize(settings, action, payload, summary, name, timeout_seconds, until, metadata, notify, None)
    )


def authorize_use(
    settings: Settings, *, use: str | None, redeemed_by: str, action: str, payload: Mapping[str, Any], summary: str,
    timeout_seconds: float | None, until: float | None = None,
) -> Flow[Authorized]:  # fmt: skip
    """As `authorize`, for one use of a tool that several hooks may ask about at once: each of them may let it run.

    `use` is the host's name for it, and a host may give the same name again to another use. So a hook takes part in a
    question only while it is open, or has just been answered; what had ended before is asked anew under a new name.
    `until` is when all must be over, where that is sooner than `timeout_seconds` from now.
    """
    if until is None and timeout_seconds is not None:
        until = settings.monotonic() + timeout_seconds
    if use is not None:
        try:
            return (yield from _authorize(
                settings, action, payload, summary, use, timeout_seconds, until, None, None, redeemed_by
            ))  # fmt: skip
        except _Joined:
            pass
    return (yield from _authorize(
        settings, action, payload, summary, new_request_id(action), timeout_seconds, until, None, None, None
    ))  # fmt: skip


def _authorize(
    settings: Settings, action: str, payload: Mapping[str, Any], summary: str, name: str, timeout_seconds: float | None,
    until: float | None, metadata: Mapping[str, str] | None, notify: Callable[[Approval], object] | None,
    shared_by: str | None,
) -> Flow[Authorized]:  # fmt: skip
    text = canonical(payload)
    approval: Approval | None = None
    try:
        approval, new, age = yield from _ask(
            settings, action, text, summary, name, timeout_seconds, metadata=metadata, until=until
        )
        if shared_by is not None and approval.ended and not new and not age < ONE_USE_SECONDS:
            raise _Joined
        if not approval.ended:
            if notify is not None:
                notify(approval)
            left = None
            if until is not None and timeout_seconds is not None:
                # The last of the time is kept for the end: to redeem, or to withdraw.
                left = max(0.0, until - settings.monotonic() - min(LAST_WORDS_SECONDS, timeout_seconds / 4))
            approval = yield from wait(settings, name, left, until)
        if not approval.ended:
            # Nobody is to approve what nobody will do. If a decision came first, it stands, for both sides.
            approval = yield from cancel(settings, name, until)
    except GeneratorExit:
        raise
    except BaseException as error:
        if isinstance(error, GateError) and approval is None:
            if shared_by is not None and error.code == "request_id_conflict":
                raise _Joined from None
            raise  # it was not taken, or is another question's name
        if approval is None or not approval.ended:
            yield from withdraw(settings, name, action, digest(text), approval, until, error)
        if (
            isinstance(error, Unreachable)
            and approval is not None
            and until is not None
            and settings.monotonic() >= until
        ):
            raise TimedOut(approval, f"{name}: nobody answered in time, and the gate is away") from error
        raise
    if not approval.approved or approval.token is None:
        stopped = approval.status == "cancelled" and approval.decided_by == (f"client:{settings.client}",)
        if approval.status == "expired" or (stopped and timeout_seconds is not None):
            raise TimedOut(approval, f"{approval.request_id}: nobody answered in time ({approval.status})")
        raise NotApproved(approval)
    try:
        usable, claims = yield from use_token(
            settings, approval.token, decoded(text), action, settings.client, until, redeemed_by=shared_by
        )
    except GateError as error:
        if shared_by is not None and error.code == "already_redeemed":
            raise _Joined from None  # by another use of that name
        raise
    if (claims.jti, claims.sub) != (approval.approval_id, approval.request_id):
        raise InvalidToken("unknown_approval")
    return Authorized(usable, approval, claims)


def withdraw(
    settings: Settings, name: str, action: str, payload_sha256: str, approval: Approval | None, until: float | None,
    why: BaseException,
) -> Flow[None]:  # fmt: skip
    """The last words of a flow that ends otherwise than it should. What goes wrong here is not told: `why` is."""
    interrupted = not isinstance(why, PlacetError)
    end = settings.monotonic() + LAST_WORDS_SECONDS
    until = end if until is None else min(end, until)
    # Where the gate has just been waited for in vain, one more try is enough.
    patience = LAST_WORDS_SECONDS if interrupted else 0.0
    try:
        for _ in range(3):
            if approval is not None:
                yield from cancel(settings, name, until, patience)
                return
            # No answer came: whether the question arrived is not known, nor whether the name is another question's.
            path = f"/v1/requests/{quote(name, safe='')}?wait_seconds=0"
            try:
                reply = yield from call(settings, "GET", path, until=until, patience=patience)
            except GateError as error:
                if error.status != 404 or not interrupted:
                    return
                yield Pause(0.3)  # it may still be on its way
                continue
            found = Approval.of(_json(reply))
            if found.ended or (found.action, found.payload_sha256) != (action, payload_sha256):
                return
            approval = found
    except PlacetError:
        pass


def new_request_id(action: str) -> str:
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "._:-") else "-" for char in action[:80])
    return f"{kept}-{secrets.token_hex(8)}"
