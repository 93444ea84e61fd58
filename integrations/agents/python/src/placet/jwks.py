"""The gate's public keys, fetched when they are needed and kept for a while."""

from __future__ import annotations

import threading
from typing import Any

import jwt

from .errors import Unreachable

LIFESPAN_SECONDS = 600.0
# A token can name any `kid`: whoever sends made-up ones must not make this program hammer the gate.
COOLDOWN_SECONDS = 30.0


class KeyCache:
    """The keys by `kid`. Fetching is the caller's; this says when."""

    def __init__(self, lifespan: float = LIFESPAN_SECONDS, cooldown: float = COOLDOWN_SECONDS) -> None:
        self._lifespan, self._cooldown = lifespan, cooldown
        self._keys: dict[str, Any] = {}
        self._fetched: float | None = None
        self._lock = threading.Lock()

    def wants_fetch(self, kid: object, now: float) -> bool:
        """Whether the keys are to be fetched before `kid` is looked up."""
        with self._lock:
            age = None if self._fetched is None else now - self._fetched
            if age is None or age > self._lifespan:
                return True
            return kid not in self._keys and age > self._cooldown

    def put(self, document: Any, now: float) -> None:
        """Takes a fetched JWKS: its Ed25519 keys, and nothing else."""
        keys: dict[str, Any] = {}
        try:
            for entry in document["keys"]:
                if entry.get("kty") == "OKP" and entry.get("crv") == "Ed25519" and isinstance(entry.get("kid"), str):
                    keys[entry["kid"]] = jwt.PyJWK(entry, "EdDSA").key
        except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise Unreachable("the gate's key document cannot be read") from error
        with self._lock:
            self._keys, self._fetched = keys, now

    def find(self, kid: object) -> list[Any]:
        """The key of that name, if there is one."""
        with self._lock:
            key = self._keys.get(kid) if isinstance(kid, str) else None
        return [] if key is None else [key]
