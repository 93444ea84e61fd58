"""An executor that holds no secret: it verifies with the gate's public keys, and remembers what it has used."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx2

from . import gated, tokens
from .approval import Claims
from .canonical import canonical, decoded
from .errors import InvalidToken, Unreachable
from .jwks import KeyCache

R = TypeVar("R")


class Executor:
    """Checks the tokens of one client, which must have `token = "EdDSA"` in the policy.

    `once(approval_id, expires_at)` must record the id for good, at least until that Unix time, and say whether it was
    new: an `INSERT` with a unique key, in the database that the deed itself is written to.
    """

    def __init__(
        self,
        url: str,
        client: str,
        once: Callable[[str, int], bool],
        *,
        issuer: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url, self.client, self._once, self.issuer, self._clock = url.rstrip("/"), client, once, issuer, clock
        self._keys = KeyCache()

    def verify(self, token: object, payload: Mapping[str, Any] | bytes | None = None, action: str | None = None) -> Claims:
        """What the token says, if it allows this; raises `InvalidToken` otherwise."""
        kid = tokens.header(token, "EdDSA").get("kid")
        assert isinstance(token, str)
        if self._keys.wants_fetch(kid, time.monotonic()):
            self._keys.put(self._fetch(), time.monotonic())
        claims = tokens.read(token, self._keys.find(kid), "EdDSA")
        tokens.check(
            claims, audience=self.client, now=self._clock(), issuer=self.issuer, payload=payload, action=action
        )
        return claims

    def use_token(self, token: object, payload: Mapping[str, Any], action: str | None = None) -> dict[str, Any]:
        """Verifies, uses the token up, and returns the payload to act on."""
        text = canonical(payload)
        claims = self.verify(token, text, action)
        if self._once(claims.jti, claims.exp) is not True:
            raise InvalidToken("already_redeemed")
        return decoded(text)

    def requires_token(self, action: str, **options: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
        """As `Placet.requires_token`."""
        return gated.requires_token(self, action, **options)

    def _fetch(self) -> Any:
        try:
            answer = httpx2.get(f"{self.url}/.well-known/jwks.json", timeout=15, follow_redirects=False)
            answer.raise_for_status()
            return answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise Unreachable(f"the gate's keys cannot be fetched: {error or type(error).__name__}") from error
