"""Speaks the gate's contract over real HTTP: signing, the review page's form, what every answer must look like.

Nothing here knows what the gate runs on (that is `backend.py`) or how it works inside.
"""

import hashlib
import hmac
import http.client
import json
import re
import socket
import threading
import time
import uuid
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

import rfc8785

APPROVAL_FIELDS = {
    "request_id", "approval_id", "client", "status", "approved", "action", "title", "summary", "payload_sha256", "metadata",
    "rule", "stage", "created_at", "deadline", "decided_at", "decided_by", "reason", "votes", "token", "status_url",
}  # fmt: skip
STATUSES = {"pending", "approved", "rejected", "expired", "cancelled"}
RFC3339_UTC = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
ULID = re.compile(r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")


# ---------------------------------------------------------------- time and waiting


class Patience:
    """By how much a wait may be longer than on one machine; a backend raises it. A wait ends as soon as it can."""

    factor = 1


def wait_until(condition, seconds=10.0, what="the condition"):
    """The first truthy value of `condition`, polled until the deadline."""
    seconds *= Patience.factor
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
    start = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
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
        except BaseException as error:  # noqa: BLE001 - handed to the test, which must see why a racer failed
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
    """Sends exactly the target it is given: signatures cover the path and query as sent.

    `name` is what `Host` says where that differs from the address: a domain that the name server does not know.
    """

    def __init__(self, host, port, name=None):
        self.host, self.port, self.name = host, port, name
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
            connection.putrequest(method, target, skip_accept_encoding=True, skip_host=self.name is not None)
            if self.name is not None:
                connection.putheader("Host", self.name)
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

    def __init__(self, http, client_id, secret, issuer=None):
        self.http, self.id, self.secret = http, client_id, secret
        self.issuer = issuer  # what its tokens must name

    def with_secret(self, secret):
        return Client(self.http, self.id, secret, self.issuer)

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
    """The first form of a page: where it posts, its hidden fields, its text areas, its buttons. A button that posts elsewhere
    is none of them: one that pauses a client is there only if that has asked often of late.
    """

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
        elif self.inside and tag == "button" and found.get("name") and "formaction" not in found:
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

    @property
    def name(self):
        """The link itself, without its path."""
        return self.path.rsplit("/", 1)[-1]

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

    def post_fields(
        self, fields, accept="application/json", content_type="application/x-www-form-urlencoded", **sending
    ):
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        path = self.path + sending.pop("query", "")
        return self.http.send("POST", path, {"Accept": accept, "Content-Type": content_type}, body, **sending)

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


class Inbox:
    """A reviewer's inbox, used as a browser uses it."""

    def __init__(self, http, url):
        self.http, self.url, self.path = http, url, path_of(url)

    def page(self, **headers):
        return self.http.send("GET", self.path, {"Accept": "text/html", **headers})

    def rows(self):
        """`<link>~<nonce>` of every request that can be decided in its row, in order."""
        page = self.page()
        assert page.status == 200, page
        return re.findall(r'name="row" value="([^"]+)"', page.text)

    def row(self, link):
        """The row of that link, once it is there."""
        return wait_until(lambda: [row for row in self.rows() if row.startswith(f"{link.name}~")], what="the row")[0]

    def nonce(self):
        """What forms about the inbox itself bring back."""
        return re.search(r'name="nonce" value="([^"]+)"', self.page().text).group(1)

    def say(self, accept="application/json", **fields):
        """Where its reviewer is: `nonce`, `hours`, `backup`."""
        headers = {"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
        return self.http.send("POST", f"{self.path}/away", headers, urlencode(fields).encode())

    def resume(self, accept="application/json", **fields):
        """Lifts its reviewer's pause of a client: `nonce`, `client`."""
        headers = {"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
        return self.http.send("POST", f"{self.path}/resume", headers, urlencode(fields).encode())

    def post(self, decision, rows, reason=None, accept="application/json", confirmed="yes", query=""):
        fields = [("row", row) for row in rows]
        fields += [
            (name, value)
            for name, value in (("decision", decision), ("reason", reason), ("confirmed", confirmed))
            if value is not None
        ]
        headers = {"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
        return self.http.send("POST", self.path + query, headers, urlencode(fields).encode())


# ---------------------------------------------------------------- what every answer must look like


def without_token(approval):
    """What everybody but the asker sees of an approval."""
    return {**approval, "token": None}


def check_approval(approval, *, at_ask=False, of_asker=True):
    """The one shape of an approval: on every response, callback and hook. Only the asker gets the token."""
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
        assert approval["token"].count(".") == 2 if of_asker else approval["token"] is None
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
