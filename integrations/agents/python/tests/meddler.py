"""Stands between a client and a real gate, and meddles: hangs, cuts, trickles, lies. It is the network on a bad day."""

import http.client
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Meddler:
    """`meddle(method, path)` names what becomes of a call; `seen` lists what was asked for.

    pass; hang (no answer); lose (the gate gets it, the answer hangs); reset; cut (half an answer); trickle (a header
    without end); slow (a body without end); or an answer of its own: (status, body, headers).
    """

    def __init__(self, url, meddle):
        self.target, self.meddle, self.seen, self.open = urlsplit(url), meddle, [], True
        meddler = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                meddler.seen.append((self.command, self.path))
                meddler.answer(self, meddler.meddle(self.command, self.path.split("?")[0]), body)

            do_POST = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def forward(self, handler, body):
        gate = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=60)
        try:
            gate.request(handler.command, handler.path, body or None, dict(handler.headers))
            answer = gate.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            gate.close()

    def answer(self, handler, what, body):
        if what == "hang":
            return self.hang(handler)
        if what == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            return handler.connection.close()
        if what == "trickle":
            return self.drip(handler, b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")
        if what == "slow":
            return self.drip(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")
        status, said, headers = what if isinstance(what, tuple) else self.forward(handler, body)
        if what == "lose":
            return self.hang(handler)
        handler.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said[: len(said) // 2] if what == "cut" else said)
        if what == "cut":
            handler.close_connection = True
        return None

    def hang(self, handler):
        while self.open and handler.connection.fileno() >= 0:
            time.sleep(0.05)
        handler.close_connection = True

    def drip(self, handler, head, drop):
        handler.close_connection = True
        handler.connection.sendall(head)
        while self.open:
            handler.connection.sendall(drop)
            time.sleep(0.1)

    def close(self):
        self.open = False
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
