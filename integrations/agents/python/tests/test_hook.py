"""The Claude Code hook: exit 0 means that a person approved exactly this input and that it was used up; all else is 2."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from meddler import Meddler
from placet_client import wait_until

FAULTS = ("raise ImportError('not here')", "raise SystemExit(0)", "import os; os.close(1)", "raise RuntimeError", "x =")
# A module that the hook wants is each broken in one way, and one in every way.
BROKEN = [
    *(("httpx2", fault) for fault in FAULTS),
    *zip(("jwt", "rfc8785", "argparse", "json", "signal", "ssl", "asyncio", "cryptography"), FAULTS * 2),
]


def environment(running, raw, client="agent", **extra):
    return {
        "PATH": os.environ["PATH"], "PLACET_URL": running if isinstance(running, str) else running.url, "PLACET_CLIENT": client,
        "PLACET_SECRET": raw(client).secret, "PLACET_TOKEN_ALG": "EdDSA" if client.startswith("signed") else "HS256", **extra,
    }  # fmt: skip


def asked(tool, tool_input=None, use_id=None, **extra):
    use_id = use_id or f"toolu_{random.randrange(2**60):x}"
    return {
        "session_id": "s",
        "hook_event_name": "PreToolUse",
        "tool_name": tool,
        "tool_input": tool_input or {"command": "make"},
        "tool_use_id": use_id,
        **extra,
    }


def hook(said, env, seconds=30, **options):
    """Runs the hook to its end."""
    raw_input = said if isinstance(said, bytes) else json.dumps(said, ensure_ascii=False).encode()
    return subprocess.run(
        [sys.executable, "-m", "placet.claude_code", "--timeout", str(seconds)], input=raw_input, env=env, timeout=120,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # fmt: skip


def started(said, env, seconds=60):
    process = subprocess.Popen(
        [sys.executable, "-m", "placet.claude_code", "--timeout", str(seconds)], env=env, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(json.dumps(said).encode())
    process.stdin.close()
    process.stdin = None
    return process


def allowed(ran):
    """The input that may be used, or none; fails where an exit says neither yes nor no."""
    assert ran.returncode in (0, 2), ran
    if ran.returncode == 2:
        return None
    decision = json.loads(ran.stdout)["hookSpecificOutput"]
    assert (decision["hookEventName"], decision["permissionDecision"]) == ("PreToolUse", "allow")
    return decision["updatedInput"]


def used(raw, client, tool):
    """How many approvals of that tool's were used up at the gate: another use of their tokens is refused."""
    rows = [row for row in raw(client).list(limit=100).json()["requests"] if row["action"] == f"claude.{tool}"]
    spent = 0
    for row in rows:
        state = raw(client).state(row["request_id"])
        if state["approved"]:
            spent += raw(client).redeem(state["token"], redeemed_by="a test").code == "already_redeemed"
    return spent


def test_what_is_approved_may_run_and_what_is_rejected_may_not(running, raw, desk):
    answering = desk.answers(raw("agent"), "claude.Word", "approve", "reject", reason="not today")
    assert allowed(hook(asked("Word", {"a": 1.5, "b": ["ä"]}), environment(running, raw))) == {"a": 1.5, "b": ["ä"]}
    refused = hook(asked("Word"), environment(running, raw))
    answering.done()
    assert refused.returncode == 2 and refused.stdout == b"" and b"not today" in refused.stderr
    assert used(raw, "agent", "Word") == 1


@pytest.mark.parametrize(("name", "fault"), BROKEN)
def test_a_module_that_is_missing_or_broken_blocks(running, raw, tmp_path, name, fault):
    (tmp_path / f"{name}.py").write_text(fault)
    ran = hook(asked("AutoBroken"), environment(running, raw, PYTHONPATH=str(tmp_path)))
    assert ran.returncode == 2, ran


