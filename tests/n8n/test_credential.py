"""The credential's test says what is wrong; a gate behind a path works."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from placet_client import digest
from receiver import free_port
from story import Story
from test_operations import approval

WRONG_SECRET = "whsec_" + "ab" * 32


class Server:
    """A web server on loopback with one answer for everything."""

    def __init__(self, answer):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, content = answer(self.command, self.path, self.headers, body)
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_DELETE = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def proxy(gate, prefix="", strips=True, **changed):
    """Hands everything below a prefix on to a gate."""

    def answer(method, path, headers, body):
        if not path.startswith(f"{prefix}/"):
            return 404, {}, b"not here"
        to = urlsplit(gate.url)
        connection = http.client.HTTPConnection(to.hostname, to.port, timeout=60)
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection")}
        connection.request(method, path[len(prefix) :] if strips else path, body or None, kept)
        got = connection.getresponse()
        content = got.read()
        connection.close()
        return got.status, {"Content-Type": got.headers.get("content-type", "application/json"), **changed}, content

    return Server(answer)


@pytest.fixture
def served():
    running = []

    def serve(made):
        running.append(made)
        return made

    yield serve
    for made in running:
        made.close()


def message(pair, url, client_id="n8n", secret=None):
    told = pair.n8n.test_credential(url, client_id, secret or pair.client.secret)
    return told["status"], told["message"]


def test_all_that_can_be_wrong_has_words_of_its_own(pair, served):
    url = pair.gate.url
    dead = f"http://127.0.0.1:{free_port()}"
    anybody = served(Server(lambda *_: (200, {"Content-Type": "application/json"}, b'{"requests": []}')))
    page = served(Server(lambda *_: (200, {"Content-Type": "text/html"}, b"<html>It works!</html>")))
    moved = served(Server(lambda *_: (302, {"Location": f"{url}/openapi.json"}, b"")))
    late = served(proxy(pair.gate, Date="Mon, 01 Jan 2024 00:00:00 GMT"))
    for told, words in (
        (message(pair, url), None),
        (message(pair, f" {url}/ ", " n8n ", f" {pair.client.secret} "), None),
        (message(pair, url, secret=WRONG_SECRET), 'the secret is not the one of the client "n8n"'),
        (message(pair, url, "nobody"), 'it knows no client "nobody"'),
        (message(pair, url, "far", pair.gate.secret("far")), 'add "127.0.0.1" to "callback_hosts"'),
        (message(pair, url, secret="hunter2"), "is not one of a Placet gate"),
        (message(pair, url, client_id=" "), "The Client ID is empty"),
        (message(pair, dead), "Nothing answers at the Gate URL"),
        (message(pair, anybody.url), "is not a Placet gate (HTTP status 200)"),
        (message(pair, page.url), "is not a Placet gate (HTTP status 200)"),
        (message(pair, moved.url), "is not a Placet gate (HTTP status 302)"),
        (message(pair, f"{url}/wrong/path"), "is not a Placet gate (HTTP status 404)"),
        (message(pair, late.url), "The clocks of n8n and of the gate are"),
        (message(pair, "gate.example.com"), "The Gate URL is not an address"),
        (message(pair, "ftp://gate.example.com"), "The Gate URL must begin with https://"),
        (message(pair, f"{url}?a=b"), 'without "?" and "#"'),
        (message(pair, ""), "The Gate URL is empty"),
    ):
        status, text = told
        assert status == ("Error" if words else "OK") and (words or "") in text, (words, told)


@pytest.mark.parametrize(
    ("client_id", "status", "words"),
    [
        ("payments", "OK", 'is an executor: it can verify and redeem'),
        ("watcher", "OK", "is an auditor: the Placet Trigger hears of everybody's requests"),
        # The trigger's hook would be an address that the gate does not call.
        ("far-watcher", "Error", 'add "127.0.0.1" to "callback_hosts"'),
        ("answerer", "Error", 'lacks the role "requester"'),
    ],
)  # fmt: skip
def test_a_client_that_cannot_ask_is_told_what_it_is_good_for(pair, client_id, status, words):
    told = message(pair, pair.gate.url, client_id, pair.gate.secret(client_id))
    assert told[0] == status and words in told[1], told


def test_the_test_asks_nobody_anything(pair):
    before = pair.client.list(limit=1).json()["requests"]
    assert message(pair, pair.gate.url)[0] == "OK"
    assert pair.client.list(limit=1).json()["requests"] == before


def test_a_gate_behind_a_path_works(pair, served):
    """The proxy takes the path away, so that the gate sees another one than n8n has sent."""
    behind = served(proxy(pair.gate, "/tools/placet"))
    for url in (f"{behind.url}/tools/placet", f"{behind.url}/tools/placet/"):
        assert message(pair, url)[0] == "OK", message(pair, url)
    assert "not a Placet gate" in message(pair, behind.url)[1]

    class Behind:
        n8n, gate, client = pair.n8n, pair.gate, pair.client

    Behind.credential = pair.n8n.credential(f"{behind.url}/tools/placet", "n8n", pair.client.secret, "Behind")
    story = Story.begin(Behind, [{"n": 1}])
    (asked,) = story.asked()
    assert asked["payload_sha256"] == digest({"n": 1})
    story.waiting()
    story.approve(asked)
    assert story.ended().status == "success"
    many = approval(
        pair, "getAll", credential=Behind.credential, returnAll=False, limit=1, filters={"status": "approved"}
    )
    assert [one["status"] for one in many] == ["approved"]


def test_a_gate_that_sees_the_whole_path_gets_a_signature_for_that_too(pair, served):
    seen = []

    def answer(method, path, headers, body):
        seen.append((path, headers["X-Signature"]))
        return 200, {"Content-Type": "application/json"}, json.dumps({"request_id": "x"}).encode()

    there = served(Server(answer))
    credential = pair.n8n.credential(f"{there.url}/tools", "n8n", pair.client.secret, "Whole")
    approval(pair, "get", credential=credential, requestId="x")
    ((path, signature),) = seen
    assert path == "/tools/v1/requests/x" and len(signature.split(",")) == 2
    # At the root there is one path, and one signature.
    root = pair.n8n.credential(there.url, "n8n", pair.client.secret, "Root")
    approval(pair, "get", credential=root, requestId="x")
    assert len(seen[-1][1].split(",")) == 1


def test_a_credential_is_read_in_the_run_when_a_decision_comes(pair):
    """In a sandbox of its own, as n8n reads it for a webhook, it would not know the workflow, and take far longer."""
    client_id = "={{ String($workflow.name).startsWith('test') ? 'n8n' : 'nobody' }}"

    class Expressed:
        n8n, gate, client = pair.n8n, pair.gate, pair.client

    Expressed.credential = pair.n8n.credential(pair.gate.url, client_id, pair.client.secret, "By expression")
    story = Story.begin(Expressed, [{"n": 1}])
    (asked,) = story.asked()
    story.waiting()
    story.approve(asked)
    run = story.ended()
    assert run.status == "success" and run.item("Pay")["approved"] is True
