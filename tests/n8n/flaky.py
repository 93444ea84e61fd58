"""A wire between n8n and the gate that can lose answers: the request gets through, its answer does not."""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Flaky:
    """Passes everything on to a gate, except the answers it was told to lose."""

    def __init__(self, gate):
        self.lock, self.lost, self.requests = threading.Lock(), {}, []
        flaky = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                to = urlsplit(gate.url)
                connection = http.client.HTTPConnection(to.hostname, to.port, timeout=60)
                headers = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
                }
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if flaky.loses(self.command, self.path):
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("content-type", "application/json"))
                if later := answer.headers.get("retry-after"):
                    self.send_header("Retry-After", later)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a connection that was closed on purpose

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def swallow(self, method, path, times):
        with self.lock:
            self.lost[method, path] = times

    def loses(self, method, path):
        with self.lock:
            self.requests.append((method, path))
            left = self.lost.get((method, path), 0)
            self.lost[method, path] = left - 1
            return left > 0

    def seen(self, method, path):
        with self.lock:
            return self.requests.count((method, path))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
