"""`placet run`: what is approved is what runs, once; and whoever goes another way runs nothing."""

import hashlib
import json
import os
import signal
import subprocess
import time

import pytest
from local_gate import BINARY, environment
from placet_client import wait_until


class Run:
    """A `placet run` in the background, in a folder of its own."""

    def __init__(self, gate, folder, *command, action="ask.run", options=(), stdin=b"", env=None, by_url=False):
        settings = environment() | {"PATH": os.environ["PATH"]} | (env or {})
        where = ["--data", gate.data]
        if by_url:
            where = ["--url", gate.url, "--data", folder / "nowhere"]
            settings["PLACET_SECRET"] = gate.secret("agent")
        self.folder = folder
        arguments = [BINARY, "run", *where, "--client", "agent", "--action", action, *options, "--", *command]
        self.process = subprocess.Popen(
            list(map(str, arguments)), cwd=folder, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.stdin = stdin

    def ended(self, seconds=30):
        out, err = self.process.communicate(self.stdin, timeout=seconds)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def action():
    """An action of this test's own."""
    return f"ask.run{time.time_ns()}"


@pytest.fixture
def run(gate, action, tmp_path):
    running = []

    def start(*command, **options):
        running.append(Run(gate, tmp_path, *command, **{"action": action} | options))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait(10)


@pytest.fixture
def asked(gate, action):
    """The test's pending request, once it is there."""

    def found():
        rows = gate.client("agent").list(status="pending", limit=100).json()["requests"]
        return [row for row in rows if row["action"] == action]

    return lambda: wait_until(found, 30, "the question")[0]


def page_of(gate, approval):
    """What the reviewer sees."""
    return gate.link(approval, "bob").page().text.replace("<wbr>", "")


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def script(folder, name="deploy.sh", body="echo done >> done.txt"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_what_is_approved_runs_with_its_input_output_and_exit_code(gate, run, asked, tmp_path):
    script(tmp_path, body='cat; echo "to stderr" >&2; echo "$@ in $PWD secret=${PLACET_SECRET-none}"; exit 7')
    (tmp_path / "x.yaml").write_text("kind: Pod")
    started = run("./deploy.sh", "apply", "-f", "x.yaml", "two words", stdin=b"from stdin\n", by_url=True)
    approval = asked()
    assert approval["summary"] == "Run ./deploy.sh apply -f x.yaml 'two words'"
    page = page_of(gate, approval)
    for shown in ("two words", str(tmp_path), sha256("kind: Pod"), sha256((tmp_path / "deploy.sh").read_text())):
        assert shown in page, shown
    gate.link(approval, "bob").approve()
    code, out, err = started.ended()
    assert (code, out) == (7, f"from stdin\napply -f x.yaml two words in {tmp_path} secret=none\n")
    assert "to stderr" in err and "approved by bob" in err


@pytest.mark.parametrize("by_url", [True, False])
def test_the_command_gets_the_terminal_the_mask_and_the_folder_that_it_would_have_had(run, tmp_path, by_url):
    started = run("sh", "-c", "umask; pwd; ulimit -n", action="auto.run", by_url=by_url)
    plain = subprocess.run(["sh", "-c", "umask; pwd; ulimit -n"], cwd=tmp_path, capture_output=True, text=True)
    assert started.ended()[:2] == (0, plain.stdout)


def test_policy_may_decide_alone(run, tmp_path):
    assert run("sh", "-c", "echo yes", action="auto.run").ended()[:2] == (0, "yes\n")
    code, out, err = run("sh", "-c", "echo yes", action="never.run").ended()
    assert (code, out) == (1, "") and "not run: rejected" in err


def test_a_rejection_runs_nothing_and_says_why(gate, run, asked, tmp_path):
    script(tmp_path)
    started = run("./deploy.sh")
    gate.link(asked(), "bob").vote("reject", reason="not on a Friday")
    code, _, err = started.ended()
    assert code == 1 and "not on a Friday" in err and not (tmp_path / "done.txt").exists()


@pytest.mark.parametrize(
    "change", ["a file", "the program", "gone", "a new file", "named", "in a folder", "the folder"]
)
def test_what_changed_between_approval_and_run_is_not_run(gate, run, asked, tmp_path, change):
    program = script(tmp_path)
    (tmp_path / "x.yaml").write_text("image: good")
    (tmp_path / "values.json").write_text("{}")
    (tmp_path / "manifests/deep").mkdir(parents=True)
    (tmp_path / "manifests/deep/a.yaml").write_text("a")
    options = ["--file", "values.json", "--file", "manifests"]
    started = run("./deploy.sh", "-f", "x.yaml", "later.yaml", options=options)
    approval = asked()
    match change:
        case "a file":
            (tmp_path / "x.yaml").write_text("image: evil")
        case "the program":
            program.write_text("#!/bin/sh\necho evil >> done.txt\n")
        case "gone":
            (tmp_path / "x.yaml").unlink()
        case "a new file":
            (tmp_path / "later.yaml").write_text("image: evil")
        case "named":
            (tmp_path / "values.json").write_text('{"replicas": 0}')
        case "in a folder":
            (tmp_path / "manifests/deep/b.yaml").write_text("b")
        case "the folder":
            moved = tmp_path.with_name(tmp_path.name + "-moved")
            tmp_path.rename(moved)
    gate.link(approval, "bob").approve()
    code, _, err = started.ended()
    assert code != 0 and not (tmp_path / "done.txt").exists()
    if change == "the folder":
        moved.rename(tmp_path)
        return
    assert code == 1 and "not what was approved" in err, err
    # The approval is not used up for it.
    client = gate.client("agent")
    state = client.state(approval["request_id"])
    assert state["approved"] and client.redeem(state["token"]).json()["first"] is True


def test_swapped_words_are_another_question(gate, run, asked, tmp_path):
    script(tmp_path, body='echo "$@" >> done.txt')
    first = run("./deploy.sh", "staging", options=["--request-id", "swap-1"])
    gate.link(asked(), "bob").approve()
    assert first.ended()[0] == 0
    for command, options in (
        (["./deploy.sh", "production"], []),
        (["./deploy.sh", "stag", "ing"], []),
        (["./deploy.sh", "staging"], ["--fact", "environment=production"]),
        (["./deploy.sh", "staging"], []),
    ):
        code, _, err = run(*command, options=["--request-id", "swap-1", *options]).ended()
        assert code == 1 and ("request_id_conflict" in err or "already_redeemed" in err), err
    assert (tmp_path / "done.txt").read_text() == "staging\n"


def test_of_many_runs_under_one_name_one_runs(gate, run, asked, tmp_path):
    script(tmp_path)
    started = [run("./deploy.sh", options=["--request-id", "many-1"]) for _ in range(4)]
    approval = asked()
    time.sleep(0.3)
    gate.link(approval, "bob").approve()
    codes = sorted(one.ended()[0] for one in started)
    assert codes == [0, 1, 1, 1] and (tmp_path / "done.txt").read_text() == "done\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_withdraws_the_question(gate, run, asked, tmp_path, number, code):
    script(tmp_path)
    started = run("./deploy.sh")
    approval = asked()
    started.process.send_signal(number)
    ended, _, err = started.ended()
    assert ended == code and "withdrawn" in err
    assert gate.client("agent").state(approval["request_id"])["status"] == "cancelled"
    assert not (tmp_path / "done.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_the_commands_own(run, tmp_path, number):
    script(tmp_path, body="trap 'exit 42' INT TERM USR1; touch ready; while :; do sleep 0.05; done")
    started = run("./deploy.sh", action="auto.run")
    wait_until(lambda: (tmp_path / "ready").exists(), 30, "the command")
    started.process.send_signal(number)
    assert started.ended()[0] == 42


def test_a_command_that_a_signal_ends_looks_so_to_whoever_waits(run):
    assert run("sh", "-c", "kill -KILL $$", action="auto.run").ended()[0] == -signal.SIGKILL


def test_commands_that_cannot_be_run_end_as_in_a_shell_and_ask_nobody(gate, run, tmp_path):
    (tmp_path / "plain.txt").write_text("x")
    before = gate.client("agent").list(limit=100).json()["requests"]
    assert run("no-such-command-here").ended()[0] == 127
    assert run("./plain.txt").ended()[0] == 126
    assert run("./missing.sh").ended()[0] == 127
    for options in (["--file", "missing"], ["--fact", "x"], ["--request-id", "a b"], ["--timeout", "soon"]):
        assert run("true", options=options).ended()[0] in (2, 3), options
    assert gate.client("agent").list(limit=100).json()["requests"] == before


def test_a_pipe_whose_reader_has_gone_ends_the_command_as_without_placet(run):
    # Rust ignores SIGPIPE in its own process: the command must not inherit that.
    assert (
        run("sh", "-c", "trap - PIPE; (sleep 0.1; kill -PIPE $$) & wait", action="auto.run").ended()[0]
        == -signal.SIGPIPE
    )


def test_facts_are_approved_and_seen_by_the_policy(gate, run, asked, tmp_path):
    started = run("true", options=["--fact", "repository=acme/shop", "--fact", "commit=0123abcd"])
    approval = asked()
    page = page_of(gate, approval)
    assert "acme/shop" in page and "0123abcd" in page
    gate.link(approval, "bob").approve()
    assert started.ended()[0] == 0


def test_a_time_limit_ends_it(gate, run, tmp_path):
    script(tmp_path)
    code, _, err = run("./deploy.sh", options=["--timeout", "1s"]).ended()
    assert code == 1 and "expired" in err and not (tmp_path / "done.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_gate_that_is_restarted_under_it_is_waited_for(local_gate, tmp_path, number):
    gate = local_gate().start()
    script(tmp_path)
    started = Run(gate, tmp_path, "./deploy.sh", by_url=True)
    client = gate.client("agent")
    rows = lambda: client.list(status="pending", limit=10).json()["requests"]  # noqa: E731
    approval = wait_until(rows, 30, "the question")[0]
    gate.port = int(gate.url.rsplit(":", 1)[1])
    gate.stop(number)
    time.sleep(0.5)
    gate.start()
    gate.link(approval, "bob").approve()
    assert started.ended()[0] == 0 and (tmp_path / "done.txt").exists()


def test_errors_are_json_where_asked_for(run):
    code, out, _ = run("sh", "-c", "true", action="never.run", options=["--json"]).ended()
    error = json.loads(out)["error"]
    assert (code, error["kind"], error["exit"]) == (1, "refused", 1)
