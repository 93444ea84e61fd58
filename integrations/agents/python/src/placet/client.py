"""The two clients: `Placet` blocks, `AsyncPlacet` awaits. What they do is in `flows.py`, how in `driver.py`."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, ParamSpec, Self, TypeVar

from . import address, flows, gated
from .approval import Approval, Claims
from .driver import Awaiting, Blocking
from .errors import PlacetError
from .flows import UNCHECKED, Authorized, Settings
from .jwks import KeyCache
from .tokens import Algorithm

P = ParamSpec("P")
R = TypeVar("R")

Payload = Mapping[str, Any]
Notify = Callable[[Approval], object]


class _Client:
    """What both clients are made from.

    `algorithm`: what the policy says for this client's tokens; EdDSA is the gate's default. `audience`: for an executor,
    the client (or clients) whose tokens it takes, where that is not this client itself. `issuer`: the gate's name in
    tokens, not checked if left out. `patience_seconds`: how long a gate that is away is tried again (`patience.py`).
    """

    def __init__(
        self,
        url: str,
        client: str,
        secret: str | Sequence[str],
        *,
        algorithm: Algorithm = "EdDSA",
        audience: str | Collection[str] | None = None,
        issuer: str | None = None,
        patience_seconds: float = 60.0,
    ) -> None:
        secrets = [secret] if isinstance(secret, str) else list(secret)
        if not secrets or not all(secrets):
            raise ValueError("the client's secret is empty")
        if algorithm not in ("HS256", "EdDSA"):
            raise ValueError("algorithm is HS256 or EdDSA, as the policy says for this client")
        audiences = frozenset([client] if audience is None else [audience] if isinstance(audience, str) else audience)
        if not audiences or not all(audiences):
            raise ValueError("audience is the client whose tokens are taken")
        if algorithm == "HS256" and audiences != {client}:
            raise ValueError("only a client itself can verify its HS256 tokens: the tokens for an executor are EdDSA")
        self.url = address.gate_address(url)
        self.settings = Settings(client, secrets, algorithm, issuer, patience_seconds, KeyCache(), audiences)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """From `PLACET_URL`, `PLACET_CLIENT`, `PLACET_SECRET` (two, with a comma, while it rotates), and, if they are
        set, `PLACET_TOKEN_ALG` (EdDSA, HS256) and `PLACET_AUDIENCE` (several, with commas)."""
        missing = [name for name in ("PLACET_URL", "PLACET_CLIENT", "PLACET_SECRET") if not os.environ.get(name)]
        if missing:
            raise PlacetError(f"not set: {', '.join(missing)}")
        options.setdefault("algorithm", os.environ.get("PLACET_TOKEN_ALG") or "EdDSA")
        if os.environ.get("PLACET_AUDIENCE"):
            options.setdefault("audience", _listed(os.environ["PLACET_AUDIENCE"]))
        return cls(
            os.environ["PLACET_URL"], os.environ["PLACET_CLIENT"], _listed(os.environ["PLACET_SECRET"]), **options
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, {self.settings.client!r})"


class Placet(_Client, Blocking):
    """A client of a gate, for programs that block. Threads may share it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        _Client.__init__(self, *args, **options)
        Blocking.__init__(self, self.url)

    def ask(
        self, *, action: str, payload: Payload, summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, callback_url: str | None = None,
        metadata: Mapping[str, str] | None = None, wait_seconds: int = 0,
    ) -> Approval:  # fmt: skip
        """Asks. `request_id` is the idempotency key: the same action and payload again joins the same request."""
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

    def verify(
        self, token: object, payload: Payload | flows._Unchecked | None = UNCHECKED, action: str | None = None,
        audience: str | None = None,
    ) -> Claims:  # fmt: skip
        """Checks a token here: signature, audience, payload, action, outcome, time. Raises `InvalidToken`.

        Only what is given is compared. A payload that is `None` is not one that was left out: it is refused.
        """
        return self.run(flows.verify(self.settings, token, payload, action, audience))

    def verify_online(self, token: str, payload: Payload | flows._Unchecked | None = UNCHECKED) -> dict[str, Any]:
        """What the gate says of it, which also compares with its own record: `{valid, problem, claims}`."""
        return self.run(flows.verify_online(self.settings, token, payload))

    def redeem(self, token: str, payload: Payload, redeemed_by: str) -> bool:
        """Uses a token, once. False: this `redeemed_by` had used it before. Another one: `GateError`."""
        return self.run(flows.redeem(self.settings, token, payload, redeemed_by))

    def use_token(self, token: object, payload: Payload, action: str, audience: str | None = None) -> dict[str, Any]:
        """Verifies and redeems; returns the payload to act on. The executor's whole duty, in one call.

        `audience` is the client that asked, where this client takes the tokens of several.
        """
        return self.run(flows.use_token(self.settings, token, payload, action, audience))[0]

    def authorize(
        self, *, action: str, payload: Payload, summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, metadata: Mapping[str, str] | None = None, notify: Notify | None = None,
    ) -> Authorized:  # fmt: skip
        """Asks, waits, verifies and redeems. Returns what may be done now, once; raises `PlacetError` otherwise.

        `timeout_seconds` is for all of it. `notify` is called with the pending approval, once a person has to decide. On
        every other way out (the time is over, Ctrl-C, SIGTERM) the question is withdrawn.
        """
        return self.run(flows.authorize(
            self.settings, action=action, payload=payload, summary=summary, request_id=request_id,
            timeout_seconds=timeout_seconds, metadata=metadata, notify=notify,
        ))  # fmt: skip

    def requires_approval(self, action: str, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorates a function that runs only once a person has approved its real arguments. See `gated.Gated`."""
        return gated.requires_approval(self, action, **options)

    def requires_token(self, action: str, **options: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
        """Decorates an executor's function: it takes `approval_token` as well, and refuses without a good one."""
        return gated.requires_token(self, action, **options)


class AsyncPlacet(_Client, Awaiting):
    """A client of a gate, for asyncio."""

    def __init__(self, *args: Any, **options: Any) -> None:
        _Client.__init__(self, *args, **options)
        Awaiting.__init__(self, self.url)

    async def ask(
        self, *, action: str, payload: Payload, summary: str, request_id: str | None = None,
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

    async def verify(
        self, token: object, payload: Payload | flows._Unchecked | None = UNCHECKED, action: str | None = None,
        audience: str | None = None,
    ) -> Claims:  # fmt: skip
        """As `Placet.verify`."""
        return await self.run(flows.verify(self.settings, token, payload, action, audience))

    async def verify_online(self, token: str, payload: Payload | flows._Unchecked | None = UNCHECKED) -> dict[str, Any]:
        """As `Placet.verify_online`."""
        return await self.run(flows.verify_online(self.settings, token, payload))

    async def redeem(self, token: str, payload: Payload, redeemed_by: str) -> bool:
        """As `Placet.redeem`."""
        return await self.run(flows.redeem(self.settings, token, payload, redeemed_by))

    async def use_token(
        self, token: object, payload: Payload, action: str, audience: str | None = None
    ) -> dict[str, Any]:
        """As `Placet.use_token`."""
        return (await self.run(flows.use_token(self.settings, token, payload, action, audience)))[0]

    async def authorize(
        self, *, action: str, payload: Payload, summary: str, request_id: str | None = None,
        timeout_seconds: float | None = None, metadata: Mapping[str, str] | None = None, notify: Notify | None = None,
    ) -> Authorized:  # fmt: skip
        """As `Placet.authorize`; a cancelled task withdraws its question, too."""
        return await self.run(flows.authorize(
            self.settings, action=action, payload=payload, summary=summary, request_id=request_id,
            timeout_seconds=timeout_seconds, metadata=metadata, notify=notify,
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


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
