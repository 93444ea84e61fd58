"""An executor that holds no secret: it verifies with the gate's public keys, and remembers what it has used."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from . import address, flows, gated
from .approval import Claims
from .canonical import canonical, decoded
from .driver import Blocking
from .errors import InvalidToken
from .flows import UNCHECKED, Settings
from .jwks import KeyCache

R = TypeVar("R")


class Executor(Blocking):
    """Checks the tokens of one asking client, whose tokens are EdDSA (the gate's default).

    `client` is the client that asks: the tokens' audience. An executor with a secret of its own (role `executor` in the
    policy) redeems at the gate instead: `Placet(url, "payments", secret, audience="my-agent")`.

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
        patience_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url, self.client, self._once = address.gate_address(url), client, once
        self._settings = Settings("", [], "EdDSA", issuer, patience_seconds, KeyCache(), frozenset([client]), clock)
        super().__init__(self.url)

    def verify(
        self, token: object, payload: Mapping[str, Any] | flows._Unchecked | None = UNCHECKED, action: str | None = None
    ) -> Claims:
        """What the token says, if it allows this; raises `InvalidToken` otherwise. Only what is given is compared."""
        return self.run(flows.verify(self._settings, token, payload, action))

    def use_token(self, token: object, payload: Mapping[str, Any], action: str) -> dict[str, Any]:
        """Verifies, uses the token up, and returns the payload to act on."""
        if not isinstance(action, str):
            raise TypeError("the action that is about to be done is needed")
        text = canonical(payload)
        claims = self.verify(token, decoded(text), action)
        if self._once(claims.jti, claims.exp) is not True:
            raise InvalidToken("already_redeemed")
        return decoded(text)

    def requires_token(self, action: str, **options: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
        """As `Placet.requires_token`."""
        return gated.requires_token(self, action, **options)
