"""HTTP as RFC 9110 and 9112 want it, and refusals as RFC 6750 and 9457 do: read off the wire of a running gate."""

import gzip
import re
import socket
import time

import pytest
from placet_client import check_problem, compact, new_id, wait_until

REQUESTS = "/v1/requests"
OPEN = ("/healthz", "/openapi.json", "/.well-known/jwks.json")


def body(**changes):
    return {"request_id": new_id(), "summary": "s", "action": "ask.pay", "payload": {"a": 1}, **changes}


def raw(gate, head):
    """What comes back for exactly these bytes, until the gate closes: which it does where a request is bad, or says so."""
    received = b""
    with connect(gate) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        while chunk := connection.recv(65536):
            received += chunk
    return received


def connect(gate):
    return socket.create_connection((gate.http.host, gate.http.port), timeout=30)


def status(answer):
    return int(re.match(rb"HTTP/1\.[01] (\d{3}) ", answer).group(1))


# ---------------------------------------------------------------- Host


@pytest.mark.parametrize("path", ["/healthz", "/r/abc", "/v1/requests", "/nothing"])
@pytest.mark.parametrize(
    "hosts",
    [
        "",
        "Host: a\nHost: a\n",
        "Host: a\nHost: b\n",
        "Host: a b\n",
        "Host: u@a\n",
        "Host: a/b\n",
        "Host: a\xffb\n",
        "Host: a, b\n",
    ],
)
def test_a_request_without_one_good_host_is_a_bad_request(gate, path, hosts):
    answer = raw(gate, f"GET {path} HTTP/1.1\n{hosts}\n")
    assert status(answer) == 400, answer
    assert b"application/problem+json" in answer and b'"bad_request"' in answer, answer
    assert re.search(rb"(?i)connection: close", answer), answer


@pytest.mark.parametrize("head", [
    "GET /healthz HTTP/1.0\n\n",
    "GET /healthz HTTP/1.1\nHost: anything.example:80\nConnection: close\n\n",
    "GET /healthz HTTP/1.1\nhost: [::1]:80\nConnection: close\n\n",
    "GET http://a.example/healthz HTTP/1.1\nHost: a.example\nConnection: close\n\n",
])  # fmt: skip
def test_one_host_is_enough_and_http_1_0_needs_none(gate, head):
    assert status(raw(gate, head)) == 200


@pytest.mark.parametrize("head", [
    "POST /v1/requests HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 6\n\nhello!",
    "POST /v1/requests HTTP/1.1\nHost: a\nContent-Length: -1\n\n",
    "POST /v1/requests HTTP/1.1\nHost: a\nContent-Length: 5, 5x\n\nhello",
    "POST /v1/requests HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\n\n",
    "POST /v1/requests HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n",
    "GET /healthz HTTP/1.1\nHost : a\n\n",
    "GET /healthz HTTP/1.1\n Host: a\n\n",
    "GET  /healthz HTTP/1.1\nHost: a\n\n",
    "GET /healthz\x00 HTTP/1.1\nHost: a\n\n",
    "GET /healthz HTTP/1.1\nHost: a\nX: a\x00b\n\n",
])  # fmt: skip
def test_what_could_be_read_in_two_ways_is_a_bad_request(gate, head):
    answer = raw(gate, head)
    assert 400 <= status(answer) < 500, answer
    assert answer.count(b"HTTP/1.") == 1, answer


# ---------------------------------------------------------------- methods


def test_head_says_what_get_says_without_the_body(gate, agent):
    link = gate.link(agent.asked(), "bob")
    for target in (*OPEN, link.path):
        get, head = (gate.http.send(method, target, {"Accept": "text/html"}) for method in ("GET", "HEAD"))
        assert (get.status, head.status, head.body) == (200, 200, b""), (target, head)
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize(("target", "allowed"), [
    ("/healthz", {"GET", "HEAD"}), (REQUESTS, {"GET", "HEAD", "POST"}), ("/v1/requests/x", {"GET", "HEAD"}),
    ("/v1/requests/x/cancel", {"POST"}), ("/v1/tokens/verify", {"POST"}), ("/v1/hooks/x", {"DELETE"}),
    ("/r/x", {"GET", "HEAD", "POST"}), ("/inbox/x", {"GET", "HEAD", "POST"}),
])  # fmt: skip
def test_another_method_is_told_which_ones_there_are(gate, target, allowed):
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} - allowed:
        answer = gate.http.send(method, target, {"Accept": "application/json"})
        check_problem(answer, 405, "method_not_allowed")
        assert {name.strip() for name in answer.headers["Allow"].split(",")} == allowed, (
            method,
            answer.headers["Allow"],
        )


