"""Receipts: how a request ended, proven without a gate.

A receipt holds the request's audit entries up to its end, the proof that the last of them is in the gate's transparency
log, and the log's signed head (C2SP `tlog-proof`, `tlog-checkpoint`, `signed-note`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .canonical import digest, strict_object
from .errors import InvalidPayload, InvalidReceipt

TYPE = "placet-receipt/v1"

_ENDS = {
    "request.approved": "approved",
    "request.rejected": "rejected",
    "request.expired": "expired",
    "request.cancelled": "cancelled",
}


@dataclass(frozen=True)
class VerifiedReceipt:
    """What a good receipt proves."""

    request_id: str
    client: str
    status: str
    """`approved`, `rejected`, `expired` or `cancelled`."""
    approved: bool
    approved_by: str | None
    timestamp: str
    payload_sha256: str
    index: int
    """The place of the request's end in the log, from 0."""
    size: int
    """How many entries the log had."""
    log: str
    """The log's name."""
    has_token: bool
    """Whether it holds the token. An auditor's receipt does not: it proves the outcome, and nobody can act on it."""
    pinned: bool
    """Whether the log's key came from the caller, and not from the receipt itself."""


def verify_receipt(
    receipt: str | bytes | Mapping[str, Any],
    *,
    log_key: str | None = None,
    payload: Mapping[str, Any] | bytes | None = None,
) -> VerifiedReceipt:
    """Checks a receipt, and says what it proves. Raises `InvalidReceipt`, whose `problem` is the gate's own code.

    `log_key` is the log's public key as `placet audit key` prints it. Without it the receipt's own is used, which proves
    that the receipt is whole, and not whose log it is from. `payload` must be what was asked for.
    """
    fields = _read(receipt)
    entries = _chained(fields["entries"])
    end = entries[-1]
    status = _ENDS.get(str(end.get("event")))
    if status is None or end.get("approved") is not (status == "approved"):
        raise InvalidReceipt("malformed")
    if (end.get("request_id"), end.get("client")) != (fields["request_id"], fields["client"]):
        raise InvalidReceipt("malformed")
    index, path, checkpoint = _proof(fields["proof"])
    log, size, root = _open(checkpoint, log_key if log_key is not None else fields["log_key"])
    if not _is_in(index, size, hashlib.sha256(b"\0" + _leaf(end)).digest(), path, root):
        raise InvalidReceipt("not_in_log")
    if fields["token"] is not None:
        _check_token(fields["token"], end, status)
    if payload is not None and digest(payload) != end.get("payload_sha256"):
        raise InvalidReceipt("payload_mismatch")
    return VerifiedReceipt(
        request_id=fields["request_id"],
        client=fields["client"],
        status=status,
        approved=status == "approved",
        approved_by=end.get("approved_by"),
        timestamp=str(end.get("timestamp")),
        payload_sha256=str(end.get("payload_sha256")),
        index=index,
        size=size,
        log=log,
        has_token=fields["token"] is not None,
        pinned=log_key is not None,
    )


