"""Drives a real Placet gate over real HTTP, and reads what it leaves in its data folder.

Nothing here knows how the gate works inside, with two exceptions that are marked: reading the audit rows and dumping
the database, which the promises are checked against.
"""

import atexit
import fnmatch
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections import defaultdict
from datetime import datetime, timezone
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import rfc8785
from standardwebhooks.webhooks import Webhook

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("PLACET", HERE / "../../target/debug/placet")).resolve()

APPROVAL_FIELDS = {
    "request_id", "approval_id", "client", "status", "approved", "action", "summary", "payload_sha256", "metadata",
    "rule", "stage", "created_at", "deadline", "decided_at", "decided_by", "reason", "votes", "token", "status_url",
}  # fmt: skip
STATUSES = {"pending", "approved", "rejected", "expired", "cancelled"}
RFC3339_UTC = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
ULID = re.compile(r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")


# ---------------------------------------------------------------- time and waiting


def wait_until(condition, seconds=10.0, what="the condition"):
    """The first truthy value of `condition`, polled until the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}; last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def moment(text):
    """An RFC 3339 time as Unix seconds; the gate writes UTC with `Z` and nothing else."""
    assert RFC3339_UTC.match(text), text
    whole, _, fraction = text[:-1].partition(".")
    start = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return start.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)


def new_id(prefix="req"):
    return f"{prefix}-{uuid.uuid4().hex[:16]}"


def digest(payload):
    """What `payload_sha256` must say, by an RFC 8785 library that is not ours."""
    return hashlib.sha256(rfc8785.dumps(payload)).hexdigest()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def at_once(calls):
    """Runs the calls in a thread each, released together; their results in order."""
    barrier = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        except BaseException as error:  # handed to the test, which must see why a racer failed
            results[index] = error

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


# ---------------------------------------------------------------- HTTP


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def content_type(self):
        return (self.headers.get("content-type") or "").split(";")[0].strip().lower()

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json().get("code")

    def __repr__(self):
        return f"<{self.status} {self.content_type} {self.body[:600]!r}>"


class Http:
    """Sends exactly the target it is given: signatures cover the path and query as sent."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.local = threading.local()

    def send(self, method, target, headers=None, body=None, timeout=60, fresh=False):
        """`fresh` opens a connection of its own and never sends twice: for a gate that may die."""
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Length", str(len(body)))
        elif method in ("POST", "PUT", "PATCH", "DELETE"):
            headers.setdefault("Content-Length", "0")
        reused = not fresh and getattr(self.local, "connection", None) is not None
        connection = self.local.connection if reused else http.client.HTTPConnection(self.host, self.port)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            if body:
                try:
                    connection.send(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # an early refusal (413) may close our sending side; its answer is still to be read
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (http.client.HTTPException, OSError):
            connection.close()
            self.local.connection = None
            if reused:  # a kept connection that the gate closed meanwhile
                return self.send(method, target, headers, body, timeout)
            raise
        if fresh or response.will_close:
            connection.close()
            connection = None
        if not fresh:
            self.local.connection = connection
        return answer

    def raw(self, data, timeout=5):
        """Sends bytes that need not be HTTP; what came back before the gate closed or fell silent."""
        received = b""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(65536):
                    received += chunk
            except OSError:
                pass
        return received


def sign(secret, timestamp, method, target, body):
    text = f"placet-v1\n{timestamp}\n{method}\n{target}\n{hashlib.sha256(body).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Client:
    """A client of the gate that signs what it sends."""

    def __init__(self, http, client_id, secret):
        self.http, self.id, self.secret = http, client_id, secret

    def with_secret(self, secret):
        return Client(self.http, self.id, secret)

    def signed(self, method, target, body=b"", at=None):
        timestamp = str(int(time.time()) if at is None else at)
        return {
            "X-Placet-Client": self.id,
            "X-Placet-Timestamp": timestamp,
            "X-Signature": "v1=" + sign(self.secret, timestamp, method, target, body),
        }

    def call(self, method, target, body=None, headers=None, at=None, **sending):
        raw = b"" if body is None else body if isinstance(body, bytes) else compact(body)
        every = self.signed(method, target, raw, at)
        if body is not None:
            every["Content-Type"] = "application/json"
        every.update(headers or {})
        return self.http.send(method, target, every, raw if body is not None else None, **sending)

    def ask(self, action="ask.pay", payload=None, request_id=None, summary="pay the invoice", sending=None, **fields):
        body = {
            "request_id": request_id or new_id(),
            "summary": summary,
            "action": action,
            "payload": {"n": uuid.uuid4().hex} if payload is None else payload,
            **fields,
        }
        return self.call("POST", "/v1/requests", body, **(sending or {}))

    def asked(self, *args, **fields):
        """The approval of a request that has to be accepted as new."""
        answer = self.ask(*args, **fields)
        assert answer.status == 201, answer
        return answer.json()

    def get(self, request_id, wait=None, **sending):
        query = "" if wait is None else f"?wait_seconds={wait}"
        return self.call("GET", f"/v1/requests/{request_id}{query}", **sending)

    def state(self, request_id):
        answer = self.get(request_id)
        assert answer.status == 200, answer
        return answer.json()

    def ended(self, request_id, seconds=15):
        return wait_until(
            lambda: (found := self.state(request_id))["status"] != "pending" and found, seconds, f"{request_id} to end"
        )

    def list(self, **query):
        return self.call("GET", "/v1/requests" + ("?" + urlencode(query) if query else ""))

    def cancel(self, request_id, **sending):
        return self.call("POST", f"/v1/requests/{request_id}/cancel", **sending)

    def decision(self, request_id, decision, **fields):
        return self.call("POST", f"/v1/requests/{request_id}/decision", {"decision": decision, **fields})

    def verify(self, token, **fields):
        answer = self.call("POST", "/v1/tokens/verify", {"token": token, **fields})
        assert answer.status == 200, answer
        return answer.json()

    def redeem(self, token, redeemed_by="executor-1", sending=None, **fields):
        body = {"token": token, "redeemed_by": redeemed_by, **fields}
        return self.call("POST", "/v1/tokens/redeem", body, **(sending or {}))

    def hook(self, url, events=("approval.requested", "approval.decided")):
        answer = self.call("POST", "/v1/hooks", {"url": url, "events": list(events)})
        assert answer.status == 201, answer
        return answer.json()

    def unhook(self, hook_id):
        return self.call("DELETE", f"/v1/hooks/{hook_id}")


# ---------------------------------------------------------------- the review page


class Form(HTMLParser):
    """The first form of a page: where it posts, its hidden fields, its text areas, its buttons."""

    def __init__(self, page):
        super().__init__()
        self.seen = self.inside = False
        self.method = self.action = None
        self.hidden, self.areas, self.buttons = {}, [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "form" and not self.seen:
            self.seen = self.inside = True
            self.method, self.action = (found.get("method") or "get").lower(), found.get("action") or ""
        elif self.inside and tag == "input" and found.get("type") == "hidden":
            self.hidden[found["name"]] = found.get("value", "")
        elif self.inside and tag == "textarea":
            self.areas.append(found.get("name"))
        elif self.inside and tag == "button" and found.get("name"):
            self.buttons.append((found["name"], found.get("value")))

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False


def path_of(url):
    """The path and query of a message's URL, to be sent to wherever the gate listens now."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


class Link:
    """A reviewer's own link, used as a browser uses it."""

    def __init__(self, http, url):
        self.http, self.url, self.path = http, url, path_of(url)

    def page(self, method="GET", **sending):
        return self.http.send(method, self.path, {"Accept": "text/html"}, **sending)

    def form(self, **sending):
        answer = self.page(**sending)
        assert answer.status == 200, answer
        form = Form(answer.text)
        assert form.seen and form.method == "post", answer
        assert {name for name, _ in form.buttons} == {"decision"}, form.buttons
        assert urljoin(self.path, form.action) == self.path, form.action
        return form

    def nonce(self, **sending):
        return self.form(**sending).hidden["nonce"]

    def post(self, decision, nonce=None, reason=None, accept="application/json", **sending):
        fields = {"decision": decision, "nonce": nonce, "reason": reason}
        return self.post_fields({name: value for name, value in fields.items() if value is not None}, accept, **sending)

    def post_fields(self, fields, accept="application/json", content_type="application/x-www-form-urlencoded", **sending):
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        return self.http.send("POST", self.path, {"Accept": accept, "Content-Type": content_type}, body, **sending)

    def vote(self, decision, reason=None, accept="application/json", **sending):
        """Opens the page and posts its form, as a person does."""
        return self.post(decision, self.nonce(**sending), reason, accept, **sending)

    def approve(self, **options):
        answer = self.vote("approve", **options)
        assert answer.status == 200, answer
        return answer.json()

    def reject(self, **options):
        answer = self.vote("reject", **options)
        assert answer.status == 200, answer
        return answer.json()


# ---------------------------------------------------------------- the gate's process and folder


class Gate:
    """One `placet serve`, stopped by its own process id whatever happens."""

    def __init__(self, folder, policy, port=0, arguments=()):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.policy = self.folder / "placet.toml"
        self.port, self.arguments, self.runs = port, tuple(arguments), 0
        self.process = self.http = self.url = None
        if policy is not None:
            self.policy.write_text(policy)

    def start(self, seconds=20):
        self.runs += 1
        out = self.folder / f"stdout.{self.runs}"
        command = [str(BINARY), "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        if self.policy.exists():
            command += ["--policy", str(self.policy)]
        with open(out, "wb") as stdout, open(self.folder / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [*command, *self.arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                cwd=self.folder, env=environment(),
            )  # fmt: skip
        atexit.register(self.kill)

        def ready():
            assert self.process.poll() is None, f"the gate ended with {self.process.returncode}: {self.stderr()[-2000:]}"
            return re.search(r"^ready (http://\S+)\s", out.read_text(), re.MULTILINE)

        try:
            self.url = wait_until(ready, seconds, "the gate's `ready` line").group(1).rstrip("/")
        except BaseException:
            self.kill()
            raise
        parts = urlsplit(self.url)
        if self.http is None:
            self.http = Http(parts.hostname, parts.port)
        self.http.host, self.http.port = parts.hostname, parts.port
        return self

    def kill(self):
        """kill -9, by process id."""
        atexit.unregister(self.kill)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(10)

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Asks the gate to end; its exit code."""
        if self.process is None or self.process.poll() is not None:
            return None if self.process is None else self.process.returncode
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def alive(self):
        return self.process.poll() is None and self.http.send("GET", "/healthz", fresh=True).status == 200

    def stderr(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def cli(self, *arguments, **options):
        """A `placet` command on this gate's folder and policy."""
        own = ["--data", str(self.data)] + (["--policy", str(self.policy)] if self.policy.exists() else [])
        return placet(*arguments, *own, cwd=options.pop("cwd", self.folder), **options)

    def secret(self, client_id):
        ran = self.cli("client", "secret", client_id)
        assert ran.returncode == 0, ran
        secret = ran.stdout.strip().splitlines()[-1]
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", secret), secret
        return secret

    def client(self, client_id):
        return Client(self.http, client_id, self.secret(client_id))

    # -- messages

    def messages(self, approval_id="*", stage="*", reviewer="*", channel="*"):
        """The outbox, oldest name first; a file another process reads is whole or not there."""
        pattern = re.compile(fnmatch.translate(f"{approval_id}.{stage}.{reviewer}.{channel}.json"))
        folder = self.data / "outbox"
        names = sorted(filter(pattern.match, os.listdir(folder))) if folder.exists() else []
        return [json.loads((folder / name).read_text()) for name in names]

    def message(self, approval, reviewer, stage="*", seconds=10):
        approval_id = approval["approval_id"]
        return wait_until(
            lambda: self.messages(approval_id, stage, reviewer), seconds, f"a message to {reviewer} about {approval_id}"
        )[0]

    def link(self, approval, reviewer, stage="*", seconds=10):
        return Link(self.http, self.message(approval, reviewer, stage, seconds)["url"])

    def told(self, approval, stage="*"):
        """Who has been sent a message."""
        return {message["reviewer"] for message in self.messages(approval["approval_id"], stage)}

    def queued(self, approval, queue="backup", seconds=10):
        folder = self.data / "queue" / queue
        found = wait_until(
            lambda: list(folder.glob(f"{approval['approval_id']}.*.json")), seconds, f"a file in queue {queue}"
        )
        return json.loads(found[0].read_text())

    # -- the database: the one place that looks inside

    def databases(self):
        return sorted(path for pattern in ("*.db", "*.sqlite", "*.sqlite3") for path in self.data.glob(pattern))

    def dump(self):
        """Every row of every table, so that two dumps are equal exactly when nothing was written."""
        contents = {}
        for path in self.databases():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            try:
                connection.execute("BEGIN")
                for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                    contents[f"{path.name}:{table}"] = sorted(map(repr, rows))
            finally:
                connection.close()
        assert contents, f"no database in {self.data}"
        return contents

    def settled_dump(self, seconds=20):
        """A dump after which nothing is under way: deliveries and timers of earlier steps are done."""
        last = {"dump": None, "since": 0.0}

        def calm():
            now = self.dump()
            if now != last["dump"]:
                last.update(dump=now, since=time.monotonic())
                return None
            return now if time.monotonic() - last["since"] > 0.5 else None

        return wait_until(calm, seconds, "the database to settle")

    def audit(self):
        """Every audit row as a dict; columns that hold a JSON object are spread over it."""
        entries = []
        for path in self.databases():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            connection.row_factory = sqlite3.Row
            try:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (table,) in tables:
                    if "audit" in table:
                        entries += [spread(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
            finally:
                connection.close()
        return entries

    def audit_of(self, approval):
        return [entry for entry in self.audit() if entry["subject"] == approval["approval_id"]]

    def endings_of(self, approval):
        return [entry for entry in self.audit_of(approval) if is_ending(entry)]

    def integrity(self):
        results = []
        for path in self.databases():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            results += [row[0] for row in connection.execute("PRAGMA integrity_check")]
            connection.close()
        return results


def spread(row):
    entry = {}
    for name in row.keys():
        value = row[name]
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                pass
        if isinstance(value, str) and value[:1] == "{":
            try:
                entry.update(json.loads(value))
                continue
            except ValueError:
                pass
        entry[name] = value
    return entry


ENDINGS = {"approved", "rejected", "expired", "cancelled"}


def is_ending(entry):
    """Whether an audit entry says that a request ended; a vote that did not end it is another event."""
    event = str(entry.get("event", "")).lower()
    return event.split(".")[-1] in ENDINGS and not event.startswith("vote")


def environment():
    """The caller's environment without what would configure the gate from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLACET")}


def placet(*arguments, cwd=None, seconds=60, stdin=None):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], cwd=cwd, env=environment(), input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip


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


# ---------------------------------------------------------------- callbacks


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
            lambda: (found := self.received(url)) and len(found) >= count and found, seconds, f"{count} deliveries to {url}"
        )


# ---------------------------------------------------------------- what every answer must look like


def check_approval(approval, *, at_ask=False):
    """The one shape of an approval: on every response, callback and hook."""
    extra = {"pending_twin"} if at_ask else set()
    assert APPROVAL_FIELDS <= approval.keys() <= APPROVAL_FIELDS | extra, approval.keys() ^ APPROVAL_FIELDS
    status, ended = approval["status"], approval["status"] != "pending"
    assert status in STATUSES
    assert approval["approved"] is (status == "approved")
    assert ULID.match(approval["approval_id"]), approval["approval_id"]
    assert re.fullmatch(r"[0-9a-f]{64}", approval["payload_sha256"])
    assert isinstance(approval["summary"], str) and isinstance(approval["action"], str)
    assert isinstance(approval["metadata"], dict)
    assert isinstance(approval["votes"], list)
    for vote in approval["votes"]:
        assert vote.keys() == {"reviewer", "decision", "reason", "voted_at"}, vote
        assert vote["decision"] in ("approve", "reject")
        moment(vote["voted_at"])
    assert approval["stage"] is None or (type(approval["stage"]) is int and approval["stage"] >= 1)
    assert approval["reason"] is None or isinstance(approval["reason"], str)
    assert approval["status_url"].endswith(f"/v1/requests/{approval['request_id']}")
    created = moment(approval["created_at"])
    if approval["deadline"] is not None:
        assert moment(approval["deadline"]) >= created
    if ended:
        assert moment(approval["decided_at"]) >= created
        assert isinstance(approval["decided_by"], list)
        assert approval["token"].count(".") == 2
    else:
        assert moment(approval["deadline"]) > created
        assert approval["decided_at"] is None and approval["token"] is None and not approval["decided_by"]
    return approval


def check_problem(answer, status, *codes):
    """RFC 9457, with the stable `code`."""
    statuses = status if isinstance(status, (set, tuple)) else {status}
    assert answer.status in statuses, answer
    assert answer.content_type == "application/problem+json", answer
    problem = answer.json()
    assert problem["status"] == answer.status, problem
    assert problem["type"] == "about:blank" and isinstance(problem["title"], str) and problem["title"], problem
    assert isinstance(problem.get("detail", ""), str)
    assert re.fullmatch(r"[a-z_]+", problem["code"]), problem
    if codes:
        assert problem["code"] in codes, problem
    if problem["status"] == 422:
        for error in problem.get("errors", []):
            assert isinstance(error["field"], str) and isinstance(error["message"], str) and error["message"], problem
    return problem


def bad_fields(problem):
    """The top-level fields a 422 names."""
    return {re.split(r"[.\[/]", error["field"])[0] for error in problem["errors"]}
