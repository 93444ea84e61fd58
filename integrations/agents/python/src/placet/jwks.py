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
        self._keys: dict[str, list[Any]] = {}
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
        """Takes a fetched JWKS: its Ed25519 keys for signatures. A key that cannot be used is skipped, not the rest."""
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise Unreachable("the gate's key document cannot be read")
        keys: dict[str, list[Any]] = {}
        for entry in entries:
            if not _signs(entry):
                continue
            try:
                key = jwt.PyJWK({"kty": "OKP", "crv": "Ed25519", "x": entry["x"]}, "EdDSA").key
            except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
                continue
            keys.setdefault(entry["kid"], []).append(key)
        with self._lock:
            self._keys, self._fetched = keys, now

    def find(self, kid: object) -> list[Any]:
        """The keys of that name: none, one, or what a careless document holds."""
        with self._lock:
            return list(self._keys.get(kid, ())) if isinstance(kid, str) else []


def _signs(entry: Any) -> bool:
    """Whether this is the public key of Ed25519 signatures: not one for encryption, nor of another algorithm (RFC 7517)."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or not isinstance(entry.get("x"), str):
        return False
    operations = entry.get("key_ops", ["verify"])
    return (
        (entry.get("kty"), entry.get("crv")) == ("OKP", "Ed25519")
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "EdDSA") in ("EdDSA", "Ed25519")
        and isinstance(operations, list)
        and "verify" in operations
    )
