"""A proxy between the functions and AWS that lies, drops, delays and kills as a test tells it to, and counts the calls.

It knows what an answer of each service looks like when it goes wrong, and nothing of Placet.
"""

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

SERVICES = {"DynamoDB_20120810": "dynamodb", "secretsmanager": "secretsmanager", "AmazonSQS": "sqs"}

# By service: what it says when it is called too often, and when it fails for reasons of its own.
# Sources: the "Common Errors" page of each API reference; for DynamoDB, "Error handling with DynamoDB".
THROTTLED = {
    "dynamodb": (
        400,
        "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded",
    ),
    "secretsmanager": (400, "ThrottlingException", "Rate exceeded"),
    "sqs": (403, "com.amazonaws.sqs#RequestThrottled", "The request was denied due to request throttling."),
    "sns": (400, "Throttling", "Rate exceeded"),
    "sesv2": (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
}
FAILED = {
    "dynamodb": (500, "com.amazonaws.dynamodb.v20120810#InternalServerError", "Internal server error"),
    "secretsmanager": (500, "InternalServiceError", "An error occurred on the server side."),
    "sqs": (500, "com.amazonaws.sqs#InternalFailure", "The request processing has failed."),
    "sns": (500, "InternalError", "An internal service error has occurred."),
    "sesv2": (500, "InternalServiceErrorException", "The service encountered an internal error."),
}


@dataclass
class Call:
    """One call of an AWS API."""

    service: str
    operation: str
    body: bytes
    peer: tuple
    access_key: str
    at: float = field(default_factory=time.time)


@dataclass
class Rule:
    """What happens to calls of some operations, as often as `times` says."""

    operations: set
    action: str
    times: float
    seconds: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)
    hit: list = field(default_factory=list)


