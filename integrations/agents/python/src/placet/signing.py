"""How a client signs what it sends (`placet-v1`)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence


def signature(secret: str, timestamp: int, method: str, path_and_query: str, body: bytes) -> str:
    """`v1=<hex>`: HMAC-SHA256, keyed with the secret's text as it is printed."""
    text = f"placet-v1\n{timestamp}\n{method}\n{path_and_query}\n{hashlib.sha256(body).hexdigest()}"
    return "v1=" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def headers(
    client: str, secrets: Sequence[str], timestamp: int, method: str, path_and_query: str, body: bytes
) -> dict[str, str]:
    """The three headers. While a secret rotates, every secret that is held signs."""
    signatures = [signature(secret, timestamp, method, path_and_query, body) for secret in secrets]
    return {
        "X-Placet-Client": client,
        "X-Placet-Timestamp": str(timestamp),
        "X-Signature": ", ".join(signatures),
    }
