"""A web server that takes callbacks and hooks, and answers them as a test tells it to."""

import json
import random
import socket
import threading
import time
import uuid
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from placet_client import wait_until
from standardwebhooks.webhooks import Webhook


class Delivery:
    def __init__(self, path, headers, body, at):
        self.path, self.headers, self.body, self.at = path, headers, body, at

    @property
    def id(self):
        return self.headers["webhook-id"]

    def json(self):
        return json.loads(self.body)

    @property
    def approval(self):
        return self.json()["data"]

    def verified(self, secret):
        """Checked by the Standard Webhooks library of another language; it raises when the signature is wrong."""
        return Webhook(secret).verify(self.body, self.headers)

    def __repr__(self):
        return f"<{self.path} {self.headers.get('webhook-id')} {self.body[:200]!r}>"


class Receiver:
    """A web server that takes callbacks and answers them as it is told, path by path."""

    def __init__(self):
        self.lock = threading.Lock()
        self.deliveries = defaultdict(list)
        self.answers = {}
        self.gates = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, extra = receiver.take(Delivery(self.path, headers, body, time.time()))
                if gate := receiver.gates.get(self.path):
                    gate.wait(60)
                try:
                    self.send_response(status)
                    for name, value in extra.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the gate gave up on us, or was killed

            do_POST = do_GET = do_PUT = do_HEAD = answer

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_):
                pass  # a killed gate resets its connections

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        for gate in self.gates.values():
            gate.set()
        self.server.shutdown()
        self.server.server_close()

    def take(self, delivery):
        with self.lock:
            self.deliveries[delivery.path].append(delivery)
            script = self.answers.get(delivery.path, [(200, {})])
            return script.pop(0) if len(script) > 1 else script[0]

    def address(self, *answers, hold=None):
        """A new URL that gives these answers in turn, the last one for ever; `hold` delays them until it is set."""
        path = f"/{uuid.uuid4().hex[:12]}"
        if answers:
            self.answers[path] = [answer if isinstance(answer, tuple) else (answer, {}) for answer in answers]
        if hold is not None:
            self.gates[path] = hold
        return f"http://127.0.0.1:{self.port}{path}"

    def received(self, url):
        with self.lock:
            return list(self.deliveries[urlsplit(url).path])

    def wait(self, url, count=1, seconds=15):
        return wait_until(
            lambda: (found := self.received(url)) and len(found) >= count and found,
            seconds,
            f"{count} deliveries to {url}",
        )


def free_port():
    """A port below the ephemeral range, so that nobody takes it while the gate is down."""
    for _ in range(200):
        port = random.SystemRandom().randrange(18000, 31000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