def test_a_person_who_is_lost_gets_a_page_and_a_program_a_problem(gate):
    for target in ("/r", "/r/", "/r/no-such-link", "/r/a/b", "/inbox", "/inbox/", "/inbox/no-such-link"):
        answer = gate.http.send("GET", target, {"Accept": "text/html,*/*"})
        assert (answer.status, answer.content_type) == (404, "text/html"), (target, answer)
        assert "<h1" in answer.text and "Nothing was decided" in answer.text
        assert answer.headers["Content-Security-Policy"] and answer.headers["Referrer-Policy"] == "no-referrer"
        check_problem(gate.http.send("GET", target, {"Accept": "application/json"}), 404, "not_found")
    answer = gate.http.send("PUT", "/r/x", {"Accept": "text/html"})
    assert (answer.status, answer.content_type) == (405, "text/html") and answer.headers["Allow"]
    for target in (
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/requests/",
        "/v1/requests/a/b/c",
        "/nothing",
        "/index.html",
        "/rx",
        "/inboxes/a",
    ):
        check_problem(gate.http.send("GET", target, {"Accept": "text/html"}), 404, "not_found")


def test_a_reviewers_link_opens_with_whatever_is_hung_on_its_query(gate, agent):
    link = gate.link(agent.asked(), "bob")
    assert gate.http.send("GET", link.path + "?utm_source=mail&fbclid=x", {"Accept": "text/html"}).status == 200


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "GZIP", "identity, gzip", "gzip, identity", "made-up"]
)
def test_a_compressed_body_is_refused_unread(agent, coding):
    packed = gzip.compress(compact(body()))
    answer = agent.call("POST", REQUESTS, packed, headers={"Content-Encoding": coding})
    check_problem(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept-Encoding"] == "identity"


def test_a_body_that_is_as_it_is_may_say_so(agent):
    for coding in ("identity", "Identity", ""):
        assert agent.call("POST", REQUESTS, body(), headers={"Content-Encoding": coding}).status == 201


def test_a_compressed_form_decides_nothing(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    form = gzip.compress(f"decision=approve&nonce={link.nonce()}".encode())
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip", "Accept": "text/html"}
    assert gate.http.send("POST", link.path, headers, form).status == 415
    assert agent.state(asked["request_id"])["status"] == "pending"


def test_a_stranger_is_refused_before_the_body_comes(gate, agent):
    """The answer comes while the body is still owed; whoever would buffer it first would wait here."""
    now = int(time.time())
    strangers = {
        "no credentials": "",
        "unknown client": f"X-Placet-Client: nobody\nX-Placet-Timestamp: {now}\nX-Signature: v1={'0' * 64}\n",
        "clock off": f"X-Placet-Client: agent\nX-Placet-Timestamp: {now - 400}\nX-Signature: v1={'0' * 64}\n",
        "no v1": f"X-Placet-Client: agent\nX-Placet-Timestamp: {now}\nX-Signature: {'0' * 64}\n",
        "bearer of nobody": "Authorization: Bearer nobody.whsec_x\n",
        "bearer with another secret": f"Authorization: Bearer zap.whsec_{'0' * 64}\n",
        "bearer without a client": "Authorization: Bearer x\n",
        "packed": None,
    }
    signed = agent.signed("POST", REQUESTS)
    strangers["packed"] = "".join(f"{name}: {value}\n" for name, value in signed.items()) + "Content-Encoding: gzip\n"
    for target in (REQUESTS, "/v1/tokens/verify", "/v1/tokens/redeem", "/v1/hooks", "/v1/requests/x/decision", "/mcp"):
        for name, headers in strangers.items():
            if target == "/mcp" and name == "packed":
                continue
            with socket.create_connection((gate.http.host, gate.http.port), timeout=10) as connection:
                head = f"POST {target} HTTP/1.1\nHost: a\n{headers}Content-Length: 500000\n\n".replace("\n", "\r\n")
                connection.sendall(head.encode() + b"x" * 1000)
                answer = connection.recv(65536)
                assert status(answer) == (415 if name == "packed" else 401), (target, name, answer)


# ---------------------------------------------------------------- refusals


def parameters(challenge):
    return dict(re.findall(r'([a-z_]+)="([^"]*)"', challenge))


def test_a_401_says_how_to_do_better(gate, agent, zap):
    def challenge(headers):
        answer = gate.http.send("GET", REQUESTS, headers)
        assert answer.status == 401
        fields = answer.headers.get_all("WWW-Authenticate")
        assert len(fields) == 1, fields
        first, _, second = re.fullmatch(
            r"((?:Bearer|Placet-HMAC) .*?)(, )((?:Bearer|Placet-HMAC) .*)", fields[0]
        ).groups()
        return first, second, answer.json()

    first, second, _ = challenge({})
    assert first == 'Bearer realm="placet"' and second.startswith("Placet-HMAC ")
    assert parameters(second) == {
        "realm": "placet",
        "version": "v1",
        "algorithm": "HMAC-SHA256",
        "headers": "X-Placet-Client X-Placet-Timestamp X-Signature",
    }

    first, second, problem = challenge({"Authorization": f"Bearer zap.{zap.secret}0"})
    assert first.startswith("Bearer ")
    assert parameters(first) == {"realm": "placet", "error": "invalid_token", "error_description": problem["detail"]}
    assert "error" not in parameters(second)
    first, _, _ = challenge({"Authorization": "Bearer"})
    assert first.startswith("Bearer ") and parameters(first)["error"] == "invalid_request"

    first, second, _ = challenge({**agent.signed("GET", REQUESTS), "X-Signature": "v1=00"})
    assert first.startswith("Placet-HMAC ") and parameters(first)["error"] == "invalid_signature"
    assert second == 'Bearer realm="placet"'
    first, _, _ = challenge(agent.signed("GET", REQUESTS, at=1))
    assert parameters(first)["error"] == "clock_skew"


def test_only_a_401_asks_for_credentials(gate, agent):
    for answer in (agent.get("nothing"), agent.call("POST", REQUESTS, b"{"), gate.http.send("GET", "/healthz")):
        assert answer.status != 401 and "WWW-Authenticate" not in answer.headers


def test_credentials_that_come_twice_are_refused(gate, agent, zap):
    signed = agent.signed("GET", REQUESTS)
    doubled = [
        "".join(f"{name}: {value}\n" for name, value in signed.items()) + "X-Placet-Client: other\n",
        "".join(f"{name}: {value}\n" for name, value in signed.items()) + f"X-Signature: {signed['X-Signature']}\n",
        f"Authorization: Bearer zap.{zap.secret}\nAuthorization: Bearer zap.{zap.secret}\n",
    ]
    for headers in doubled:
        answer = raw(gate, f"GET {REQUESTS} HTTP/1.1\nHost: a\nConnection: close\n{headers}\n")
        assert status(answer) == 401 and b"must be sent once" in answer, answer


def test_a_problem_is_one_of_rfc_9457(gate, agent):
    answers = [
        agent.call("POST", REQUESTS, {}), agent.get("nothing"), gate.http.send("GET", REQUESTS), gate.http.send("PUT", REQUESTS),
        agent.call("POST", REQUESTS, body(), headers={"Content-Encoding": "gzip"}), agent.call("GET", REQUESTS + "?x=1"),
    ]  # fmt: skip
    phrases = {
        401: "Unauthorized",
        404: "Not Found",
        405: "Method Not Allowed",
        415: "Unsupported Media Type",
        422: "Unprocessable Entity",
    }
    for answer in answers:
        problem = check_problem(answer, set(phrases))
        # With `about:blank`, the title is the status's own phrase (section 4.2.1).
        assert problem["title"] == phrases[answer.status], problem
        assert set(problem) <= {"type", "title", "status", "detail", "instance", "code", "errors"}, problem
        assert problem["detail"] and not problem["detail"].endswith("."), problem
        assert answer.headers["Cache-Control"] == "no-store"


def test_bursts_of_calls_without_a_client_of_ours_are_no_attack_on_keys(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    for _ in range(30):
        for headers in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": "Bearer nobody.x"},
            {**agent.signed("GET", REQUESTS), "X-Placet-Client": "nobody"},
        ):
            assert gate.http.send("GET", REQUESTS, headers).status == 401
    assert "bad_signatures" not in gate.logs()
    wrong = agent.with_secret("whsec_" + "0" * 64)
    for _ in range(60):  # enough for a burst within one minute, wherever the minute ends
        assert wrong.list().status == 401
    wait_until(lambda: "bad_signatures" in gate.logs(), what="the alert")


# ---------------------------------------------------------------- connections


def test_an_idle_connection_is_kept_longer_than_proxies_reuse_it(local_gate):
    """A proxy that sends into a connection which is just being closed answers 502. Nothing waits a minute here: the
    default is read off the command's help, and its effect is seen with a short one."""
    from local_gate import placet

    shown = placet("serve", "--help").stdout
    assert int(re.search(r"(?s)--keep-alive-seconds.*?\[default: (\d+)\]", shown).group(1)) > 60
    gate = local_gate(arguments=("--keep-alive-seconds", "1")).start()
    with connect(gate) as connection:
        for _ in range(2):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert status(connection.recv(65536)) == 200
        began = time.monotonic()
        assert connection.recv(65536) == b""
        assert time.monotonic() - began > 0.9
    assert placet("serve", "--keep-alive-seconds", "0").returncode == 2


def test_a_gate_that_ends_answers_who_waits(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    asked = agent.asked()
    target = f"/v1/requests/{asked['request_id']}?wait_seconds=25"
    calls = [("GET", target, b""), ("POST", REQUESTS, compact(body(wait_seconds=25)))]
    waiting = []
    for method, path, data in calls:
        connection = connect(gate)
        headers = "".join(f"{name}: {value}\r\n" for name, value in agent.signed(method, path, data).items())
        connection.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data
        )
        waiting.append(connection)
    wait_until(lambda: len(agent.list().json()["requests"]) == 2, what="both calls to have begun")
    assert gate.stop() == 0
    for connection in waiting:
        with connection:
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        assert status(answer) in (200, 201, 503), answer
        if status(answer) == 503:
            assert re.search(rb"(?i)retry-after: \d+", answer) and b"application/problem+json" in answer, answer
    gate.start()
    assert agent.state(asked["request_id"])["status"] == "pending"
