"""The Lambda Runtime API, as a `bootstrap` sees it: hands out events, takes answers, and notes when it was first asked.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import subprocess
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from placet_client import wait_until

# What Lambda sets, and nothing else: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
LAMBDA_ENVIRONMENT = {
    "_HANDLER": "bootstrap", "AWS_DEFAULT_REGION": "eu-central-1", "AWS_REGION": "eu-central-1",
    "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023", "AWS_LAMBDA_FUNCTION_NAME": "placet",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/placet",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/25/[$LATEST]0123456789abcdef", "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "example", "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime", "LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/task:/opt/lib", "TZ": ":UTC",
}  # fmt: skip


class RuntimeApi:
    """Runs one bootstrap and speaks to it as Lambda does."""

    def __init__(self, binary, variables, folder):
        self.events, self.answers = queue.Queue(), {}
        self.polled, self.init_error = threading.Event(), None
        runtime = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                runtime.polled.set()
                event = runtime.events.get()
                if event is None:
                    self.close_connection = True
                    return
                request_id, body = event
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 29) * 1000)))
                self.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:placet"
                )
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                *_, request_id, kind = self.path.split("/")
                if self.path.endswith("/init/error"):
                    runtime.init_error = json.loads(body)
                else:
                    runtime.answers[request_id] = (kind, json.loads(body or b"null"))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the bootstrap was ended

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.log = folder / f"log-{uuid.uuid4().hex[:8]}"
        host = f"127.0.0.1:{self.server.server_address[1]}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(binary)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env={**LAMBDA_ENVIRONMENT, "AWS_LAMBDA_RUNTIME_API": host, **variables},
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.events.put(None)
        self.server.shutdown()
        self.server.server_close()

    def logs(self):
        return self.log.read_text(errors="replace")

    def wait_for_poll(self, seconds=30):
        def asked():
            assert self.process.poll() is None, f"the bootstrap ended with {self.process.returncode}: {self.logs()}"
            return self.polled.is_set()

        wait_until(asked, seconds, "the first poll")

    def invoke(self, event, seconds=60):
        """The answer to one event: `response` or `error`, and its content."""
        request_id = str(uuid.uuid4())
        self.events.put((request_id, json.dumps(event).encode()))

        def answered():
            assert self.process.poll() is None or request_id in self.answers, f"the bootstrap ended: {self.logs()}"
            return self.answers.get(request_id)

        return wait_until(answered, seconds, "the answer")
