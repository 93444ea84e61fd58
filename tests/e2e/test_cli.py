"""The `placet` command, as an operator and a CI job use it."""

import http.client
import json
import re
import signal
import subprocess
import threading
import time
from urllib.parse import urlsplit

import jwt
import pytest
from local_gate import BINARY, environment, placet
from placet_client import Http, Link, check_approval, check_problem, wait_until

TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
LINK = re.compile(r"http://127\.0\.0\.1:\d+/r/\S+")


class Running:
    """A `placet` command in the background, with what it has said so far."""

    def __init__(self, folder, *arguments):
        self.out, self.err = folder / f"out-{time.time_ns()}", folder / f"err-{time.time_ns()}"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [str(BINARY), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=folder, env=environment(),
            )  # fmt: skip

    def text(self):
        return self.out.read_text() + self.err.read_text()

    def wait(self, seconds=30):
        return self.process.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def own(gate):
    return ["--data", gate.data, "--policy", gate.policy]


# ---------------------------------------------------------------- demo, init, doctor


def test_the_demo_approves_and_prints_a_verified_token(tmp_path):
    ran = placet("demo", "--decide", "approve", cwd=tmp_path)
    assert ran.returncode == 0, ran
    text = ran.stdout + ran.stderr
    assert LINK.search(text), text
    token = TOKEN.search(text).group()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["approved"] is True and claims["status"] == "approved"
    assert "verified" in text.lower() or "valid" in text.lower(), text


def test_the_demo_rejects(tmp_path):
    ran = placet("demo", "--decide", "reject", cwd=tmp_path)
    assert ran.returncode == 1 and "rejected" in (ran.stdout + ran.stderr).lower(), ran


def test_the_demo_waits_for_a_browser(tmp_path):
    with Running(tmp_path, "demo") as demo:
        url = wait_until(lambda: LINK.search(demo.text()), 20, "the reviewer's link").group().rstrip(".,;")
        parts = urlsplit(url)
        assert demo.process.poll() is None
        assert Link(Http(parts.hostname, parts.port), url).approve()["status"] == "approved"
        assert demo.wait() == 0
        assert TOKEN.search(demo.text())


