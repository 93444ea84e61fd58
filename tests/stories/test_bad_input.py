"""Every route refuses what it must, in one shape, and nothing that is sent makes the gate fall over."""

import time

import pytest
from placet_client import (
    Client,
    Inbox,
    Link,
    bad_fields,
    check_problem,
    compact,
    new_id,
    sign,
)

REQUESTS = "/v1/requests"
ONE = "/v1/requests/{request_id}"
CANCEL = "/v1/requests/{request_id}/cancel"
DECISION = "/v1/requests/{request_id}/decision"
FLAG, REPORT, REPORT_PAGE = "/v1/requests/{request_id}/flag", "/v1/report", "/report/{link}"
VERIFY, REDEEM = "/v1/tokens/verify", "/v1/tokens/redeem"
HOOKS, HOOK = "/v1/hooks", "/v1/hooks/{hook_id}"
RECEIPT = "/v1/requests/{request_id}/receipt"
AUDIT, CHECKPOINT, HORIZON, TILE = "/v1/audit", "/v1/log/checkpoint", "/v1/log/horizon", "/v1/log/tile/{path}"
LOG_KEY = "/v1/log/key"
PAGE, INBOX = "/r/{link}", "/inbox/{link}"
SLACK, TELEGRAM = "/v1/slack/interactions", "/v1/telegram/updates"
AWAY = "/inbox/{link}/away"
RESUME = "/inbox/{link}/resume"
PUSH = "/inbox/{link}/push"
EVENTS, MANIFEST = "/inbox/{link}/events", "/inbox/{link}/app.webmanifest"


class Sent:
    """What a row of the table may use: the clients, a pending and an ended request, a link."""

    def __init__(self, gate, clients):
        self.gate, self.http = gate, gate.http
        self.__dict__.update(clients)
        self.pending = self.agent.asked("inbox.pay")
        self.ended = self.agent.asked("auto.reject")
        self.approved = self.agent.asked("auto.approve")
        self.link = gate.link(self.pending, "ida")
        self.link_of_ivo = gate.link(self.pending, "ivo")
        self.other_link = gate.link(self.agent.asked("inbox.pay", {"another": "payload"}), "ida")
        self.inbox = gate.inbox("ida")

    def as_text(self, method, target, body=b"", **headers):
        return self.http.send(method, target, headers, body or None)


@pytest.fixture(scope="module")
def sent(gate, agent, other, zap, jira, auditor, slow):
    return Sent(gate, {"agent": agent, "other": other, "zap": zap, "jira": jira, "auditor": auditor, "slow": slow})


