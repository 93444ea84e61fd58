"""A push service and the devices behind it, by their documents: RFC 8030, RFC 8291, RFC 8292, W3C Push API.

Strict where a real service may be lenient: whatever the documents ask of an application server is asserted here. The
decryption is written from the RFCs over `cryptography`, and the token is checked by PyJWT: neither is ours.
"""

import base64
import hmac
import json
import re
import time
from html import unescape
from urllib.parse import urlencode, urlsplit

import jwt
from chats import Played
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from placet_client import Inbox, wait_until


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text), text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Device:
    """A browser with a subscription: its keys, and what it has been told."""

    def __init__(self, service, name, public_key):
        self.name, self.endpoint = name, f"{service.url}/push/{name}"
        self.application_server_key = unb64(public_key)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = bytes(range(16))
        self.told = []

    @property
    def point(self):
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def form(self, **changes):
        return {"endpoint": self.endpoint, "p256dh": b64(self.point), "auth": b64(self.auth), **changes}

    def decrypt(self, body):
        """RFC 8188, section 2, in one record, keyed by RFC 8291, section 3.4."""
        assert len(body) <= 4096, "a push service need not take more"
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        assert length == 65 and size >= 18, (length, size)
        point, record = body[21 : 21 + length], body[21 + length :]
        assert 17 < len(record) <= size
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        info = b"WebPush: info\0" + self.point + point
        shared = HKDF(SHA256(), 32, self.auth, info).derive(self.key.exchange(ec.ECDH(), theirs))
        pseudorandom = hmac.digest(salt, shared, "sha256")
        key = HKDFExpand(SHA256(), 16, b"Content-Encoding: aes128gcm\0").derive(pseudorandom)
        nonce = HKDFExpand(SHA256(), 12, b"Content-Encoding: nonce\0").derive(pseudorandom)
        words = AESGCM(key).decrypt(nonce, record, None).rstrip(b"\0")
        assert words[-1] == 2, "the last record ends with the byte 2"
        return json.loads(words[:-1])


class PushService(Played):
    """Takes pushes for its devices. What it finds wrong with one is in `faults`, and refused."""

    def __init__(self):
        super().__init__()
        self.devices, self.faults, self.gone = {}, [], {}

    def device(self, name, public_key):
        self.devices[name] = Device(self, name, public_key)
        return self.devices[name]

    def answer(self, path, headers, body):
        name = path.removeprefix("/push/")
        self.calls.append((name, dict(headers)))
        if name in self.gone:
            return self.gone[name], {}, {}
        if (chosen := self.chosen(name)) is not None:
            return chosen
        try:
            told = self.check(self.devices[name], headers, body)
        except (AssertionError, AttributeError, KeyError, ValueError, InvalidTag, jwt.PyJWTError) as error:
            self.faults.append(repr(error))
            return 400, {}, {}
        self.devices[name].told.append(told)
        return 201, {"Location": f"{self.url}/message/1"}, {}

    def check(self, device, headers, body):
        token, key = re.fullmatch(r"vapid t=([^,\s]+), ?k=([^,\s]+)", headers["Authorization"]).groups()
        assert unb64(key) == device.application_server_key, "another application server than the one subscribed to"
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
        claims = jwt.decode(token, public, algorithms=["ES256"], audience=self.url, options={"require": ["exp", "sub"]})
        assert jwt.get_unverified_header(token) == {"typ": "JWT", "alg": "ES256"}
        assert set(claims) == {"aud", "exp", "sub"} and 0 < claims["exp"] - time.time() <= 24 * 3600
        assert re.match(r"https://[^/]+|mailto:[^@\s]+@\S+$", claims["sub"]), claims
        assert headers["Content-Encoding"] == "aes128gcm" and headers["Content-Type"] == "application/octet-stream"
        assert re.fullmatch(r"[0-9]+", headers["TTL"])
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers["Topic"])
        assert headers["Urgency"] in ("very-low", "low", "normal", "high")
        return {
            "ttl": int(headers["TTL"]),
            "topic": headers["Topic"],
            "urgency": headers["Urgency"],
            "sub": claims["sub"],
            "news": device.decrypt(body),
        }

    def wait(self, device, count=1, seconds=15):
        wait_until(lambda: len(device.told) >= count or self.faults, seconds, f"{count} pushes to {device.name}")
        assert not self.faults, self.faults
        return device.told


class Switch:
    """The part of a reviewer's inbox that its script reads and calls."""

    def __init__(self, gate, reviewer):
        ran = gate.cli("inbox", "--reviewer", reviewer, "--link")
        assert ran.returncode == 0, ran
        url = ran.stdout.strip().splitlines()[-1]
        assert url.startswith("https://gate.example.com/")
        # Past the proxy that takes `/sub` away, where the policy's issuer has it.
        self.inbox = Inbox(gate.http, urlsplit(url).path.removeprefix("/sub"))

    def data(self):
        found = re.search(r'<div[^>]* id="push"([^>]*)>', self.inbox.page().text)
        return found and {name: unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', found.group(1))}

    def send(self, **fields):
        if "nonce" not in fields:
            fields["nonce"] = self.data()["nonce"]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.inbox.http.send("POST", f"{self.inbox.path}/push", headers, urlencode(fields).encode())

    def on(self, service, name, **changes):
        data = wait_until(self.data, 10, "push in the inbox")
        device = service.device(name, data["key"])
        answer = self.send(**device.form(**changes))
        assert answer.status == 200, answer
        assert answer.json()["on"] is True and answer.json()["device"] in self.data()["devices"].split()
        device.id = answer.json()["device"]
        return device
