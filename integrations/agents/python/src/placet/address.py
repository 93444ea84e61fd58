"""The gate's address: `https`, or `http` on this machine alone."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import httpx2

from .deadline import limited

PLAIN = re.compile(r"[!-~]+")


def gate_address(url: str) -> str:
    """The address without a slash at its end; `ValueError` where the gate could not be trusted there.

    Over plain `http`, whoever is on the way reads the tokens and hands out keys of their own: only loopback is safe.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except (AttributeError, TypeError, ValueError):
        raise ValueError("url is the gate's address, such as https://gate.example.com") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("url is the gate's address, such as https://gate.example.com")
    # Whatever two programs could read as two different hosts is no address.
    if not PLAIN.fullmatch(url) or any(sign in url for sign in "\\@?#%"):
        raise ValueError("url is the gate's address alone: no user, query, fragment or escapes")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"http:// is for a gate on this machine; {host} needs https://")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8 and ::1, as they are usually written."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def client(url: str) -> httpx2.Client:
    """An HTTP client for this address.

    Loopback is never proxied. TLS is checked against the system's authorities, or against those that `SSL_CERT_FILE`
    or `SSL_CERT_DIR` name.
    """
    # A transport of its own: the environment's proxies are for clients without one.
    transport = httpx2.HTTPTransport() if is_loopback(urlsplit(url).hostname or "") else None
    return limited(httpx2.Client(base_url=url, follow_redirects=False, transport=transport))


def async_client(url: str) -> httpx2.AsyncClient:
    """As `client`, for asyncio."""
    transport = httpx2.AsyncHTTPTransport() if is_loopback(urlsplit(url).hostname or "") else None
    return httpx2.AsyncClient(base_url=url, follow_redirects=False, transport=transport)
