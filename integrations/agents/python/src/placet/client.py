"""The two clients: `Placet` blocks, `AsyncPlacet` awaits. What they do is in `flows.py`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import httpx2

from . import flows, gated
from .approval import Approval, Claims
from .errors import PlacetError, Unreachable
from .flows import Authorized, Flow, Pause, Reply, Send, Settings
from .jwks import KeyCache
from .tokens import Algorithm

P = ParamSpec("P")
R = TypeVar("R")

ANSWER_BYTES = 4 * 1024 * 1024


class _Client:
    """What both clients are made from."""

    def __init__(
        self,
        url: str,
        client: str,
        secret: str | Sequence[str],
        *,
        algorithm: Algorithm = "HS256",
        issuer: str | None = None,
        patience_seconds: float = 60.0,
    ) -> None:
        secrets = [secret] if isinstance(secret, str) else list(secret)
        if not secrets or not all(secrets):
            raise ValueError("the client's secret is empty")
        if algorithm not in ("HS256", "EdDSA"):
            raise ValueError("algorithm is HS256 or EdDSA, as the policy says for this client")
        if not url.startswith(("https://", "http://")):
            raise ValueError("url is the gate's address, such as https://gate.example.com")
        self.url = url.rstrip("/")
        self.settings = Settings(client, secrets, algorithm, issuer, patience_seconds, KeyCache())

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """From `PLACET_URL`, `PLACET_CLIENT`, `PLACET_SECRET` (two, with a comma, while it rotates) and `PLACET_TOKEN_ALG`."""
        missing = [name for name in ("PLACET_URL", "PLACET_CLIENT", "PLACET_SECRET") if not os.environ.get(name)]
        if missing:
            raise PlacetError(f"not set: {', '.join(missing)}")
        secrets = [part.strip() for part in os.environ["PLACET_SECRET"].split(",")]
        options.setdefault("algorithm", os.environ.get("PLACET_TOKEN_ALG", "HS256"))
        return cls(os.environ["PLACET_URL"], os.environ["PLACET_CLIENT"], secrets, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, {self.settings.client!r})"


class Placet(_Client):
    """A client of a gate, for programs that block. Threads may share it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._http = httpx2.Client(base_url=self.url, follow_redirects=False)

    def ask(
        self, *, action: str, payload: Mapping[str, Any], summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, callback_url: str | None = None,
        metadata: Mapping[str, str] | None = None, wait_seconds: int = 0,
    ) -> Approval:  # fmt: skip
        """Asks. `request_id` is the idempotency key: the same question again finds the same request."""
        return self.run(flows.ask(
            self.settings, action=action, payload=payload, summary=summary, request_id=request_id,
            timeout_seconds=timeout_seconds, callback_url=callback_url, metadata=metadata, wait_seconds=wait_seconds,
        ))  # fmt: skip

    def get(self, request_id: str, wait_seconds: int = 0) -> Approval:
        """As it stands, or as soon as it ends, after 25 seconds at most."""
        return self.run(flows.get(self.settings, request_id, wait_seconds))

    def wait(self, request_id: str, seconds: float | None = None) -> Approval:
        """Once it has ended; after so many seconds, as it stands."""
        return self.run(flows.wait(self.settings, request_id, seconds))

    def cancel(self, request_id: str) -> Approval:
        """Withdraws it; where it has ended already, how it ended."""
        return self.run(flows.cancel(self.settings, request_id))

    def verify(self, token: object, payload: Mapping[str, Any] | None = None, action: str | None = None) -> Claims:
        """Checks a token here: signature, audience, payload, action, outcome, time. Raises `InvalidToken`."""
        return self.run(flows.verify(self.settings, token, payload, action))

    def verify_online(self, token: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the gate says of it, which also compares with its own record: `{valid, problem, claims}`."""
        return self.run(flows.verify_online(self.settings, token, payload))

    def redeem(self, token: str, payload: Mapping[str, Any] | None, redeemed_by: str) -> bool:
        """Uses a token, once. False: this `redeemed_by` had used it before. Another one: `GateError`."""
        return self.run(flows.redeem(self.settings, token, payload, redeemed_by))

    def use_token(self, token: object, payload: Mapping[str, Any], action: str | None = None) -> dict[str, Any]:
        """Verifies and redeems; returns the payload to act on. The executor's whole duty, in one call."""
        return self.run(flows.use_token(self.settings, token, payload, action))[0]

    def authorize(
        self, *, action: str, payload: Mapping[str, Any], summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, metadata: Mapping[str, str] | None = None,
    ) -> Authorized:  # fmt: skip
        """Asks, waits, verifies and redeems. Returns what may be done now, once; raises `PlacetError` otherwise."""
        return self.run(flows.authorize(
            self.settings, action=action, payload=payload, summary=summary, request_id=request_id,
            timeout_seconds=timeout_seconds, metadata=metadata,
        ))  # fmt: skip

    def requires_approval(self, action: str, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorates a function that runs only once a person has approved its real arguments. See `gated.Gated`."""
        return gated.requires_approval(self, action, **options)

    def requires_token(self, action: str, **options: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
        """Decorates an executor's function: it takes `approval_token` as well, and refuses without a good one."""
        return gated.requires_token(self, action, **options)

    def run(self, flow: Flow[R]) -> R:
        reply: Reply | None = None
        trouble: Unreachable | None = None
        try:
            while True:
                step = flow.send(reply) if trouble is None else flow.throw(trouble)
                reply, trouble = None, None
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    continue
                try:
                    reply = self._send(step)
                except Unreachable as error:
                    trouble = error
        except StopIteration as end:
            value: R = end.value
            return value

    def _send(self, step: Send) -> Reply:
        try:
            with self._http.stream(
                step.method, step.path, headers=dict(step.headers), content=step.body or None, timeout=step.seconds
            ) as answer:
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    _limit(body)
                return Reply(answer.status_code, answer.headers, bytes(body))
        except httpx2.HTTPError as error:
            raise Unreachable(f"the gate does not answer: {error or type(error).__name__}") from error

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncPlacet(_Client):
    """A client of a gate, for asyncio."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._http = httpx2.AsyncClient(base_url=self.url, follow_redirects=False)

    async def ask(
        self, *, action: str, payload: Mapping[str, Any], summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, callback_url: str | None = None,
        metadata: Mapping[str, str] | None = None, wait_seconds: int = 0,
    ) -> Approval:  # fmt: skip
        """As `Placet.ask`."""
        return await self.run(flows.ask(
            self.settings, action=action, payload=payload, summary=summary, request_id=request_id,
            timeout_seconds=timeout_seconds, callback_url=callback_url, metadata=metadata, wait_seconds=wait_seconds,
        ))  # fmt: skip

    async def get(self, request_id: str, wait_seconds: int = 0) -> Approval:
        """As `Placet.get`."""
        return await self.run(flows.get(self.settings, request_id, wait_seconds))

    async def wait(self, request_id: str, seconds: float | None = None) -> Approval:
        """As `Placet.wait`."""
        return await self.run(flows.wait(self.settings, request_id, seconds))

    async def cancel(self, request_id: str) -> Approval:
        """As `Placet.cancel`."""
        return await self.run(flows.cancel(self.settings, request_id))

    async def verify(self, token: object, payload: Mapping[str, Any] | None = None, action: str | None = None) -> Claims:
        """As `Placet.verify`."""
        return await self.run(flows.verify(self.settings, token, payload, action))

    async def verify_online(self, token: str, payload: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As `Placet.verify_online`."""
        return await self.run(flows.verify_online(self.settings, token, payload))

    async def redeem(self, token: str, payload: Mapping[str, Any] | None, redeemed_by: str) -> bool:
        """As `Placet.redeem`."""
        return await self.run(flows.redeem(self.settings, token, payload, redeemed_by))

    async def use_token(self, token: object, payload: Mapping[str, Any], action: str | None = None) -> dict[str, Any]:
        """As `Placet.use_token`."""
        return (await self.run(flows.use_token(self.settings, token, payload, action)))[0]

    async def authorize(
        self, *, action: str, payload: Mapping[str, Any], summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, metadata: Mapping[str, str] | None = None,
    ) -> Authorized:  # fmt: skip
        """As `Placet.authorize`."""
        return await self.run(flows.authorize(
            self.settings, action=action, payload=payload, summary=summary, request_id=request_id,
            timeout_seconds=timeout_seconds, metadata=metadata,
        ))  # fmt: skip

    def requires_approval(
        self, action: str, **options: Any
    ) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        """As `Placet.requires_approval`, for coroutine functions."""
        return gated.requires_approval_async(self, action, **options)

    def requires_token(
        self, action: str, **options: Any
    ) -> Callable[[Callable[..., Awaitable[R]]], Callable[..., Awaitable[R]]]:
        """As `Placet.requires_token`, for coroutine functions."""
        return gated.requires_token_async(self, action, **options)

    async def run(self, flow: Flow[R]) -> R:
        reply: Reply | None = None
        trouble: Unreachable | None = None
        try:
            while True:
                step = flow.send(reply) if trouble is None else flow.throw(trouble)
                reply, trouble = None, None
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    continue
                try:
                    reply = await self._send(step)
                except Unreachable as error:
                    trouble = error
        except StopIteration as end:
            value: R = end.value
            return value

    async def _send(self, step: Send) -> Reply:
        try:
            async with self._http.stream(
                step.method, step.path, headers=dict(step.headers), content=step.body or None, timeout=step.seconds
            ) as answer:
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    _limit(body)
                return Reply(answer.status_code, answer.headers, bytes(body))
        except httpx2.HTTPError as error:
            raise Unreachable(f"the gate does not answer: {error or type(error).__name__}") from error

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _limit(body: bytearray) -> None:
    if len(body) > ANSWER_BYTES:
        raise Unreachable("the answer is too long: this does not seem to be a gate")
