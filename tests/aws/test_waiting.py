"""Waiting on AWS: clients that look when they are told to, and a look at the n8n run that asked."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from placet_client import Link, new_id, wait_until


@pytest.fixture
def gate(own_gate):
    return own_gate()


def test_a_client_that_looks_again_by_itself_is_told_when_instead_of_being_held(gate):
    """`Prefer: respond-async` (RFC 7240): it costs one call, and no second of a function."""
    agent, key = gate.client("agent"), gate.session("request")["aws_access_key_id"]
    asked = agent.asked()
    paced = {"Prefer": "respond-async"}
    agent.get(asked["request_id"])
    before = gate.proxy.count(key)
    told = agent.get(asked["request_id"], wait=25, headers=paced)
    assert (told.status, told.json()["status"], told.headers["retry-after"]) == (200, "pending", "2")
    assert told.headers["preference-applied"] == "respond-async"
    # It was looked at once: who is held is looked after again and again.
    assert gate.proxy.count(key) - before == {"dynamodb.GetItem": 1}
    again = agent.ask(request_id=asked["request_id"], payload=None, wait_seconds=25, sending={"headers": paced})
    assert again.status == 409, "another payload"
    for headers in ({}, {"Prefer": "wait=1"}):
        held = agent.get(asked["request_id"], wait=1, headers=headers)
        assert held.json()["status"] == "pending" and "retry-after" not in held.headers
    # Who does not wait is told nothing either.
    assert "retry-after" not in agent.get(asked["request_id"], headers=paced).headers
    gate.link(asked, "bob").approve()
    ended = agent.get(asked["request_id"], wait=25, headers=paced)
    assert ended.json()["status"] == "approved" and "retry-after" not in ended.headers
    asking = agent.ask(wait_seconds=25, sending={"headers": paced})
    assert (asking.status, asking.headers["retry-after"]) == (201, "2")


def test_what_ends_soon_is_looked_at_soon(gate):
    agent = gate.client("agent")
    asked = agent.asked(timeout_seconds=1)
    told = agent.get(asked["request_id"], wait=25, headers={"Prefer": "respond-async"})
    assert told.headers.get("retry-after") == "1" or told.json()["status"] == "expired"


class PlayedN8n:
    """Answers at its runs' resume URLs as n8n 2.40 does: a run that waits, and one that was stopped."""

    def __init__(self):
        self.over, self.lines = {"17"}, []
        played = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self):
                self.rfile.read(int(self.headers.get("content-length") or 0))
                played.lines.append(f"{self.command} {self.path}")
                run = self.path.split("/")[2]
                if run in played.over:
                    status, body = (
                        409,
                        json.dumps({"code": 409, "message": f'The execution "{run}" has finished with error.'}),
                    )
                else:
                    status, body = 200, "<html>No action required</html>"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def step(self, run):
        return f"http://127.0.0.1:{self.server.server_port}/webhook-waiting/{run}/pay?signature=s"

    def looks(self, run):
        return self.lines.count(f"GET /webhook-waiting/{run}/pay?signature=s")


@pytest.fixture
def n8n():
    played = PlayedN8n()
    yield played
    played.server.shutdown()
    played.server.server_close()


def test_a_request_is_withdrawn_when_its_n8n_run_is_over(gate, n8n):
    """The first look comes half a minute after the question, by a message of the deadline queue."""
    agent = gate.client("agent")
    ask = lambda run, name: agent.asked(request_id=name, callback_url=n8n.step(run))  # noqa: E731
    over, waits = ask("17", f"n8n-17-{new_id()}"), ask("18", f"n8n-18-{new_id()}")
    # Anybody may have asked under this name: no run ends it.
    shared = ask("17", new_id("invoice"))
    link = gate.link(over, "bob")
    nonce = link.nonce()
    ended = agent.ended(over["request_id"], 60)
    assert (ended["status"], ended["approved"], ended["decided_by"]) == ("cancelled", False, ["client:agent"])
    assert ended["reason"].startswith("The n8n run that asked is over")
    (entry,) = gate.endings_of(over)
    assert (entry["event"], entry["channel"]) == ("request.cancelled", "gate")
    assert link.post("approve", nonce).status == 409
    # The other run still waits, and so does what nobody knows the run of.
    wait_until(lambda: n8n.looks("18"), 60, "a look at the other run")
    assert n8n.looks("17") == 1 and agent.state(waits["request_id"])["status"] == "pending"
    assert agent.state(shared["request_id"])["status"] == "pending"
    n8n.over.clear()
    Link(gate.http, gate.message(waits, "bob")["url"]).approve()
    wait_until(lambda: "POST /webhook-waiting/18/pay?signature=s" in n8n.lines, 60, "the run to be resumed")