def test_a_stream_that_is_closed_or_full_blocks(running, raw):
    env = environment(running, raw)
    command = f"{sys.executable} -m placet.claude_code --timeout 20"
    said = json.dumps(asked("AutoStream")).encode()
    for streams in (">&-", ">/dev/full", "<&-", "2>&- >&-", "2>/dev/full >/dev/full", "<&- >&- 2>&-", ">/dev/null <&-"):
        ran = subprocess.run(
            ["sh", "-c", f"exec {command} {streams}"], input=said, env=env, capture_output=True, timeout=60
        )
        assert ran.returncode == 2 and ran.stdout == b"", (streams, ran)
    reading, writing = os.pipe()
    os.close(reading)
    assert hook(asked("AutoStream"), env, stdout=writing).returncode == 2
    os.close(writing)
    assert allowed(hook(asked("AutoStream"), env, stderr=None)) is not None


def test_an_answer_that_nobody_reads_ends_in_time(running, raw):
    """A pipe holds 64 KiB: the answer is longer, and its reader asleep."""
    reading, writing = os.pipe()
    began = time.monotonic()
    ran = hook(asked("AutoLong", {"text": "ä" * 30_000}), environment(running, raw), seconds=4, stdout=writing)
    assert ran.returncode == 2 and time.monotonic() - began < 10
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("said", [
    b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\xef\xbb\xbf" + json.dumps(asked("AutoBytes")).encode(), json.dumps(asked("AutoBytes")).encode("utf-16"),
    json.dumps(asked("AutoBytes", {"name": "M\u00fcller"}), ensure_ascii=False).encode("cp1252"), json.dumps(asked("AutoBytes", {"s": "\ud800"})).encode(),
    b'{"tool_name":"Auto","tool_name":"Auto","tool_input":{}}', b'{"tool_name":"Auto","tool_input":{"a":1,"a":1}}', b'{"tool_name":"Auto","tool_input":{"a":[{"b":1,"b":2}]}}',
    b'{"tool_name":"Auto"}', b'{"tool_name":"Auto","tool_input":[]}', b'{"tool_name":1,"tool_input":{}}', b'{"tool_name":"Auto","tool_input":{"n":1e400}}',
    b'{"tool_name":"Auto","tool_input":{"n":9007199254740993}}', b'{"tool_name":"Auto","tool_input":{"n":' + b"9" * 5000 + b"}}",
    b'{"tool_name":"Auto","tool_input":{"n":NaN}}', b"[" * 100_000, json.dumps(asked("AutoBytes", hook_event_name="PostToolUse")).encode(),
    json.dumps(asked("AutoBytes", {"s": "x" * 70_000})).encode(), b" " * (5 * 1024 * 1024),
])  # fmt: skip
def test_an_input_with_two_readings_or_none_blocks(running, raw, said):
    assert allowed(hook(said, environment(running, raw))) is None


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "ascii", "cp437"])
def test_what_is_shown_is_what_runs_whatever_the_console_speaks(running, raw, desk, encoding):
    words = {"command": "echo für März 😀 \u2028 \u00a0 \x7f"}
    ran = hook(
        asked("AutoWords", words), environment(running, raw, PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C")
    )
    assert allowed(ran) == words and ran.stdout.isascii()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--timeout", "nan"],
        ["--timeout", "-1"],
        ["--timeout", "0"],
        ["--timeout", "inf"],
        ["--timeout"],
        ["--help"],
        ["x"],
        ["--timeout", "soon"],
    ],
)
def test_settings_that_cannot_be_right_block(running, raw, arguments):
    ran = subprocess.run(
        [sys.executable, "-m", "placet.claude_code", *arguments],
        input=json.dumps(asked("Auto")).encode(),
        env=environment(running, raw),
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 2, ran


@pytest.mark.parametrize("extra", [
    {"PLACET_URL": ""}, {"PLACET_URL": "http://gate.example.com"}, {"PLACET_URL": "ftp://127.0.0.1"}, {"PLACET_SECRET": "whsec_wrong"}, {"PLACET_SECRET": "\udcff"},
    {"PLACET_TOKEN_ALG": "EdDSA"}, {"PLACET_TOKEN_ALG": "none"}, {"PLACET_CLIENT": "nobody"}, {"SSL_CERT_FILE": "/nowhere", "PLACET_URL": "https://127.0.0.1:1"},
])  # fmt: skip
def test_an_environment_that_is_wrong_blocks(running, raw, extra):
    assert allowed(hook(asked("Auto"), environment(running, raw, **extra), seconds=4)) is None


@pytest.mark.parametrize(("place", "what"), [
    *((place, "hang") for place in ("/v1/requests", "cancel", "redeem", "jwks.json", "GET")), ("cancel", "trickle"), ("redeem", "trickle"),
    ("redeem", "lose"), ("/v1/requests", "lose"), ("GET", "slow"), ("redeem", "slow"),
])  # fmt: skip
def test_one_time_limit_is_for_all_of_it(running, raw, place, what):
    """Wherever the gate stops answering: the hook ends within its time, and nothing runs."""

    def meddle(method, path):
        return what if path.endswith(place) or (place == "GET" and method == "GET") else "pass"

    tool = "Limit" if place in ("cancel", "GET") else "AutoLimit"
    with Meddler(running.url, meddle) as between:
        began = time.monotonic()
        ran = hook(asked(tool), environment(between.url, raw, "signed"), seconds=3)
        assert ran.returncode == 2 and time.monotonic() - began < 10, ran


@pytest.mark.parametrize("seed", range(16))
def test_whatever_the_gate_and_the_network_do_only_what_was_used_up_runs(running, raw, seed):
    """Each call meets another fault. What is allowed was approved and used up; what was rejected is never allowed."""
    chance = random.Random(seed)
    tool = f"{chance.choice(['AutoChance', 'Chance'])}{seed}"
    faults = ["pass"] * chance.choice([3, 8, 30]) + [
        "hang", "lose", "reset", "cut", "trickle", "slow", (500, b"", {}), (503, b"{}", {"Retry-After": "1"}), (429, b"[]", {"Retry-After": "0"}),
        (200, b"{}", {}), (200, b'{"first": true}', {}), (200, b'{"approved": true, "status": "approved"}', {}), (201, b"\xff", {}), (204, b"", {}), (302, b"", {"Location": "http://127.0.0.1:1/"}),
        (409, b'{"code": "request_id_conflict"}', {}), (409, b'{"code": "already_decided", "approval": {"approved": true}}', {}), (404, b"<html>", {}),
    ]  # fmt: skip
    with Meddler(running.url, lambda *_: chance.choice(faults)) as between:
        began = time.monotonic()
        ran = hook(asked(tool), environment(between.url, raw, chance.choice(["agent", "signed"])), seconds=3)
        assert time.monotonic() - began < 10
    approved = allowed(ran)
    if approved is not None:
        assert tool.startswith("Auto") and approved == {"command": "make"}
        assert used(raw, "agent", tool) + used(raw, "signed", tool) == 1


CLOCKS = [
    "time.time = lambda: 0.0", "time.time = lambda: 4e9", "time.time = lambda: float('nan')", "time.time = lambda: 1 / 0", "time.monotonic = lambda: 7.0",
    "time.monotonic = lambda: random.uniform(0, 1e9)", "time.monotonic = lambda: next(back)", "time.monotonic = lambda: next(jump)", "time.sleep = lambda _: None",
]  # fmt: skip


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("place", ["", "redeem", "GET"])
def test_whatever_the_clock_says_only_what_was_used_up_runs_and_the_hook_ends(running, raw, tmp_path, clock, place):
    (tmp_path / "sitecustomize.py").write_text(
        "import itertools, random, time\nback, jump = itertools.count(1e6, -1.0), itertools.count(0, 3600.0)\n" + clock
    )
    tool = f"AutoClock{CLOCKS.index(clock)}{place}"

    def meddle(method, path):
        return "hang" if place and (path.endswith(place) or place == method) else "pass"

    with Meddler(running.url, meddle) as between:
        began = time.monotonic()
        approved = allowed(
            hook(
                asked(tool if place != "GET" else f"Clock{place}"),
                environment(between.url, raw, PYTHONPATH=str(tmp_path)),
                seconds=3,
            )
        )
        assert time.monotonic() - began < 10
    if approved is not None:
        assert place == "" and used(raw, "agent", tool) == 1


def test_two_hooks_of_one_use_both_allow_what_was_approved_once(running, raw, desk):
    """The hook stands in two settings files: Claude Code runs both at once, and each of them must say yes."""
    said, env = asked("Twice"), environment(running, raw)
    answering = desk.answers(raw("agent"), "claude.Twice", "approve")
    both = [started(said, env), started(said, env)]
    ends = [(one.communicate(timeout=60), one.returncode) for one in both]
    assert [code for _, code in ends] == [0, 0], ends
    assert len(answering.done()) == 1 and used(raw, "agent", "Twice") == 1


def test_a_second_hook_that_is_late_allows_what_the_first_has_allowed(running, raw, desk):
    said, env = asked("Late"), environment(running, raw)
    answering = desk.answers(raw("agent"), "claude.Late", "approve")
    assert allowed(hook(said, env)) == allowed(hook(said, env)) == {"command": "make"}
    assert len(answering.done()) == 1 and used(raw, "agent", "Late") == 1


def test_a_second_hook_of_what_was_rejected_blocks_it_too(running, raw, desk):
    said, env = asked("Never"), environment(running, raw)
    answering = desk.answers(raw("agent"), "claude.Never", "reject")
    assert allowed(hook(said, env)) is None and allowed(hook(said, env)) is None
    assert len(answering.done()) == 1


def test_a_use_id_that_comes_again_is_asked_about_again(running, raw, desk):
    """Some model servers count from zero in every answer: what was approved once is no approval of another use."""
    env = environment(running, raw)
    answering = desk.answers(raw("agent"), "claude.Again", "approve", "approve", "reject")
    assert allowed(hook(asked("Again", use_id="call_0"), env)) is not None
    assert allowed(hook(asked("Again", {"command": "other"}, use_id="call_0"), env)) == {"command": "other"}
    assert allowed(hook(asked("Again", use_id="call_0", session_id="another"), env)) is None
    assert len(answering.done()) == 3


def test_a_use_id_that_comes_again_later_is_asked_about_again(gate, raw, desk, monkeypatch):
    from placet import flows
    from placet.uses import judge

    answering = desk.answers(raw("agent"), "claude.Later", "approve", "approve")
    for _ in range(2):
        assert gate.run(judge(gate.settings, "Later", {"n": 1}, "call_0", 60)) == {"n": 1}
        monkeypatch.setattr(flows, "ONE_USE_SECONDS", -60.0)
    assert len(answering.done()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_hook_that_is_ended_withdraws_its_question(running, raw, desk, number):
    tool = f"Ended{number}"
    process = started(asked(tool), environment(running, raw))
    approval = desk.waiting(raw("agent"), f"claude.{tool}")[0]
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, b"")
    assert raw("agent").state(approval["request_id"])["status"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_gate_that_is_restarted_finds_the_hook_waiting(own_gate, desk, number):
    gate, client = own_gate
    env = {
        "PATH": os.environ["PATH"],
        "PLACET_URL": gate.url,
        "PLACET_CLIENT": "agent",
        "PLACET_SECRET": client.settings.secrets[0],
        "PLACET_TOKEN_ALG": "HS256",
    }
    process = started(asked("Patient"), env)
    own = gate.client("agent")
    rows = wait_until(lambda: own.list(status="pending", limit=10).json()["requests"], 30, "the question")
    gate.stop(number)
    gate.port = int(gate.url.rsplit(":", 1)[1])
    time.sleep(1)
    gate.start(seconds=60)
    gate.link(rows[0], "bob", seconds=60).approve()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and b'"allow"' in out


def test_proxies_are_not_for_loopback(running, raw, free_url):
    env = environment(running, raw, HTTP_PROXY=free_url, http_proxy=free_url, ALL_PROXY=free_url, HTTPS_PROXY=free_url)
    assert allowed(hook(asked("AutoProxy"), env, seconds=5)) is not None


def test_the_settings_in_the_docs_are_what_claude_code_takes():
    import placet.claude_code as module

    settings = json.loads(re.search(r"\{\"hooks\".*?\}\]\}\]\}\}", module.__doc__, re.DOTALL).group(0))
    (matcher,) = settings["hooks"]["PreToolUse"]
    (entry,) = matcher["hooks"]
    assert entry["onFailure"] == "block" and float(entry["args"][1]) < entry["timeout"]