def test_the_demo_in_json(tmp_path):
    ran = placet("demo", "--decide", "approve", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran
    assert TOKEN.search(json.dumps(json.loads(ran.stdout)))


def test_two_demos_do_not_meet(tmp_path):
    with (
        Running(tmp_path, "demo", "--decide", "approve") as one,
        Running(tmp_path, "demo", "--decide", "approve") as two,
    ):
        assert (one.wait(), two.wait()) == (0, 0), one.text() + two.text()


def test_init_writes_a_policy_that_passes_and_never_overwrites_one(tmp_path):
    ran = placet("init", cwd=tmp_path)
    assert ran.returncode == 0, ran
    path = tmp_path / "placet.toml"
    written = path.read_text()
    assert "#" in written
    assert placet("policy", "check", path).returncode == 0
    path.write_text(written + "# mine\n")
    again = placet("init", cwd=tmp_path)
    assert again.returncode in (1, 2, 3) and path.read_text() == written + "# mine\n", again


def test_what_init_writes_can_be_served(local_gate, tmp_path):
    assert placet("init", cwd=tmp_path).returncode == 0
    gate = local_gate((tmp_path / "placet.toml").read_text()).start()
    assert gate.alive()


def test_doctor_finds_a_good_gate_good_and_says_what_is_missing(gate, tmp_path):
    ran = gate.cli("doctor")
    assert ran.returncode == 0, ran
    assert json.loads(gate.cli("doctor", "--json").stdout)
    ran = placet("doctor", "--data", tmp_path / "nothing", "--policy", tmp_path / "none.toml")
    assert ran.returncode != 0 and "none.toml" in ran.stdout + ran.stderr, ran


# ---------------------------------------------------------------- asking


@pytest.fixture
def payload(tmp_path):
    path = tmp_path / "payload.json"
    path.write_text(json.dumps({"amount": 12, "to": "ACME"}))
    return path


def request_command(gate, payload, action="ask.cli", *more):
    return [
        "request",
        "--client",
        "agent",
        "--action",
        action,
        "--summary",
        "from a shell",
        "--payload",
        payload,
        "--wait",
        *own(gate),
        "--url",
        gate.url,
        *more,
    ]


def asked_by(agent, action):
    """The request that this test's command made: it has an action of its own."""

    def newest():
        for approval in agent.list(status="pending", limit=100).json()["requests"]:
            if approval["action"] == action:
                return approval
        return None

    return wait_until(newest, 15, "the command's request")


@pytest.mark.parametrize(("decision", "code"), [("approve", 0), ("reject", 1)])
def test_request_waits_and_its_exit_code_is_the_outcome(gate, agent, payload, tmp_path, decision, code):
    action = f"ask.cli-{decision}-{time.time_ns()}"
    with Running(tmp_path, *request_command(gate, payload, action)) as ran:
        asked = asked_by(agent, action)
        wait_until(lambda: "wait" in ran.text().lower(), 10, "a progress line")
        assert ran.process.poll() is None
        gate.link(asked, "bob").vote(decision)
        assert ran.wait() == code, ran.text()
        assert {"approve": "approved", "reject": "rejected"}[decision] in ran.text().lower()


def test_request_decided_by_policy_or_by_the_clock(gate, payload, tmp_path):
    for action, code in (("auto.approve", 0), ("auto.reject", 1), ("quick.cli", 1)):
        ran = placet(*request_command(gate, payload, action), cwd=tmp_path)
        assert ran.returncode == code, ran


def test_request_in_json_prints_the_approval_alone(gate, payload, tmp_path):
    ran = placet(*request_command(gate, payload, "auto.approve", "--json"), cwd=tmp_path)
    approval = check_approval(json.loads(ran.stdout), at_ask=True)
    assert ran.returncode == 0 and approval["status"] == "approved" and approval["summary"] == "from a shell"


def test_request_without_waiting_says_what_it_made(gate, agent, payload, tmp_path):
    command = [part for part in request_command(gate, payload, "ask.cli", "--json") if part != "--wait"]
    ran = placet(*command, cwd=tmp_path)
    assert ran.returncode == 0, ran
    assert json.loads(ran.stdout)["status"] == "pending"


# ---------------------------------------------------------------- inbox, link, secret


def test_inbox_shows_what_is_pending(gate, agent):
    asked = agent.asked(summary="in the inbox")
    ran = gate.cli("inbox")
    assert ran.returncode == 0 and asked["request_id"] in ran.stdout, ran
    assert asked["request_id"] in json.dumps(json.loads(gate.cli("inbox", "--json").stdout))
    agent.cancel(asked["request_id"])
    assert asked["request_id"] not in gate.cli("inbox").stdout


def test_link_prints_a_reviewers_link_again(gate, agent):
    asked = agent.asked()
    ran = gate.cli("link", asked["request_id"], "--client", "agent", "--reviewer", "carol")
    assert ran.returncode == 0, ran
    url = re.search(r"https?://\S+/r/\S+", ran.stdout).group()
    assert json.loads(
        gate.cli("link", asked["request_id"], "--client", "agent", "--reviewer", "carol", "--json").stdout
    )
    assert Link(gate.http, url).approve()["decided_by"] == ["carol"]


def test_link_refuses_whom_nobody_asked(gate, agent):
    asked = agent.asked()
    for arguments in (
        [asked["request_id"], "--client", "agent", "--reviewer", "olga"],
        [asked["request_id"], "--client", "agent", "--reviewer", "nobody"],
        ["no-such-request", "--client", "agent", "--reviewer", "bob"],
    ):
        ran = gate.cli("link", *arguments)
        assert ran.returncode in (1, 2) and "/r/" not in ran.stdout, ran


def test_client_secret_prints_the_secret_alone_on_its_last_line(gate, secrets):
    ran = gate.cli("client", "secret", "agent")
    assert ran.stdout.strip().splitlines()[-1] == secrets("agent")
    assert secrets("agent") in json.dumps(json.loads(gate.cli("client", "secret", "agent", "--json").stdout))
    unknown = gate.cli("client", "secret", "nobody")
    assert unknown.returncode in (1, 2) and "whsec_" not in unknown.stdout, unknown


def test_client_resume_lifts_a_pause(gate, agent):
    link = gate.link(agent.asked(), "bob")
    assert link.post("reject", link.nonce(), query="?pause").status == 200
    check_problem(agent.ask(), 403, "forbidden")
    ran = gate.cli("client", "resume", "agent")
    assert (ran.returncode, ran.stdout) == (0, "agent is no longer paused; bob had paused it\n"), ran
    wait_until(lambda: agent.ask("auto.reject").status == 201, 10, "the serving gate to take it up")
    assert gate.cli("client", "resume", "agent").stdout == "agent is not paused\n"
    assert json.loads(gate.cli("client", "resume", "agent", "--json").stdout) == {"client": "agent", "lifted": []}
    unknown = gate.cli("client", "resume", "nobody")
    assert unknown.returncode == 1 and "nobody" in unknown.stderr, unknown


# ---------------------------------------------------------------- tokens


def token_command(gate, verb, token, *more):
    return gate.cli("token", verb, token, "--client", "agent", *more)


def test_token_verify_and_redeem(gate, agent, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"a": 1}')
    bad.write_text('{"a": 2}')
    token = agent.asked("auto.approve", {"a": 1})["token"]
    assert token_command(gate, "verify", token).returncode == 0
    assert token_command(gate, "verify", token, "--payload", good).returncode == 0
    other = token_command(gate, "verify", token, "--payload", bad)
    assert other.returncode == 1 and "payload" in other.stdout + other.stderr, other
    told = token_command(gate, "verify", token, "--json")
    assert json.loads(told.stdout)["valid"] is True
    rejected = agent.asked("auto.reject")["token"]
    assert token_command(gate, "verify", rejected).returncode == 1
    refused = token_command(gate, "verify", rejected, "--json")
    assert json.loads(refused.stdout)["problem"] == "not_approved" and refused.returncode == 1
    assert token_command(gate, "verify", "not.a.token").returncode == 1

    first = token_command(gate, "redeem", token, "--redeemed-by", "ci-1", "--json")
    assert first.returncode == 0 and json.loads(first.stdout)["first"] is True, first
    again = token_command(gate, "redeem", token, "--redeemed-by", "ci-1", "--json")
    assert json.loads(again.stdout)["first"] is False, again
    another = token_command(gate, "redeem", token, "--redeemed-by", "ci-2")
    assert another.returncode == 1 and "ci-1" in another.stdout + another.stderr, another


# ---------------------------------------------------------------- usage, files, signals


def test_usage_errors_exit_with_2():
    for arguments in (
        [],
        ["nonsense"],
        ["serve", "--nonsense"],
        ["request"],
        ["link"],
        ["token"],
        ["demo", "--decide", "maybe"],
        ["policy", "check"],
    ):
        ran = placet(*arguments)
        assert ran.returncode == 2, (arguments, ran)
    for arguments in (["--help"], ["serve", "--help"], ["--version"]):
        assert placet(*arguments).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(local_gate, number):
    gate = local_gate().start()
    agent = gate.client("agent")
    asked = agent.asked()
    assert gate.stop(number) == 0, gate.logs()[-2000:]
    assert set(gate.integrity()) == {"ok"}
    gate.start()
    assert agent.state(asked["request_id"])["status"] == "pending"


def test_serve_ends_cleanly_while_somebody_waits(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    asked = agent.asked()
    ends = []

    def poll():
        try:
            ends.append(agent.get(asked["request_id"], wait=25, fresh=True).status)
        except (OSError, http.client.HTTPException) as error:
            ends.append(type(error).__name__)

    waiter = threading.Thread(target=poll, daemon=True)
    waiter.start()
    waiter.join(0.3)
    assert gate.stop(signal.SIGINT, seconds=10) == 0
    waiter.join(5)
    assert ends and (not isinstance(ends[0], int) or ends[0] in (200, 503)), ends


def test_serve_says_why_it_cannot_listen(gate, tmp_path):
    port = gate.url.rsplit(":", 1)[1]
    ran = placet(
        "serve", "--policy", gate.policy, "--data", tmp_path / "data", "--listen", f"127.0.0.1:{port}", seconds=20
    )
    assert ran.returncode == 3 and port in ran.stderr and "ready" not in ran.stdout, ran


def test_the_keyring_file_has_mode_0600(gate):
    keyrings = [path for path in gate.data.iterdir() if "key" in path.name]
    assert keyrings and all(path.stat().st_mode & 0o777 == 0o600 for path in keyrings), keyrings


def test_logs_are_json_lines_without_secrets(local_gate, receiver):
    gate = local_gate().start()
    agent = gate.client("agent")
    asked = agent.asked(
        payload={"card": "4111-secret-payload"}, callback_url=receiver.address(500, 200) + "?key=capability"
    )
    link = gate.link(asked, "bob")
    link.approve()
    ended = agent.state(asked["request_id"])
    agent.redeem(ended["token"])
    agent.with_secret("whsec_" + "0" * 64).list()
    assert gate.stop(signal.SIGINT) == 0
    said = gate.logs()
    for line in filter(None, said.splitlines()):
        assert isinstance(json.loads(line), dict), line
    for secret in (agent.secret, ended["token"], "4111-secret-payload", "capability"):
        assert secret not in said
