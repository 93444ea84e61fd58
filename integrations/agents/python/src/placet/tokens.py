"""Reading a decision token. The algorithm belongs to the key that is held, never to what the token's header says."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

import jwt

from .approval import Claims
from .canonical import digest
from .errors import InvalidToken

Algorithm = Literal["HS256", "EdDSA"]

TYPE = "placet+jwt"
MAX_BYTES = 16 * 1024


def header(unverified: object, algorithm: Algorithm) -> dict[str, Any]:
    """The header of a token that could be one of that algorithm; nothing in it is believed."""
    if not isinstance(unverified, str) or len(unverified) > MAX_BYTES or unverified.count(".") != 2:
        raise InvalidToken("malformed")
    try:
        parts = [_strict_base64(part) for part in unverified.split(".")]
        found = json.loads(parts[0])
    except (binascii.Error, UnicodeError, ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    # `crit` names what must be understood (RFC 7515, 4.1.11): nothing here does, and old libraries do not even look.
    if not isinstance(found, dict) or found.get("typ") != TYPE or "crit" in found:
        raise InvalidToken("malformed")
    if found.get("alg") != algorithm:
        raise InvalidToken("wrong_algorithm")
    return found


def read(unverified: str, keys: Iterable[Any], algorithm: Algorithm) -> Claims:
    """The claims of a token that one of the keys signed. Time, audience and payload are not looked at yet."""
    header(unverified, algorithm)
    for key in keys:
        try:
            body = jwt.api_jws.decode_complete(unverified, key, algorithms=[algorithm])["payload"]
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError):
            raise InvalidToken("malformed") from None
        try:
            return Claims.of(json.loads(body))
        except (ValueError, RecursionError):
            raise InvalidToken("malformed") from None
    raise InvalidToken("invalid_signature")


def check(
    claims: Claims,
    *,
    audience: str | Collection[str],
    now: float,
    issuer: str | None = None,
    payload: Mapping[str, Any] | bytes | None = None,
    action: str | None = None,
) -> None:
    """Audience, issuer, payload, action, outcome and time, in that order, as the gate itself checks them."""
    if claims.aud not in ((audience,) if isinstance(audience, str) else audience):
        raise InvalidToken("wrong_audience")
    if issuer is not None and claims.iss != issuer:
        raise InvalidToken("wrong_issuer")
    if payload is not None:
        said = claims.payload_sha256.encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(digest(payload).encode(), said):
            raise InvalidToken("payload_mismatch")
    if action is not None and claims.action != action:
        raise InvalidToken("wrong_action")
    if not claims.approved or claims.status != "approved":
        raise InvalidToken("not_approved")
    if now >= claims.exp:
        raise InvalidToken("token_expired")
    if claims.nbf is not None and not now >= claims.nbf:
        raise InvalidToken("token_not_yet_valid")


def _strict_base64(part: str) -> bytes:
    """Base64url with one spelling for one value, so that one approval has one token."""
    raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise binascii.Error("not canonical")
    return raw