def _read(receipt: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(receipt, Mapping):
        fields = dict(receipt)
    else:
        try:
            # A name that stands twice is refused: two readers could believe different ones.
            fields = dict(strict_object(receipt if isinstance(receipt, bytes) else receipt.encode()))
        except (InvalidPayload, UnicodeError):
            raise InvalidReceipt("malformed") from None
    texts = ("request_id", "client", "proof", "log_key")
    is_one = (
        fields.get("type") == TYPE
        # What stands beside the entries is not proven by them.
        and fields.keys() <= {"type", "token", "entries", *texts}
        and all(isinstance(fields.get(name), str) for name in texts)
        and isinstance(fields.get("entries"), list)
        and isinstance(fields.get("token"), str | None)
    )
    if not is_one:
        raise InvalidReceipt("malformed")
    return {"token": None, **fields}


def _leaf(entry: Mapping[str, Any]) -> bytes:
    """An entry's canonical JSON without its own hash: what its hash and its leaf are made of."""
    try:
        return bytes(rfc8785.dumps({name: value for name, value in entry.items() if name != "hash"}))
    except (rfc8785.CanonicalizationError, RecursionError):
        raise InvalidReceipt("malformed") from None


def _chained(entries: list[Any]) -> list[dict[str, Any]]:
    """The entries, where each is what its hash was made of and follows the one before it."""
    if not entries:
        raise InvalidReceipt("malformed")
    before, subject = "0" * 64, None
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or hashlib.sha256(_leaf(entry)).hexdigest() != entry.get("hash"):
            raise InvalidReceipt("entry_changed")
        seq = entry.get("seq")
        if entry.get("prev_hash") != before or type(seq) is not int or seq != number:
            raise InvalidReceipt("chain_broken")
        if subject is not None and entry.get("subject") != subject:
            raise InvalidReceipt("chain_broken")
        before, subject = entry["hash"], entry.get("subject")
    return entries


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or (len(text) > 1 and text.startswith("0")) or len(text) > 20:
        raise InvalidReceipt("malformed")
    return int(text)


def _bytes(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidReceipt("malformed") from None
    if base64.b64encode(raw).decode() != text:
        raise InvalidReceipt("malformed")
    return raw


def _proof(text: str) -> tuple[int, list[bytes], str]:
    """Index, path and checkpoint of a `tlog-proof`."""
    head, gap, checkpoint = text.partition("\n\n")
    first, *lines = head.split("\n")
    if lines and lines[0].startswith("extra "):
        _bytes(lines.pop(0).removeprefix("extra "))
    if first != "c2sp.org/tlog-proof@v1" or not gap or not lines or not lines[0].startswith("index "):
        raise InvalidReceipt("malformed")
    path = [_bytes(line) for line in lines[1:]]
    if len(path) > 64 or any(len(node) != 32 for node in path):
        raise InvalidReceipt("malformed")
    return _number(lines[0].removeprefix("index ")), path, checkpoint


def _open(note: str, vkey: str) -> tuple[str, int, bytes]:
    """Name, size and root of a checkpoint that the key has signed."""
    name, key_id, key = _key(vkey)
    text, gap, lines = note.rpartition("\n\n")
    text += "\n"
    if not gap or not lines.endswith("\n") or any((ord(c) < 32 and c != "\n") or c == "\x7f" for c in note):
        raise InvalidReceipt("wrong_checkpoint")
    is_signed = False
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise InvalidReceipt("wrong_checkpoint")
        try:
            raw = base64.b64decode(parts[2], validate=True)
        except (binascii.Error, ValueError):
            raise InvalidReceipt("wrong_checkpoint") from None
        if parts[1] == name and raw[:4] == key_id:
            try:
                key.verify(raw[4:], text.encode())
            except InvalidSignature:
                raise InvalidReceipt("wrong_checkpoint") from None
            is_signed = True
    body = text.split("\n")
    if not is_signed or len(body) < 4 or body[0] != name:
        raise InvalidReceipt("wrong_checkpoint")
    return name, _number(body[1]), _bytes(body[2])


def _key(vkey: str) -> tuple[str, bytes, Ed25519PublicKey]:
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise InvalidReceipt("malformed")
    name, key_id, raw = parts[0], parts[1], _bytes(parts[2])
    expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or key_id != expected.hex():
        raise InvalidReceipt("malformed")
    try:
        return name, expected, Ed25519PublicKey.from_public_bytes(raw[1:])
    except ValueError:
        raise InvalidReceipt("malformed") from None


def _is_in(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    place, last, node = index, size - 1, leaf
    for other in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = hashlib.sha256(b"\1" + other + node).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + other).digest()
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def _check_token(token: str, end: Mapping[str, Any], status: str) -> None:
    """The token is the one that the entry names, and says what the entry says."""
    if hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest() != end.get("token_hash"):
        raise InvalidReceipt("token_mismatch")
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, RecursionError):
        raise InvalidReceipt("token_mismatch") from None
    names = {"sub": "request_id", "aud": "client", "jti": "subject"}
    names |= {name: name for name in ("action", "payload_sha256", "approved")}
    agrees = isinstance(claims, dict) and all(claims.get(claim) == end.get(field) for claim, field in names.items())
    if not agrees or claims.get("status") != status:
        raise InvalidReceipt("token_mismatch")