class FaultProxy:
    """Listens on loopback; `endpoint` is what `AWS_ENDPOINT_URL` must say."""

    def __init__(self, upstream_port):
        self.upstream_port = upstream_port
        self.lock = threading.Lock()
        self.rules, self.calls = [], []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def relay(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                proxy.serve(self, body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = relay

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass  # a function that was killed resets its connections

        self.server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.clear()
        self.server.shutdown()
        self.server.server_close()

    # ---------------------------------------------------------------- rules

    def rule(self, action, *operations, times=float("inf"), seconds=0.0):
        """From now on, that many calls of these operations meet that fault."""
        made = Rule(set(operations), action, times, seconds)
        with self.lock:
            self.rules.append(made)
        return made

    def throttle(self, *operations, **options):
        """Refused for being too many."""
        return self.rule("throttle", *operations, **options)

    def fail(self, *operations, **options):
        """Refused for a fault of the service."""
        return self.rule("fail", *operations, **options)

    def delay(self, *operations, seconds, **options):
        """Answered, but later."""
        return self.rule("delay", *operations, seconds=seconds, **options)

    def hang(self, *operations, **options):
        """Taken and never answered, until the rule is cleared: only the caller's own time limit ends it."""
        return self.rule("hang", *operations, **options)

    def drop(self, *operations, **options):
        """The connection breaks before the call arrives."""
        return self.rule("drop", *operations, **options)

    def swallow(self, *operations, **options):
        """The call is carried out, and its answer is lost."""
        return self.rule("swallow", *operations, **options)

    def kill_after(self, *operations, **options):
        """The call is carried out, and the process that made it is killed before it hears so."""
        return self.rule("kill", *operations, **options)

    def clear(self):
        with self.lock:
            for rule in self.rules:
                rule.released.set()
            self.rules = []

    def count(self, access_key=None):
        """Calls so far, or those under that key, by `service.operation`."""
        with self.lock:
            calls = [call for call in self.calls if access_key in (None, call.access_key)]
        return Counter(f"{call.service}.{call.operation}" for call in calls)

    # ---------------------------------------------------------------- one call

    def serve(self, handler, body):
        call = named(handler.path, handler.headers, body, handler.client_address)
        with self.lock:
            self.calls.append(call)
            rule = next(
                (
                    rule
                    for rule in self.rules
                    if rule.times > 0 and rule.operations & {"*", call.operation, call.service}
                ),
                None,
            )
            if rule is not None:
                rule.times -= 1
                rule.hit.append(call)
        action = rule.action if rule else None
        if action in ("throttle", "fail"):
            answer = refusal((THROTTLED if action == "throttle" else FAILED)[call.service], call)
        else:
            if action == "drop":
                return hang_up(handler)
            if action == "hang":
                rule.released.wait(120)
                return hang_up(handler)
            if action == "delay":
                rule.released.wait(rule.seconds)
            try:
                answer = self.forward(handler, body)
            except (OSError, HTTPException):
                return hang_up(handler)
            if action == "swallow":
                return hang_up(handler)
            if action == "kill":
                kill(process_of(call.peer))
                return hang_up(handler)
        status, headers, content = answer
        try:
            handler.send_response_only(status)
            for name, value in headers:
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(content)
        except OSError:
            handler.close_connection = True  # the function was frozen, or has died

    def forward(self, handler, body):
        connection = HTTPConnection("127.0.0.1", self.upstream_port, timeout=120)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            # `Host` as it came: it is part of what is signed.
            for name, value in handler.headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            # What a load balancer that ends TLS would say: the template's policies refuse everything else.
            connection.putheader("X-Forwarded-Proto", "https")
            connection.endheaders(body or None)
            response = connection.getresponse()
            content = response.read()
            hop = {"connection", "content-length", "transfer-encoding", "keep-alive"}
            return response.status, [pair for pair in response.getheaders() if pair[0].lower() not in hop], content
        finally:
            connection.close()


def named(path, headers, body, peer):
    """Which API a call is of: JSON protocols say so in a header, the query protocol (SNS) in the form, SES in the path."""
    credential = re.search(r"Credential=([^/]+)/", headers.get("authorization") or "")
    access_key = credential.group(1) if credential else ""
    service, _, operation = (headers.get("x-amz-target") or "").partition(".")
    if operation:
        return Call(SERVICES.get(service, service), operation, body, peer, access_key)
    if path.startswith("/v2/email/"):
        name = "SendEmail" if path == "/v2/email/outbound-emails" else path
        return Call("sesv2", name, body, peer, access_key)
    form = parse_qs(body.decode("utf-8", "replace"))
    return Call("sns", form.get("Action", ["?"])[0], body, peer, access_key)


def refusal(fault, call):
    status, code, message = fault
    if call.service == "sns":
        kind = "Sender" if status < 500 else "Receiver"
        content = (
            f'<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>{kind}</Type><Code>{code}</Code>'
            f"<Message>{message}</Message></Error><RequestId>0f0f0f0f-0000-4000-8000-000000000000</RequestId></ErrorResponse>"
        ).encode()
        return status, [("Content-Type", "text/xml")], content
    if call.service == "sesv2":
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)]
        return status, headers, json.dumps({"message": message}).encode()
    content = json.dumps({"__type": code, "message": message}).encode()
    return status, [("Content-Type", "application/x-amz-json-1.0")], content


def hang_up(handler):
    handler.close_connection = True
    try:
        handler.connection.shutdown(2)
    except OSError:
        pass


def process_of(peer):
    """Id of the process of this machine that holds that end of a connection."""
    host, port = peer
    assert host == "127.0.0.1", peer
    local = f"0100007F:{port:04X}"
    # While connections come and go, one reading of the kernel's table may leave some out, and ports that are closing
    # have no inode any more.
    for _ in range(50):
        lines = map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        sockets = {f"socket:[{fields[9]}]" for fields in lines if fields[1] == local and fields[9] != "0"}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and sockets & open_files(folder):
                return int(folder.name)
        time.sleep(0.02)
    raise AssertionError(f"no process holds port {port}")


def open_files(folder):
    """What a process has open, apart from what it closes meanwhile."""
    found = set()
    try:
        for entry in (folder / "fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(entry))
    except OSError:
        pass  # it ended meanwhile
    return found


def kill(process_id):
    """kill -9 of a function's process, and of nothing else."""
    command = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")[0]
    assert command.endswith(b"/bootstrap"), command
    os.kill(process_id, signal.SIGKILL)
