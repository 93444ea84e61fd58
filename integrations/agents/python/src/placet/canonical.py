"""The payload: plain JSON, its RFC 8785 canonical text, and the digest that a token binds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from .errors import InvalidPayload

MAX_SAFE_INTEGER = 2**53 - 1
MAX_BYTES = 64 * 1024


def canonical(payload: Mapping[str, Any]) -> bytes:
    """The canonical text of a payload. What two programs could read differently is refused."""
    if not isinstance(payload, Mapping):
        raise InvalidPayload("a payload is a JSON object")
    try:
        plain = _plain(payload, "payload")
        text = rfc8785.dumps(plain)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError) as error:
        raise InvalidPayload(f"the payload has no canonical JSON: {error}") from error
    if len(text) > MAX_BYTES:
        raise InvalidPayload(f"the payload is longer than {MAX_BYTES} bytes")
    return text


def well_formed(text: str, most: int | None = None) -> str:
    """A text that every program can read, cut after so many characters. Half a surrogate pair becomes U+FFFD."""
    return text[:most].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def decoded(text: bytes) -> dict[str, Any]:
    """The payload again, as a copy that nobody else holds."""
    value: dict[str, Any] = json.loads(text)
    return value


def digest(payload: Mapping[str, Any] | bytes) -> str:
    """Lower-case hex SHA-256 of the canonical text: the `payload_sha256` of approvals and tokens."""
    return hashlib.sha256(payload if isinstance(payload, bytes) else canonical(payload)).hexdigest()


def strict_object(text: str | bytes) -> dict[str, Any]:
    """Reads a JSON object, and refuses one that names a key twice: programs differ in which of the two they believe."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(found)
        if len(names) != len(found):
            raise InvalidPayload("the JSON names a key twice")
        return names

    def constant(name: str) -> Any:
        raise InvalidPayload(f"{name} is not JSON")

    try:
        # Bytes are UTF-8 and nothing else: `json.loads` would guess at UTF-16.
        value = json.loads(
            text if isinstance(text, str) else text.decode(), object_pairs_hook=pairs, parse_constant=constant
        )
    except InvalidPayload:
        raise
    except (ValueError, RecursionError) as error:  # a ValueError also for thousands of digits
        raise InvalidPayload(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidPayload("a payload is a JSON object")
    return value


def _plain(value: Any, path: str) -> Any:
    """A copy of JSON types alone. Subclasses are refused too: an enum or a model could print one thing and be another."""
    kind = type(value)
    if value is None or kind in (str, bool):
        return value
    if kind in (int, float):
        if kind is float and not value.is_integer():
            return value  # not finite: the canonicalizer refuses it
        if abs(value) > MAX_SAFE_INTEGER:
            raise InvalidPayload(f"{path} is a whole number beyond 2^53-1; send it as a string")
        return value
    if kind in (list, tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        if any(type(name) is not str for name in value):
            raise InvalidPayload(f"{path} has a key that is not a string")
        return {name: _plain(item, f"{path}.{name}") for name, item in value.items()}
    raise InvalidPayload(
        f"{path} is a {kind.__name__}, which is not JSON; turn it into text, numbers, lists or objects"
    )