def body(**changes):
    fields = {"request_id": new_id(), "summary": "s", "action": "ask.pay", "payload": {"a": 1}, **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def wrongly_signed(client):
    return client.with_secret("whsec_" + "0" * 64)


def receipt_of(approval):
    return f"/v1/requests/{approval['request_id']}/receipt"


# (method, path of the document, what is wrong with it, how to send it, status, code)
REFUSALS = [
    ("POST", REQUESTS, "not signed", lambda s: s.http.send("POST", REQUESTS, {"Content-Type": "application/json"}, compact(body())), 401, None),
    ("POST", REQUESTS, "wrong signature", lambda s: wrongly_signed(s.agent).call("POST", REQUESTS, body()), 401, "invalid_signature"),
    ("POST", REQUESTS, "unknown client", lambda s: Client(s.http, "nobody", s.agent.secret).call("POST", REQUESTS, body()), 401, "unknown_client"),
    ("POST", REQUESTS, "stale", lambda s: s.agent.call("POST", REQUESTS, body(), at=int(time.time()) - 310), 401, "clock_skew"),
    ("POST", REQUESTS, "from the future", lambda s: s.agent.call("POST", REQUESTS, body(), at=int(time.time()) + 310), 401, "clock_skew"),
    ("POST", REQUESTS, "a decider asks", lambda s: s.jira.call("POST", REQUESTS, body()), 403, "forbidden"),
    ("POST", REQUESTS, "an auditor asks", lambda s: s.auditor.call("POST", REQUESTS, body()), 403, "forbidden"),
    ("POST", REQUESTS, "an auditor asks for nothing", lambda s: s.auditor.call("POST", REQUESTS, b"{}"), 403, "forbidden"),
    ("GET", REQUESTS, "an auditor lists with a misspelt parameter", lambda s: s.auditor.call("GET", REQUESTS + "?bogus=1"), 403, "forbidden"),
    ("POST", REQUESTS, "other body", lambda s: s.agent.call("POST", REQUESTS, body(request_id=s.pending["request_id"])), 409, "request_id_conflict"),
    ("POST", REQUESTS, "payload over 64 KiB", lambda s: s.agent.call("POST", REQUESTS, body(payload={"x": "y" * 65536})), 413, "payload_too_large"),
    ("POST", REQUESTS, "body of a megabyte", lambda s: s.agent.call("POST", REQUESTS, body(payload={"x": "y" * 2**20})), 413, "payload_too_large"),
    ("POST", REQUESTS, "no body", lambda s: s.agent.call("POST", REQUESTS), 422, "invalid_request"),
    ("POST", REQUESTS, "a name that URLs fold away", lambda s: s.agent.call("POST", REQUESTS, body(request_id="..")), 422, "invalid_request"),
    ("POST", REQUESTS, "a summary of blanks", lambda s: s.agent.call("POST", REQUESTS, body(summary=" \u200b\u0007")), 422, "invalid_request"),
    ("POST", REQUESTS, "wrong method", lambda s: s.agent.call("PUT", REQUESTS, body()), 405, None),
    ("GET", REQUESTS, "not signed", lambda s: s.http.send("GET", REQUESTS), 401, None),
    ("GET", REQUESTS, "wrong signature", lambda s: wrongly_signed(s.agent).list(), 401, "invalid_signature"),
    ("GET", REQUESTS, "unheard-of status", lambda s: s.agent.list(status="maybe"), 422, "invalid_request"),
    ("GET", REQUESTS, "limit of 0", lambda s: s.agent.list(limit=0), 422, "invalid_request"),
    ("GET", REQUESTS, "limit of 101", lambda s: s.agent.list(limit=101), 422, "invalid_request"),
    ("GET", REQUESTS, "limit in words", lambda s: s.agent.list(limit="ten"), 422, "invalid_request"),
    ("GET", REQUESTS, "forged cursor", lambda s: s.agent.list(cursor="!!!"), 422, "invalid_request"),
    ("GET", ONE, "not signed", lambda s: s.http.send("GET", f"/v1/requests/{s.pending['request_id']}"), 401, None),
    ("GET", ONE, "wrong signature", lambda s: wrongly_signed(s.agent).get(s.pending["request_id"]), 401, "invalid_signature"),
    ("GET", ONE, "unknown", lambda s: s.agent.get("no-such-request"), 404, "not_found"),
    ("GET", ONE, "another client's", lambda s: s.other.get(s.pending["request_id"]), 404, "not_found"),
    ("GET", ONE, "impossible id", lambda s: s.agent.get("a%20b"), (404, 422), None),
    ("GET", ONE, "waits 26 s", lambda s: s.agent.get(s.pending["request_id"], wait=26), 422, "invalid_request"),
    ("GET", ONE, "waits -1 s", lambda s: s.agent.get(s.pending["request_id"], wait=-1), 422, "invalid_request"),
    ("GET", ONE, "waits in words", lambda s: s.agent.get(s.pending["request_id"], wait="long"), 422, "invalid_request"),
    ("POST", CANCEL, "wrong signature", lambda s: wrongly_signed(s.agent).cancel(s.pending["request_id"]), 401, "invalid_signature"),
    ("POST", CANCEL, "a decider cancels", lambda s: s.jira.cancel(s.pending["request_id"]), (403, 404), None),
    ("POST", CANCEL, "unknown", lambda s: s.agent.cancel("no-such-request"), 404, "not_found"),
    ("POST", CANCEL, "another client's", lambda s: s.other.cancel(s.pending["request_id"]), 404, "not_found"),
    ("POST", CANCEL, "has ended", lambda s: s.agent.cancel(s.ended["request_id"]), 409, "already_decided"),
    ("POST", DECISION, "wrong signature", lambda s: wrongly_signed(s.jira).decision(s.pending["request_id"], "approve"), 401, "invalid_signature"),
    ("POST", DECISION, "the asker decides", lambda s: s.agent.decision(s.pending["request_id"], "approve"), 403, "forbidden"),
    ("POST", DECISION, "an auditor decides", lambda s: s.auditor.decision(s.pending["request_id"], "approve"), 403, "forbidden"),
    ("POST", DECISION, "the asker decides without a word", lambda s: s.agent.call("POST", f"{REQUESTS}/x/decision", b"{"), 403, "forbidden"),
    ("POST", DECISION, "unknown", lambda s: s.jira.decision("no-such-request", "approve"), 404, "not_found"),
    ("POST", DECISION, "maybe", lambda s: s.jira.decision(s.pending["request_id"], "maybe"), 422, "invalid_request"),
    ("POST", DECISION, "unknown field", lambda s: s.jira.decision(s.pending["request_id"], "approve", force=True), 422, "invalid_request"),
    ("POST", DECISION, "not in a queue stage", lambda s: s.jira.decision(s.pending["request_id"], "approve"), (403, 404, 409), None),
    ("POST", FLAG, "wrong signature", lambda s: wrongly_signed(s.auditor).call("POST", f"/v1/requests/{s.approved['request_id']}/flag", {}), 401, "invalid_signature"),
    ("POST", FLAG, "the asker flags", lambda s: s.agent.call("POST", f"/v1/requests/{s.approved['request_id']}/flag", {}), 403, "forbidden"),
    ("POST", FLAG, "unknown", lambda s: s.auditor.call("POST", "/v1/requests/no-such-request/flag", {}), 404, "not_found"),
    ("POST", FLAG, "impossible id", lambda s: s.auditor.call("POST", "/v1/requests/a%20b/flag", {}), 404, "not_found"),
    ("POST", FLAG, "another client's name", lambda s: s.auditor.call("POST", f"/v1/requests/{s.approved['request_id']}/flag?client=other", {}), 404, "not_found"),
    ("POST", FLAG, "was rejected", lambda s: s.auditor.call("POST", f"/v1/requests/{s.ended['request_id']}/flag", {}), 409, "not_approved"),
    ("POST", FLAG, "still waits", lambda s: s.auditor.call("POST", f"/v1/requests/{s.pending['request_id']}/flag", {}), 409, "not_approved"),
    ("POST", FLAG, "unknown field", lambda s: s.auditor.call("POST", f"/v1/requests/{s.approved['request_id']}/flag", {"approved": False}), 422, "invalid_request"),
    ("POST", FLAG, "a reason of 501 characters", lambda s: s.auditor.call("POST", f"/v1/requests/{s.approved['request_id']}/flag", {"reason": "x" * 501}), 422, "invalid_request"),
    ("GET", REPORT, "not signed", lambda s: s.http.send("GET", REPORT), 401, None),
    ("GET", REPORT, "wrong signature", lambda s: wrongly_signed(s.auditor).call("GET", REPORT), 401, "invalid_signature"),
    ("GET", REPORT, "a requester reads", lambda s: s.agent.call("GET", REPORT), 403, "forbidden"),
    ("GET", REPORT, "0 days", lambda s: s.auditor.call("GET", REPORT + "?days=0"), 422, "invalid_request"),
    ("GET", REPORT, "61 days", lambda s: s.auditor.call("GET", REPORT + "?days=61"), 422, "invalid_request"),
    ("GET", REPORT, "days in words", lambda s: s.auditor.call("GET", REPORT + "?days=seven"), 422, "invalid_request"),
    ("GET", REPORT_PAGE, "forged", lambda s: s.http.send("GET", "/report/forged", {"Accept": "application/json"}), 404, "not_found"),
    ("POST", REPORT_PAGE, "forged", lambda s: Link(s.http, "/report/forged").post_fields({"flag": s.approved["request_id"], "client": "agent", "nonce": "1-0"}), 404, "not_found"),
    ("POST", VERIFY, "wrong signature", lambda s: wrongly_signed(s.agent).call("POST", VERIFY, {"token": "x"}), 401, "invalid_signature"),
    ("POST", VERIFY, "no token", lambda s: s.agent.call("POST", VERIFY, {}), 422, "invalid_request"),
    ("POST", VERIFY, "token not text", lambda s: s.agent.call("POST", VERIFY, {"token": 7}), 422, "invalid_request"),
    ("POST", VERIFY, "payload not an object", lambda s: s.agent.call("POST", VERIFY, {"token": "x", "payload": [1]}), 422, "invalid_request"),
    ("POST", VERIFY, "unknown field", lambda s: s.agent.call("POST", VERIFY, {"token": "x", "key": "k"}), 422, "invalid_request"),
    ("POST", REDEEM, "wrong signature", lambda s: wrongly_signed(s.agent).redeem("x"), 401, "invalid_signature"),
    ("POST", REDEEM, "no redeemed_by", lambda s: s.agent.call("POST", REDEEM, {"token": s.approved["token"]}), 422, "invalid_request"),
    ("POST", REDEEM, "rejected request", lambda s: s.agent.redeem(s.ended["token"]), 409, "not_approved"),
    ("POST", REDEEM, "other payload", lambda s: s.agent.redeem(s.approved["token"], payload={"a": "other"}), 409, "payload_mismatch"),
    ("POST", REDEEM, "no token at all", lambda s: s.agent.redeem("not.a.token"), (409, 422), None),
    ("POST", HOOKS, "wrong signature", lambda s: wrongly_signed(s.agent).call("POST", HOOKS, {"url": "https://x.example/", "events": ["approval.decided"]}), 401, "invalid_signature"),
    ("POST", HOOKS, "no such event", lambda s: s.agent.call("POST", HOOKS, {"url": "https://x.example/", "events": ["approval.lost"]}), 422, "invalid_request"),
    ("POST", HOOKS, "no event", lambda s: s.agent.call("POST", HOOKS, {"url": "https://x.example/", "events": []}), 422, "invalid_request"),
    ("POST", HOOKS, "no URL", lambda s: s.agent.call("POST", HOOKS, {"url": "x", "events": ["approval.decided"]}), 422, "invalid_request"),
    ("POST", HOOKS, "metadata address", lambda s: s.agent.call("POST", HOOKS, {"url": "https://169.254.169.254/", "events": ["approval.decided"]}), 422, "invalid_request"),
    ("DELETE", HOOK, "wrong signature", lambda s: wrongly_signed(s.agent).unhook("x"), 401, "invalid_signature"),
    ("DELETE", HOOK, "unknown", lambda s: s.agent.unhook("no-such-hook"), 404, "not_found"),
    ("GET", RECEIPT, "not signed", lambda s: s.http.send("GET", receipt_of(s.approved)), 401, None),
    ("GET", RECEIPT, "wrong signature", lambda s: wrongly_signed(s.agent).call("GET", receipt_of(s.approved)), 401, "invalid_signature"),
    ("GET", RECEIPT, "has not ended", lambda s: s.agent.call("GET", receipt_of(s.pending)), 404, "not_found"),
    ("GET", RECEIPT, "unknown", lambda s: s.agent.call("GET", "/v1/requests/no-such-request/receipt"), 404, "not_found"),
    ("GET", RECEIPT, "another client's", lambda s: s.other.call("GET", receipt_of(s.approved)), 404, "not_found"),
    ("GET", RECEIPT, "another client's, named", lambda s: s.other.call("GET", receipt_of(s.approved) + "?client=agent"), 404, "not_found"),
    ("GET", RECEIPT, "a decider looks", lambda s: s.jira.call("GET", receipt_of(s.approved)), 403, "forbidden"),
    ("GET", RECEIPT, "unknown, to an auditor", lambda s: s.auditor.call("GET", "/v1/requests/no-such-request/receipt"), 404, "not_found"),
    ("GET", RECEIPT, "impossible client", lambda s: s.auditor.call("GET", receipt_of(s.approved) + "?client=a%20b"), 422, "invalid_request"),
    ("GET", AUDIT, "not signed", lambda s: s.http.send("GET", AUDIT), 401, None),
    ("GET", AUDIT, "wrong signature", lambda s: wrongly_signed(s.auditor).call("GET", AUDIT), 401, "invalid_signature"),
    ("GET", AUDIT, "a requester looks", lambda s: s.agent.call("GET", AUDIT), 403, "forbidden"),
    ("GET", AUDIT, "a decider looks", lambda s: s.jira.call("GET", AUDIT), 403, "forbidden"),
    ("GET", AUDIT, "a requester with a bad parameter", lambda s: s.agent.call("GET", AUDIT + "?format=xml"), 403, "forbidden"),
    ("GET", AUDIT, "unheard-of format", lambda s: s.auditor.call("GET", AUDIT + "?format=xml"), 422, "invalid_request"),
    ("GET", AUDIT, "no time", lambda s: s.auditor.call("GET", AUDIT + "?since=yesterday"), 422, "invalid_request"),
    ("GET", AUDIT, "no day", lambda s: s.auditor.call("GET", AUDIT + "?until=2026-02-31"), 422, "invalid_request"),
    ("GET", AUDIT, "forged cursor", lambda s: s.auditor.call("GET", AUDIT + "?cursor=-1"), 422, "invalid_request"),
    ("GET", AUDIT, "limit of 0", lambda s: s.auditor.call("GET", AUDIT + "?limit=0"), 422, "invalid_request"),
    ("GET", AUDIT, "limit of 5001", lambda s: s.auditor.call("GET", AUDIT + "?limit=5001"), 422, "invalid_request"),
    ("GET", AUDIT, "format twice", lambda s: s.auditor.call("GET", AUDIT + "?format=csv&format=jsonl"), 422, "invalid_request"),
    ("GET", CHECKPOINT, "wrong method", lambda s: s.http.send("POST", CHECKPOINT), 405, None),
    ("GET", LOG_KEY, "wrong method", lambda s: s.http.send("POST", LOG_KEY), 405, None),
    ("GET", HORIZON, "not signed", lambda s: s.http.send("GET", HORIZON), 401, None),
    ("GET", HORIZON, "a requester looks", lambda s: s.agent.call("GET", HORIZON), 403, "forbidden"),
    ("GET", TILE, "not signed", lambda s: s.http.send("GET", "/v1/log/tile/0/000"), 401, None),
    ("GET", TILE, "a requester looks", lambda s: s.agent.call("GET", "/v1/log/tile/0/000.p/1"), 403, "forbidden"),
    ("GET", TILE, "not there", lambda s: s.auditor.call("GET", "/v1/log/tile/0/x999/000"), 404, "not_found"),
    ("GET", TILE, "another spelling", lambda s: s.auditor.call("GET", "/v1/log/tile/0/0"), 404, "not_found"),
    ("GET", TILE, "no level", lambda s: s.auditor.call("GET", "/v1/log/tile/9/000"), 404, "not_found"),
    ("GET", PAGE, "forged", lambda s: s.http.send("GET", "/r/forged", {"Accept": "application/json"}), 404, "not_found"),
    ("POST", PAGE, "forged", lambda s: Link(s.http, "/r/forged").post("approve", "x"), 404, "not_found"),
    ("POST", PAGE, "no nonce", lambda s: s.link.post("approve"), 422, "invalid_request"),
    ("POST", PAGE, "no decision", lambda s: s.link.post_fields({"nonce": s.link.nonce()}), 422, "invalid_request"),
    ("POST", PAGE, "maybe", lambda s: s.link.post("maybe", s.link.nonce()), 422, "invalid_request"),
    ("POST", PAGE, "both", lambda s: s.link.post_fields([("decision", "approve"), ("decision", "reject"), ("nonce", s.link.nonce())]), 422, "invalid_request"),
    ("POST", PAGE, "JSON for a form", lambda s: s.link.post_fields(b'{"decision":"approve"}', content_type="application/json"), (415, 422), None),
    ("POST", PAGE, "a megabyte", lambda s: s.link.post("approve", s.link.nonce(), "x" * 2**20), (413, 422), None),
    ("GET", INBOX, "forged", lambda s: s.http.send("GET", "/inbox/forged", {"Accept": "application/json"}), 404, "not_found"),
    ("POST", SLACK, "not signed", lambda s: s.http.send("POST", SLACK, {}, b"payload={}"), 401, "invalid_signature"),
    ("POST", SLACK, "wrong signature", lambda s: s.http.send("POST", SLACK, {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=" + "0" * 64}, b"payload={}"), 401, "invalid_signature"),
    ("POST", SLACK, "wrong method", lambda s: s.http.send("GET", SLACK), 405, None),
    ("POST", TELEGRAM, "no secret token", lambda s: s.http.send("POST", TELEGRAM, {}, b"{}"), 401, "invalid_signature"),
    ("POST", TELEGRAM, "another secret token", lambda s: s.http.send("POST", TELEGRAM, {"X-Telegram-Bot-Api-Secret-Token": "x"}, b"{}"), 401, "invalid_signature"),
    ("POST", TELEGRAM, "wrong method", lambda s: s.http.send("GET", TELEGRAM), 405, None),
    ("POST", INBOX, "forged", lambda s: Inbox(s.http, "/inbox/forged").post("approve", ["x~y"]), 404, "not_found"),
    ("POST", INBOX, "no row", lambda s: s.inbox.post("approve", []), 422, "invalid_request"),
    ("POST", INBOX, "no decision", lambda s: s.inbox.post(None, [s.inbox.row(s.link)]), 422, "invalid_request"),
    ("POST", INBOX, "a row of nobody", lambda s: s.inbox.post("approve", ["nobody~1-2"]), 404, "not_found"),
    ("POST", INBOX, "a row of somebody else", lambda s: s.inbox.post("approve", [f"{s.link_of_ivo.name}~1-2"]), 404, "not_found"),
    ("POST", INBOX, "no nonce", lambda s: s.inbox.post("approve", [s.link.name]), 422, "invalid_request"),
    ("POST", INBOX, "several, and not confirmed", lambda s: s.inbox.post("approve", [s.link.name, s.link.name], confirmed=None), 422, "invalid_request"),
    ("POST", INBOX, "several that differ", lambda s: s.inbox.post("approve", [s.link.name, s.other_link.name]), 422, "invalid_request"),
    ("POST", INBOX, "a megabyte", lambda s: s.inbox.post("approve", ["x" * 2**20]), (413, 422), None),
    ("POST", AWAY, "forged", lambda s: s.http.send("POST", "/inbox/forged/away", {"Accept": "application/json"}, b"hours=1"), 404, "not_found"),
    ("POST", AWAY, "no nonce", lambda s: s.inbox.say(hours=1), 422, "invalid_request"),
    ("POST", AWAY, "no hours", lambda s: s.inbox.say(nonce=s.inbox.nonce()), 422, "invalid_request"),
    ("POST", AWAY, "for ever", lambda s: s.inbox.say(nonce=s.inbox.nonce(), hours=673), 422, "invalid_request"),
    ("POST", AWAY, "a stand-in whom the policy does not allow", lambda s: s.inbox.say(nonce=s.inbox.nonce(), hours=1, backup="olga"), 422, "invalid_request"),
    ("POST", RESUME, "forged", lambda s: s.http.send("POST", "/inbox/forged/resume", {"Accept": "application/json"}, b"client=agent"), 404, "not_found"),
    ("POST", RESUME, "no nonce", lambda s: s.inbox.resume(client="agent"), 422, "invalid_request"),
    ("POST", RESUME, "no client", lambda s: s.inbox.resume(nonce=s.inbox.nonce()), 422, "invalid_request"),
    ("POST", PAGE, "an approval that pauses", lambda s: s.link.post("approve", s.link.nonce(), query="?pause"), 422, "invalid_request"),
    ("POST", INBOX, "an approval that pauses", lambda s: s.inbox.post("approve", [s.inbox.row(s.link)], query="?pause"), 422, "invalid_request"),
    ("POST", INBOX, "a pause by somebody else", lambda s: s.inbox.post("reject", [f"{s.link_of_ivo.name}~1-2"], query="?pause"), 404, "not_found"),
    ("POST", PUSH, "forged", lambda s: s.http.send("POST", "/inbox/forged/push", {}, b"off=x"), 404, "not_found"),
    ("POST", PUSH, "nobody has push here", lambda s: s.http.send("POST", f"{s.inbox.path}/push", {}, b"off=x"), 404, "not_found"),
    ("GET", EVENTS, "forged", lambda s: s.http.send("GET", "/inbox/forged/events", {"Accept": "application/json"}), 404, "not_found"),
    ("GET", MANIFEST, "forged", lambda s: s.http.send("GET", "/inbox/forged/app.webmanifest", {"Accept": "application/json"}), 404, "not_found"),
    ("GET", "/sw.js", "wrong method", lambda s: s.http.send("POST", "/sw.js"), 405, None),
    ("GET", "/icon-192.png", "wrong method", lambda s: s.http.send("POST", "/icon-192.png"), 405, None),
    ("GET", "/icon-512.png", "wrong method", lambda s: s.http.send("POST", "/icon-512.png"), 405, None),
    ("GET", "/.well-known/jwks.json", "wrong method", lambda s: s.http.send("POST", "/.well-known/jwks.json"), 405, None),
    ("GET", "/healthz", "wrong method", lambda s: s.http.send("POST", "/healthz"), 405, None),
    ("GET", "/openapi.json", "wrong method", lambda s: s.http.send("POST", "/openapi.json"), 405, None),
    ("GET", "/metrics", "wrong method", lambda s: s.http.send("POST", "/metrics"), (404, 405), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "fault", "send", "status", "code"),
    REFUSALS,
    ids=[f"{row[0]} {row[1]}: {row[2]}" for row in REFUSALS],
)
def test_a_refusal(sent, method, path, fault, send, status, code):
    check_problem(send(sent), status, *([code] if code else []))


def test_every_route_of_the_document_has_a_refusal(gate):
    document = gate.http.send("GET", "/openapi.json").json()
    verbs = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
    routes = {(verb.upper(), path) for path, item in document["paths"].items() for verb in item if verb in verbs}
    contract = {
        ("POST", REQUESTS), ("GET", REQUESTS), ("GET", ONE), ("POST", CANCEL), ("POST", DECISION), ("POST", VERIFY),
        ("POST", REDEEM), ("POST", HOOKS), ("DELETE", HOOK), ("GET", PAGE), ("POST", PAGE), ("GET", INBOX),
        ("GET", "/.well-known/jwks.json"), ("GET", "/healthz"), ("GET", "/openapi.json"), ("GET", RECEIPT), ("GET", AUDIT),
        ("GET", CHECKPOINT), ("GET", TILE),
        ("POST", SLACK), ("POST", TELEGRAM),
    }  # fmt: skip
    assert contract <= routes, contract - routes
    assert routes <= {(row[0], row[1]) for row in REFUSALS}, routes - {(row[0], row[1]) for row in REFUSALS}


def test_the_refusals_left_nothing_behind(sent):
    """Runs its own round of the table, so that the order of tests does not matter."""
    for *_, send, _, _ in REFUSALS:
        send(sent)
    state = sent.agent.state(sent.pending["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])
    assert sent.agent.redeem(sent.approved["token"], "first").json()["first"] is True


def test_an_unknown_path_is_a_problem_too(gate, agent):
    for target in (
        "/",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v2/requests",
        "/r",
        "/r/",
        "/inbox/",
        "//",
        "/.git/config",
        "/%00",
    ):
        for method in ("GET", "POST", "DELETE"):
            answer = gate.http.send(method, target, {"Accept": "application/json"})
            assert 400 <= answer.status < 500 or (answer.status == 200 and target == "/"), (method, target, answer)
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json", (method, target, answer)
    check_problem(agent.call("GET", "/v1/nothing"), 404, "not_found")


# ---------------------------------------------------------------- bodies


def test_every_bad_field_is_listed(agent):
    answer = agent.call("POST", REQUESTS, {
        "request_id": "no spaces!", "summary": "", "action": "not an action", "payload": [1], "timeout_seconds": 0,
        "callback_url": "ftp://x.example/", "wait_seconds": 26, "metadata": {"a": 1}, "auto_approve": True, "surprise": 1,
    })  # fmt: skip
    problem = check_problem(answer, 422, "invalid_request")
    assert bad_fields(problem) == {
        "request_id", "summary", "action", "payload", "timeout_seconds", "callback_url", "wait_seconds", "metadata",
        "auto_approve", "surprise",
    }  # fmt: skip


def test_missing_fields_are_listed(agent):
    problem = check_problem(agent.call("POST", REQUESTS, {}), 422, "invalid_request")
    assert {"request_id", "summary"} <= bad_fields(problem)


BAD_VALUES = [
    ("request_id", ["", "a" * 129, "a b", "a/b", "ä", "a\n", 7, None, ["a"]]),
    ("summary", ["", "x" * 501, "\U0001f600" * 501, 7, None, ["s"], {}]),
    ("action", ["", "a b", "x" * 2000, 7, {}, "a\u0000b"]),
    ("payload", [[], "x", 7, True, None]),
    ("timeout_seconds", [0, -1, 30 * 86400 + 1, 1.5, "60", True, 2**70]),
    ("callback_url", ["", "x", "ftp://a.example/", "//a.example/", "javascript:alert(1)", "http://a.example/", "https://", 7, "https://" + "a" * 5000]),
    ("wait_seconds", [-1, 26, 0.5, "1", 2**70]),
    ("metadata", [[], "x", {"a": 1}, {"a": None}, {"a": {"b": "c"}}]),
    ("auto_approve", [True, False, None]),
    ("approved", [True]),
    ("status", ["approved"]),
    ("client", ["other"]),
    ("rule", ["auto yes"]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "values"), BAD_VALUES, ids=[row[0] for row in BAD_VALUES])
def test_a_bad_value_is_refused_under_its_name(agent, field, values):
    for value in values:
        answer = agent.call("POST", REQUESTS, body(**{field: value}))
        problem = check_problem(answer, 422, "invalid_request")
        assert bad_fields(problem) == {field}, (value, problem)


def test_good_values_at_the_edge_are_taken(agent):
    edges = [
        {"request_id": new_id() + "A" * (128 - len(new_id()))},
        {"request_id": new_id() + "._:-"},
        {"summary": "x"},
        {"summary": "é" * 500},
        {"summary": "\U0001f600" * 500},
        {"summary": "e\u0301" * 250},
        {"timeout_seconds": 1},
        {"timeout_seconds": 30 * 86400},
        {"wait_seconds": 0},
        {"metadata": {}},
        {"payload": {}},
        {"payload": {"n": 2**53 - 1, "m": -(2**53) + 1}},
    ]
    for edge in edges:
        answer = agent.call("POST", REQUESTS, body(**edge))
        assert answer.status == 201, (edge, answer)


def test_a_payload_of_64_kib_is_taken_and_one_byte_more_is_not(agent):
    frame = len(compact({"x": ""}))
    assert agent.call("POST", REQUESTS, body(payload={"x": "y" * (65536 - frame)})).status == 201
    over = agent.call("POST", REQUESTS, body(payload={"x": "y" * (65537 - frame)}))
    check_problem(over, 413, "payload_too_large")


RAW = {
    "nothing": b"",
    "a word": b"hello",
    "cut off": b'{"request_id": "x", "summary": "s", "payload": {"a": ',
    "two documents": b'{"request_id":"x","summary":"s","payload":{}} {}',
    "an array": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "a number": b"7",
    "not UTF-8": b'{"request_id":"x","summary":"\xff\xfe","payload":{}}',
    "overlong UTF-8": b'{"request_id":"x","summary":"\xc0\xaf","payload":{}}',
    "UTF-16": '{"request_id":"x","summary":"s","payload":{}}'.encode("utf-16"),
    "a lone surrogate": b'{"request_id":"x","summary":"s","payload":{"a":"\\ud800"}}',
    "a lone surrogate in the summary": b'{"request_id":"x","summary":"\\udc00","payload":{}}',
    "duplicate keys": b'{"request_id":"x","summary":"s","payload":{},"summary":"t"}',
    "duplicate keys in the payload": b'{"request_id":"x","summary":"s","payload":{"a":1,"a":2}}',
    "duplicate keys in the payload, escaped": b'{"request_id":"x","summary":"s","payload":{"a":1,"\\u0061":2}}',
    "duplicate keys deep in the payload": b'{"request_id":"x","summary":"s","payload":{"l":[{"b":{"a":1,"a":1}}]}}',
    "an integer of 2^53": b'{"request_id":"x","summary":"s","payload":{"a":9007199254740992}}',
    "an integer of -2^53": b'{"request_id":"x","summary":"s","payload":{"a":[-9007199254740992]}}',
    "an integer of 400 digits": b'{"request_id":"x","summary":"s","payload":{"a":' + b"9" * 400 + b"}}",
    "20 digits": b'{"request_id":"x","summary":"s","payload":{"a":100000000000000000001}}',
    "2^64": b'{"request_id":"x","summary":"s","payload":{"a":18446744073709551616}}',
    "below -2^63": b'{"request_id":"x","summary":"s","payload":{"a":-9223372036854775809}}',
    "30 digits": b'{"request_id":"x","summary":"s","payload":{"a":123456789012345678901234567890}}',
    "1E30": b'{"request_id":"x","summary":"s","payload":{"a":1E30}}',
    "2^53 as a fraction": b'{"request_id":"x","summary":"s","payload":{"a":9007199254740992.0}}',
    "2^53 with an exponent": b'{"request_id":"x","summary":"s","payload":{"a":[{"b":9.007199254740992e15}]}}',
    "a float without end": b'{"request_id":"x","summary":"s","payload":{"a":1e999}}',
    "NaN": b'{"request_id":"x","summary":"s","payload":{"a":NaN}}',
    "Infinity": b'{"request_id":"x","summary":"s","payload":{"a":Infinity}}',
    "a comment": b'{"request_id":"x","summary":"s",/* hi */"payload":{}}',
    "a trailing comma": b'{"request_id":"x","summary":"s","payload":{},}',
    "nesting of 10,000": b'{"request_id":"x","summary":"s","payload":{"a":' + b"[" * 10000 + b"]" * 10000 + b"}}",
    "objects nested 5,000 deep": b'{"request_id":"x","summary":"s","payload":'
    + b'{"a":' * 5000
    + b"1"
    + b"}" * 5000
    + b"}",
    "a raw control character": b'{"request_id":"x","summary":"a\x01b","payload":{}}',
    "a byte order mark": b'\xef\xbb\xbf{"request_id":"x","summary":"s","payload":{}}',
}


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", RAW)
def test_a_body_that_is_not_what_it_should_be(gate, agent, name):
    # What is not UTF-8 does not arrive as it was signed where something on the way reads bodies as text.
    garbled = not gate.keeps_bytes and not is_utf8(RAW[name])
    refusal = (401, "invalid_signature") if garbled else (422, "invalid_request")
    for target in (REQUESTS, VERIFY, REDEEM, HOOKS):
        check_problem(agent.call("POST", target, RAW[name]), *refusal)
    check_problem(agent.get("x"), 404, "not_found")


WORDS = {
    "cut off": "ends too early",
    "two documents": "something follows after the end",
    "not UTF-8": "is not UTF-8",
    "a lone surrogate": "half a surrogate pair",
    "duplicate keys": "`summary`",
    "duplicate keys deep in the payload": "`a`",
    "an integer of 2^53": "`payload.a` is a whole number beyond ±(2^53-1)",
    "20 digits": "`payload.a` is a whole number beyond ±(2^53-1)",
    "1E30": "`payload.a` is a whole number beyond ±(2^53-1)",
    "2^53 with an exponent": "`payload.a[0].b` is a whole number beyond ±(2^53-1)",
    "a float without end": "larger than a double can hold",
    "a trailing comma": "comma after the last item",
    "nesting of 10,000": "nested more than",
    "a raw control character": "control character",
    "a byte order mark": "byte order mark",
    "an array": "must be a JSON object",
}


@pytest.mark.parametrize("name", WORDS)
def test_each_fault_of_a_body_has_words_of_its_own(gate, agent, name):
    if not gate.keeps_bytes and not is_utf8(RAW[name]):
        pytest.skip("what is not UTF-8 does not arrive as it was signed")
    problem = check_problem(agent.call("POST", REQUESTS, RAW[name]), 422, "invalid_request")
    assert WORDS[name] in problem["detail"], problem
    # One fault, one place: the line of the parser is not repeated for each field that could not be read.
    assert len(problem["errors"]) == 1, problem


def test_a_syntax_error_names_its_line_and_column(agent):
    problem = check_problem(
        agent.call("POST", REQUESTS, b'{"request_id": "x",\n "summary": oops}'), 422, "invalid_request"
    )
    assert "line 2, column" in problem["detail"] and "not valid JSON" in problem["detail"], problem


def test_duplicate_keys_are_refused_wherever_a_payload_comes_in(agent):
    token = agent.asked("auto.approve", {"a": 1})["token"]
    for target in (VERIFY, REDEEM):
        raw = b'{"token":"%s","payload":{"a":2,"a":1}%s}' % (
            token.encode(),
            b',"redeemed_by":"x"' if target == REDEEM else b"",
        )
        check_problem(agent.call("POST", target, raw), 422, "invalid_request")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "é"]
)
def test_a_body_is_json_whatever_it_calls_itself(agent, content_type):
    """Simple HTTP steps and `curl -d` name other types; what is signed, and read, is the bytes."""
    headers = {"Content-Type": content_type.encode("latin-1")}
    assert agent.call("POST", REQUESTS, body(), headers=headers).status == 201
    check_problem(agent.call("POST", REQUESTS, b"request_id=x&summary=y", headers=headers), 422, "invalid_request")


def test_a_charset_after_the_content_type_is_fine(agent):
    answer = agent.call("POST", REQUESTS, body(), headers={"Content-Type": "application/json; charset=utf-8"})
    assert answer.status == 201, answer


# ---------------------------------------------------------------- who is asking


def test_a_signature_covers_the_body_the_path_the_query_the_method_and_the_time(gate, agent, sent):
    raw = compact(body())
    headers = {**agent.signed("POST", REQUESTS, raw), "Content-Type": "application/json"}
    send = agent.http.send
    check_problem(send("POST", REQUESTS, headers, raw.replace(b'"a":1', b'"a":2')), 401, "invalid_signature")
    check_problem(send("POST", REQUESTS, headers, raw + b" "), 401, "invalid_signature")
    check_problem(send("POST", REQUESTS + "?x=1", headers, raw), 401, "invalid_signature")
    later = {**headers, "X-Placet-Timestamp": str(int(headers["X-Placet-Timestamp"]) + 1)}
    check_problem(send("POST", REQUESTS, later, raw), 401, "invalid_signature")
    check_problem(send("POST", REQUESTS, {**headers, "X-Placet-Client": "other"}, raw), 401, "invalid_signature")
    one = f"/v1/requests/{sent.pending['request_id']}"
    check_problem(send("POST", one + "/cancel", agent.signed("POST", one)), 401, "invalid_signature")
    check_problem(send("POST", one + "/cancel", agent.signed("GET", one + "/cancel")), 401, "invalid_signature")
    check_problem(send("GET", one + "?wait_seconds=0", agent.signed("GET", one)), 401, "invalid_signature")
    if gate.keeps_bytes:
        check_problem(send("GET", one + "?", agent.signed("GET", one)), 401, "invalid_signature")
    assert send("GET", one + "?wait_seconds=0", agent.signed("GET", one + "?wait_seconds=0")).status == 200
    assert send("POST", REQUESTS, headers, raw).status == 201


def test_a_path_may_be_percent_encoded_where_it_need_not_be(agent):
    """`encodeURIComponent` writes `%3A` for a colon. Behind API Gateway the path arrives decoded; the signature still counts."""
    asked = agent.asked(request_id=new_id() + ":a.b")
    encoded = asked["request_id"].replace(":", "%3A")
    answer = agent.get(encoded)
    assert answer.status == 200 and answer.json()["request_id"] == asked["request_id"], answer
    assert agent.cancel(encoded).status == 200


def test_the_clock_may_be_off_by_300_seconds(agent):
    now = int(time.time())
    for offset in (-290, 290):
        assert agent.call("GET", REQUESTS, at=now + offset).status == 200
    for offset in (-310, 310, -now):
        check_problem(agent.call("GET", REQUESTS, at=now + offset), 401, "clock_skew")
    for odd in ("", "now", "1e9", "-1", " 1", "９", str(2**63), str(2**64), f"{now}.5", f"+{now}", f"0x{now:x}"):
        headers = {**agent.signed("GET", REQUESTS, at=odd), "X-Placet-Timestamp": odd.encode()}
        check_problem(agent.http.send("GET", REQUESTS, headers), 401, "clock_skew", "invalid_signature")


def test_one_good_signature_among_several_is_enough(agent):
    now = int(time.time())
    good, bad = "v1=" + sign(agent.secret, now, "GET", REQUESTS, b""), "v1=" + "0" * 64

    def answer(text):
        return agent.call("GET", REQUESTS, at=now, headers={"X-Signature": text})

    for text in (good, f"{bad},{good}", f"{good},{bad}", f"{bad}, {good}", f"v2=zz,{good}"):
        assert answer(text).status == 200, text
    for text in (
        bad,
        f"{bad},{bad}",
        "",
        "v1=",
        good[3:],
        good.upper(),
        good.replace("v1=", "V1="),
        good[:-1],
        good + "0",
        "v1=" + good[3:].upper(),
        ",",
        "v1=,",
    ):
        if text == "v1=" + good[3:].upper() and good[3:].isdigit():
            continue
        check_problem(answer(text), 401, "invalid_signature")
    many = answer(",".join([bad] * 200 + [good]))
    assert many.status in (200, 400, 401, 431), many


def test_a_query_parameter_that_no_route_knows_is_refused_by_name(agent, jira, sent):
    one = f"/v1/requests/{sent.pending['request_id']}"
    rows = [
        (agent, "GET", REQUESTS, "bogus"), (agent, "GET", REQUESTS, "Status"), (agent, "GET", REQUESTS, "wait_seconds"),
        (agent, "GET", one, "bogus"), (agent, "GET", one, "wait"), (agent, "POST", REQUESTS, "wait_seconds"),
        (agent, "POST", one + "/cancel", "bogus"), (jira, "POST", one + "/decision", "force"), (agent, "POST", VERIFY, "bogus"),
        (agent, "POST", REDEEM, "bogus"), (agent, "POST", HOOKS, "bogus"), (agent, "DELETE", HOOKS + "/x", "bogus"),
    ]  # fmt: skip
    for client, method, target, name in rows:
        problem = check_problem(client.call(method, f"{target}?{name}=1"), 422, "invalid_request")
        assert bad_fields(problem) == {name}, (method, target, problem)
        assert name in problem["detail"] and "query parameter" in problem["detail"], problem
    assert agent.state(sent.pending["request_id"])["status"] == "pending"
    problem = check_problem(agent.call("GET", one + "?wait_seconds=%2B1"), 422, "invalid_request")
    assert bad_fields(problem) == {"wait_seconds"}
    # Who may not ask does not learn what could be asked.
    check_problem(wrongly_signed(agent).call("GET", REQUESTS + "?bogus=1"), 401, "invalid_signature")


def test_each_refusal_of_credentials_says_which_fault_it_was(agent, zap):
    def detail(headers, code, http=agent.http):
        return check_problem(http.send("GET", REQUESTS, headers), 401, code)["detail"]

    signed = agent.signed("GET", REQUESTS)
    assert "no credentials" in detail({}, "invalid_signature")
    for name in signed:
        missing = {other: value for other, value in signed.items() if other != name}
        assert f"`{name}` is missing" in detail(missing, "invalid_signature")
    assert "`X-Placet-Client` and `X-Placet-Timestamp` are missing" in detail(
        {"X-Signature": "v1=00"}, "invalid_signature"
    )
    assert "Unix seconds" in detail({**signed, "X-Placet-Timestamp": "yesterday"}, "invalid_signature")
    assert "v1=" in detail({**signed, "X-Signature": "0" * 64}, "invalid_signature")
    assert "does not match" in detail({**signed, "X-Signature": "v1=" + "0" * 64}, "invalid_signature")
    assert "no client" in detail({**signed, "X-Placet-Client": "nobody"}, "unknown_client")
    assert "clock" in detail(agent.signed("GET", REQUESTS, at=int(time.time()) - 400), "clock_skew")
    for malformed in ("Bearer", "Bearer x", "Basic eDp5", zap.secret):
        assert "Bearer <client id>.<secret>" in detail({"Authorization": malformed}, "invalid_signature"), malformed
    assert "no client" in detail({"Authorization": f"Bearer nobody.{zap.secret}"}, "unknown_client")
    assert "another secret" in detail({"Authorization": "Bearer zap.whsec_" + "0" * 64}, "invalid_signature")


def test_a_header_that_is_missing_is_a_refusal(agent):
    for name in ("X-Placet-Client", "X-Placet-Timestamp", "X-Signature"):
        headers = agent.signed("GET", REQUESTS)
        del headers[name]
        check_problem(agent.http.send("GET", REQUESTS, headers), 401)


def test_a_bearer_works_only_for_clients_that_may(zap, agent, jira):
    def answer(text):
        return zap.http.send("GET", REQUESTS, {"Authorization": text})

    assert answer(f"Bearer zap.{zap.secret}").status == 200
    assert answer(f"bearer zap.{zap.secret}").status == 200
    for client in (agent, jira):
        check_problem(answer(f"Bearer {client.id}.{client.secret}"), {401, 403})
    for text in (
        f"Bearer zap.{zap.secret[:-1]}", f"Bearer zap.{zap.secret}0", f"Bearer zap.{agent.secret}", "Bearer zap.", "Bearer zap",
        f"Bearer agent.{zap.secret}", f"Bearer {zap.secret}", "Bearer ", "Bearer", f"Basic zap.{zap.secret}", f"zap.{zap.secret}",
        f"Bearer .{zap.secret}", f"Bearer nobody.{zap.secret}", f"Bearer zap.{zap.secret.upper()}",
    ):  # fmt: skip
        check_problem(answer(text), 401)


def test_a_bearer_client_may_sign_as_well(zap):
    assert zap.list().status == 200


def test_a_secret_is_no_signature_of_its_own(agent):
    check_problem(
        agent.http.send("GET", REQUESTS, {"X-Placet-Client": "agent", "X-Signature": f"v1={agent.secret}"}), 401
    )


def test_no_refusal_repeats_a_secret(agent, zap, gate):
    answer = zap.http.send("GET", REQUESTS, {"Authorization": f"Bearer agent.{agent.secret}"})
    assert agent.secret not in answer.text
    assert agent.secret not in gate.logs() and zap.secret not in gate.logs()
