"""Nothing that is sent makes the gate fall over: mangled bodies, paths, headers, forms, tokens, and what is not HTTP."""

import json
import random
import re

from placet_client import new_id

REQUESTS, VERIFY, REDEEM, HOOKS = "/v1/requests", "/v1/tokens/verify", "/v1/tokens/redeem", "/v1/hooks"


def body(**changes):
    return {"request_id": new_id(), "summary": "s", "action": "ask.pay", "payload": {"a": 1}, **changes}


def nasty(dice, depth=0):
    """A JSON value that nobody expected."""
    leaves = [
        lambda: None, lambda: True, lambda: dice.choice([0, -1, 1, 2**31, 2**53 - 1, 2**63, -(2**63), 2**64, 10**40]),
        lambda: dice.choice([0.0, -0.0, 1e-300, 1e308, 0.1, 1e21]),
        lambda: "".join(chr(dice.choice([0, 9, 10, 34, 39, 60, 92, 127, 0x20AC, 0x202E, 0xFEFF, 0x1F600, 65, 97, 46])) for _ in range(dice.randrange(12))),
        lambda: "A" * dice.choice([1, 128, 129, 500, 501, 4000]),
        lambda: dice.choice(["https://a.example/", "https://127.0.0.1/", "https://[::1]/", "https://a:99999/", "http://\u2100/", "approve", "../../x", "%00", "${jndi}", "' or 1=1--"]),
    ]  # fmt: skip
    if depth > 3 or dice.random() < 0.6:
        return dice.choice(leaves)()
    if dice.random() < 0.5:
        return [nasty(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {str(nasty(dice, 9)): nasty(dice, depth + 1) for _ in range(dice.randrange(4))}


def mangled(dice, data):
    """The bytes with a few of them changed, dropped, doubled or cut off."""
    data = bytearray(data)
    for _ in range(dice.randrange(1, 6)):
        if not data:
            break
        at = dice.randrange(len(data))
        match dice.randrange(5):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                del data[at]
            case 2:
                data[at:at] = bytes([dice.choice(b'"{}[],:\\\x00\xff0-e')])
            case 3:
                data[at:at] = data[at : at + dice.randrange(20)]
            case 4:
                del data[at + dice.randrange(40) :]
    return bytes(data)


def printable(dice, alphabet, most=80):
    return "".join(dice.choice(alphabet) for _ in range(dice.randrange(most)))


PATH_LETTERS = "abcXYZ0189-_.~:%2F%00%C3%28;=&+@!$'()*,"
HEADER_LETTERS = "abcXYZ0189-_.~:;=&+@!$'()*, \t\"{}[]<>/\\?%\xe9\xff"


def test_fuzzed_bodies_never_bring_the_gate_down(gate, agent, jira):
    dice = random.Random(11)
    fields = [
        "request_id",
        "summary",
        "action",
        "payload",
        "timeout_seconds",
        "callback_url",
        "metadata",
        "auto_approve",
    ]
    targets = [(agent, REQUESTS), (agent, VERIFY), (agent, REDEEM), (agent, HOOKS), (jira, "/v1/requests/x/decision")]
    for _ in range(1500):
        client, target = dice.choice(targets)
        if target == REQUESTS:
            asked = body(request_id=f"fuzz-{dice.randrange(10**12)}", action="auto.reject")
        else:
            asked = {
                "token": "a.b.c",
                "redeemed_by": "x",
                "url": "https://a.example/",
                "events": [],
                "decision": "approve",
            }
        for _ in range(dice.randrange(4)):
            asked[dice.choice([*fields, *asked])] = nasty(dice)
        raw = json.dumps(asked, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
        if dice.random() < 0.4:
            raw = mangled(dice, raw)
        answer = client.call("POST", target, raw, headers={"Content-Type": "application/json"})
        assert answer.status < 500, (raw, answer)
        assert answer.status < 400 or answer.content_type == "application/problem+json", (raw, answer)
    assert gate.alive()


def test_fuzzed_paths_queries_and_links_never_bring_the_gate_down(gate, agent):
    dice = random.Random(12)
    code = gate.link(agent.asked(), "bob").path.removeprefix("/r/")
    for _ in range(1500):
        piece = printable(dice, PATH_LETTERS) if dice.random() < 0.7 else mangled(dice, code.encode()).decode("latin-1")
        piece = "".join(
            letter if "!" <= letter <= "~" and letter not in "#?" else f"%{ord(letter):02X}" for letter in piece
        )
        target = dice.choice(["/r/", "/inbox/", "/v1/requests/", "/v1/hooks/", "/v1/requests?cursor=", "/v1/requests?limit=", "/v1/requests/x?wait_seconds=", "/"]) + piece  # fmt: skip
        method = dice.choice(["GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"])
        if dice.random() < 0.5 and target.startswith("/v1"):
            answer = agent.call(method, target)
        else:
            sent = b"decision=approve&nonce=x" if method == "POST" else None
            answer = gate.http.send(method, target, {"Content-Type": "application/x-www-form-urlencoded"}, sent)
        assert answer.status < 500, (method, target, answer)
    assert gate.alive()


def test_fuzzed_headers_never_bring_the_gate_down(gate, agent):
    dice = random.Random(13)
    # Not `Host`: http.client sends one, and two of them are the matter of the test of what is not HTTP.
    names = ["X-Placet-Client", "X-Placet-Timestamp", "X-Signature", "Authorization", "Content-Type", "Accept", "Cookie", "X-Forwarded-For", "Origin", "Range", "If-None-Match", "Accept-Language"]  # fmt: skip
    for _ in range(1000):
        headers = agent.signed("GET", REQUESTS) if dice.random() < 0.7 else {}
        for _ in range(dice.randrange(1, 4)):
            name = dice.choice(names)
            value = printable(dice, HEADER_LETTERS, 200)
            if name in headers and dice.random() < 0.5:
                value = headers[name][: dice.randrange(len(headers[name]) + 1)] + value
            headers[name] = value.strip()
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = gate.http.send("GET", dice.choice([REQUESTS, "/healthz", "/r/x"]), raw)
        assert answer.status < 500, (headers, answer)
    assert gate.alive()


def test_fuzzed_forms_decide_nothing_and_never_bring_the_gate_down(gate, agent):
    dice = random.Random(14)
    asked = agent.asked()
    link = gate.link(asked, "bob")
    good = link.nonce()
    for _ in range(600):
        nonce = mangled(dice, good.encode())
        if nonce == good.encode():
            continue
        raw = (
            b"decision="
            + dice.choice([b"approve", b"reject"])
            + b"&nonce="
            + nonce
            + b"&reason="
            + printable(dice, "ab%&=\xe9", 40).encode()
        )
        if b"nonce=" + good.encode() in raw:
            continue
        answer = link.post_fields(
            raw if dice.random() < 0.7 else mangled(dice, raw.replace(good.encode(), b"")),
            dice.choice(["text/html", "application/json", "*/*", "\xff"]),
        )
        assert answer.status < 500, (raw, answer)
    state = agent.state(asked["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])
    assert gate.alive()


def test_fuzzed_tokens_are_never_valid_and_never_bring_the_gate_down(gate, agent, executor):
    dice = random.Random(15)
    for client in (agent, executor):
        token = client.asked("auto.approve")["token"]
        for _ in range(400):
            forged = mangled(dice, token.encode()).decode("latin-1")
            if forged == token:
                continue
            verdict = client.verify(forged)
            # The last letter of a base64 part holds bits that do not count, so two spellings may decode alike:
            # a strict decoder refuses all but one.
            assert verdict["valid"] is False and verdict["problem"], (forged, verdict)
        for _ in range(50):
            answer = client.redeem(mangled(dice, token.encode()).decode("latin-1") + "x")
            assert 400 <= answer.status < 500, answer
    assert gate.alive()


def test_what_is_not_http_never_brings_the_gate_down(gate):
    dice = random.Random(16)
    host = f"Host: {gate.http.host}\r\n"
    seeds = [
        f"POST /v1/requests HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Type: application/json\r\n\r\nhello",
        f"GET /r/abc HTTP/1.1\r\n{host}\r\n",
        f"POST /r/abc HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        f"POST /v1/requests HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        f"POST /v1/requests HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"POST /v1/requests HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n",
        f"POST /v1/requests HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n",
        f"POST /v1/requests HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        f"GET /healthz HTTP/1.1\r\n{host}" + "X: y\r\n" * 500 + "\r\n",
        "GET /" + "a" * 100000 + f" HTTP/1.1\r\n{host}\r\n",
        "GET http://elsewhere.example/r/abc HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    for number in range(300):
        data = dice.choice(seeds).encode("latin-1")
        if number >= len(seeds):
            data = mangled(dice, data)
        else:
            data = seeds[number].encode("latin-1")
        answer = gate.http.raw(data, timeout=2)
        assert not re.match(rb"HTTP/1\.\d 5(?!05)", answer), (data[:200], answer[:200])
    assert gate.alive()
