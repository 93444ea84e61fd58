"""One machine, one operator: one gate a folder, keys that stay, readiness, and what the command says for itself."""

import contextlib
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from local_gate import BINARY, SHARED, environment, placet
from placet_client import Http, check_problem, new_id, wait_until
from served_gate import ServedGate
from test_cli import LINK, Running, own

DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
def stopped(local_gate):
    """A gate that has asked something, was answered nothing, and serves no more."""
    gate = local_gate().start()
    agent = gate.client("agent")
    gate.asked = agent.asked()
    gate.old_link = gate.link(gate.asked, "bob")
    assert gate.stop() == 0
    return gate


# ---------------------------------------------------------------- one gate a folder


def test_a_second_gate_is_refused_with_who_the_first_one_is(local_gate):
    gate = local_gate().start()
    changed = gate.folder / "changed.toml"
    changed.write_text(SHARED + "\n# another policy\n")
    for policy in (gate.policy, changed):
        ran = placet("serve", "--data", gate.data, "--policy", policy, "--listen", "127.0.0.1:0", seconds=20)
        assert ran.returncode == 1 and "ready" not in ran.stdout, ran
        assert gate.url in ran.stderr and f"process {gate.process.pid}" in ran.stderr, ran
    # The first one was not disturbed: neither its policy, nor its address for commands.
    assert gate.alive() and f"at {gate.url}" in gate.cli("doctor").stdout
    assert len([entry for entry in gate.audit() if entry["subject"] == "policy"]) == 1


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_next_gate_takes_the_folder_when_the_first_has_ended_or_was_killed(local_gate, how):
    gate = local_gate().start()
    getattr(gate, how)()
    assert (gate.data / "serving.lock").exists()
    assert "no gate serves" in gate.cli("doctor").stdout
    gate.start()
    assert gate.alive()


def test_commands_that_ask_whether_a_gate_serves_keep_none_from_starting(stopped):
    asking = [Running(stopped.folder, "doctor", *own(stopped)) for _ in range(4)]
    try:
        stopped.start()
        assert stopped.alive()
    finally:
        for one in asking:
            one.wait()


# ---------------------------------------------------------------- the keyring


def test_records_without_their_keyring_are_not_served(stopped):
    keyring = stopped.data / "keyring.json"
    saved = keyring.read_bytes()
    keyring.unlink()
    for command in (
        ["serve", "--listen", "127.0.0.1:0"],
        ["client", "secret", "agent"],
        ["keys", "rotate"],
        ["link", stopped.asked["request_id"], "--client", "agent", "--reviewer", "bob"],
        ["backup", stopped.folder / "x.tar"],
        ["request", "--client", "agent", "--action", "ask.x", "--summary", "s"],
    ):
        ran = stopped.cli(*command, seconds=20)
        assert ran.returncode == 1 and "keyring.json" in ran.stderr and "--new-keyring" in ran.stderr, ran
        assert not keyring.exists(), command
    doctor = stopped.cli("doctor")
    assert doctor.returncode == 1 and re.search(r"fail .*keyring\.json", doctor.stdout), doctor
    keyring.write_bytes(saved)
    stopped.start()
    assert stopped.old_link.approve()["status"] == "approved"


def test_a_new_keyring_is_made_where_that_is_said_and_says_what_is_void(stopped):
    secret = stopped.secret("agent")
    (stopped.data / "keyring.json").unlink()
    stopped.arguments = ("--new-keyring",)
    stopped.start()
    said = stopped.logs()
    assert "every client's secret" in said and "link" in said and "token" in said and "1 request wait" in said, said
    assert stopped.secret("agent") != secret
    assert stopped.old_link.page().status in (404, 410)
    ran = stopped.cli("link", stopped.asked["request_id"], "--client", "agent", "--reviewer", "bob")
    assert ran.returncode == 0
    # An epoch that no record has told of before.
    assert json.loads((stopped.data / "keyring.json").read_text())["current"]["number"] > 1
    assert any(entry["subject"] == "keys" for entry in stopped.audit())
    assert stopped.stop() == 0
    again = stopped.cli("serve", "--listen", "127.0.0.1:0", "--new-keyring", seconds=20)
    assert again.returncode == 2 and "keys rotate" in again.stderr, again


def test_an_empty_folder_gets_its_first_keyring_by_itself(tmp_path):
    gate = ServedGate(tmp_path, SHARED)
    gate.data.mkdir(mode=0o700)
    try:
        assert gate.start().alive()
    finally:
        gate.kill()


def age_the_last_rotation(gate, milliseconds):
    """Sets the keyring's clock back, as if that much time had passed."""
    path = gate.data / "keyring.json"
    keyring = json.loads(path.read_text())
    keyring["current"]["created_at"] -= milliseconds
    path.write_text(json.dumps(keyring))


def test_a_second_rotation_waits_for_what_the_first_one_left_behind(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    link = gate.link(agent.asked(), "bob")
    assert gate.cli("keys", "rotate").returncode == 0
    refused = gate.cli("keys", "rotate")
    assert refused.returncode == 1 and "--force" in refused.stderr and "1 open request" in refused.stderr, refused
    told = gate.cli("keys", "rotate", "--json")
    assert told.returncode == 1 and json.loads(told.stdout)["error"]["kind"] == "refused", told
    assert link.page().status == 200
    assert agent.list().status == 200  # under the secret from before the rotation
    # A day later the request from before the rotation is still open.
    age_the_last_rotation(gate, 31 * DAY_MS)
    created = json.loads((gate.data / "keyring.json").read_text())["current"]["created_at"]
    forced = gate.cli("keys", "rotate", "--force", "--json")
    assert forced.returncode == 0 and json.loads(forced.stdout)["epoch"] == 3, forced
    assert created < json.loads((gate.data / "keyring.json").read_text())["current"]["created_at"]


def test_a_rotation_after_a_day_needs_no_force_unless_something_older_is_open(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    assert gate.cli("keys", "rotate").returncode == 0
    asked = agent.asked()
    refused = gate.cli("keys", "rotate")
    assert refused.returncode == 1 and "open request" not in refused.stderr, refused
    age_the_last_rotation(gate, -1000)  # the rotation is younger than what was asked
    age_the_last_rotation(gate, 31 * DAY_MS)  # now it is older
    assert gate.cli("keys", "rotate").returncode == 0
    assert gate.link(asked, "bob").approve()["status"] == "approved"


def test_of_two_rotations_at_the_same_moment_one_is_done(local_gate):
    gate = local_gate().start()
    both = [Running(gate.folder, "keys", "rotate", *own(gate)) for _ in range(4)]
    codes = sorted(one.wait() for one in both)
    assert codes == [0, 1, 1, 1], [one.text() for one in both]
    assert json.loads((gate.data / "keyring.json").read_text())["current"]["number"] == 2


def test_an_old_keyring_beside_newer_records_is_told(local_gate):
    gate = local_gate().start()
    old = (gate.data / "keyring.json").read_bytes()
    assert gate.cli("keys", "rotate").returncode == 0
    assert gate.stop() == 0
    (gate.data / "keyring.json").write_bytes(old)
    doctor = gate.cli("doctor")
    assert doctor.returncode == 1 and re.search(r"fail .*keyring is older than the records", doctor.stdout), doctor
    gate.start()
    wait_until(lambda: "keyring is older than the records" in gate.logs(), 10, "the warning")


# ---------------------------------------------------------------- whose files they are


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
class TestFilesStayTheirOwners:
    USER = 64321

    @pytest.fixture
    def theirs(self):
        """A gate that runs as another user, in a folder and with a binary that they can reach: pytest's own are closed."""
        tmp_path = Path(tempfile.mkdtemp(prefix="placet-e2e-"))
        os.chmod(tmp_path, 0o755)
        binary = tmp_path / "placet"
        shutil.copy(BINARY, binary)
        os.chmod(binary, 0o755)
        data = tmp_path / "data"
        data.mkdir()
        os.chown(data, self.USER, self.USER)
        os.chmod(data, 0o700)
        (tmp_path / "placet.toml").write_text(SHARED)
        running = []

        def run(*arguments, user=self.USER, **options):
            return subprocess.run(
                [str(binary), *map(str, arguments), "--data", str(data)], user=user, group=user, extra_groups=[], cwd=tmp_path,
                env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, **options,
            )  # fmt: skip

        def serve():
            out = tmp_path / "out"
            with open(out, "wb") as to:
                process = subprocess.Popen(
                    [str(binary), "serve", "--policy", "placet.toml", "--listen", "127.0.0.1:0", "--data", str(data)],
                    user=self.USER, group=self.USER, extra_groups=[], cwd=tmp_path, env=environment(), stdout=to, stderr=subprocess.STDOUT,
                )  # fmt: skip
            running.append(process)
            return wait_until(lambda: re.search(r"^ready (\S+)", out.read_text(), re.M), 20, out.read_text()).group(1)

        run.serve, run.data, run.running = serve, data, running
        yield run
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait(10)
        shutil.rmtree(tmp_path)

    def owners(self, data):
        found = {}
        for path in [data, *data.rglob("*")]:
            # A file that the gate writes in two steps may have got its last name since it was listed.
            with contextlib.suppress(FileNotFoundError):
                found[str(path)] = path.lstat().st_uid
        return found

    def test_what_root_makes_belongs_to_the_gates_user(self, theirs):
        url = theirs.serve()
        assert theirs("keys", "rotate", user=0).returncode == 0
        http = Http("127.0.0.1", int(url.rsplit(":", 1)[1]))
        kids = lambda: len(http.send("GET", "/.well-known/jwks.json").json()["keys"])  # noqa: E731
        wait_until(lambda: kids() == 2, 10, "the rotated key in the running gate's JWKS")
        asked = theirs("request", "--client", "agent", "--action", "ask.x", "--summary", "s", user=0)
        assert asked.returncode == 0, asked
        assert set(self.owners(theirs.data).values()) == {self.USER}, self.owners(theirs.data)
        theirs.running[-1].send_signal(signal.SIGTERM)
        assert theirs.running[-1].wait(10) == 0
        theirs.serve()
        assert theirs("doctor").returncode == 0

    def test_a_folder_that_root_fills_first_can_be_served_by_its_user(self, theirs):
        ran = theirs("policy", "push", "placet.toml", user=0)
        assert ran.returncode == 0, ran
        assert set(self.owners(theirs.data).values()) == {self.USER}, self.owners(theirs.data)
        theirs.serve()

    def test_a_third_user_rotates_nothing(self, theirs):
        theirs.serve()
        before = (theirs.data / "keyring.json").read_bytes()
        os.chmod(theirs.data, 0o777)
        os.chmod(theirs.data / "gate.db", 0o666)
        for name in ("gate.db-wal", "gate.db-shm", "keyring.json", "keyring.lock"):
            if (theirs.data / name).exists():
                os.chmod(theirs.data / name, 0o666)
        ran = theirs("keys", "rotate", user=self.USER + 1)
        assert ran.returncode == 1 and str(self.USER) in ran.stderr, ran
        assert (theirs.data / "keyring.json").read_bytes() == before

    def test_doctor_names_what_the_gate_cannot_read(self, theirs):
        theirs.serve()
        assert theirs("doctor", user=0).returncode == 0
        os.chown(theirs.data / "keyring.json", 0, 0)
        ran = theirs("doctor", user=0)
        assert ran.returncode == 1 and re.search(
            rf"fail .*keyring\.json.* not belong to user {self.USER}", ran.stdout
        ), ran
        os.chown(theirs.data / "keyring.json", self.USER, self.USER)
        os.chmod(theirs.data / "gate.db", 0o644)
        assert re.search(r"warn .*gate\.db.*readable for others", theirs("doctor", user=0).stdout)


# ---------------------------------------------------------------- ready, clock, hangup


def test_a_gate_that_cannot_write_is_not_ready_and_says_so(tmp_path):
    gate = ServedGate(tmp_path, SHARED)
    # A process that ignores this signal gets an error in place of it, as on a full disk.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        restored = gate.start
        original = subprocess.Popen
        subprocess.Popen = lambda *a, **k: original(*a, restore_signals=False, **k)
        try:
            restored()
        finally:
            subprocess.Popen = original
        ready = lambda: gate.http.send("GET", "/readyz", fresh=True).status  # noqa: E731
        assert ready() == 200
        assert gate.http.send("GET", "/readyz").json() == {"ready": True}
        _, hard = resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE, (0, hard))
        wait_until(lambda: ready() == 503, 10, "the gate that is not ready")
        assert gate.http.send("GET", "/healthz", fresh=True).status == 200
        home = gate.http.send("GET", "/", headers={"accept": "text/html"}, fresh=True)
        assert home.status == 200 and "not ready" in home.text
        resource.prlimit(gate.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_until(lambda: ready() == 200, 10, "the gate that is ready again")
    finally:
        signal.signal(signal.SIGXFSZ, before)
        gate.kill()


def test_asking_for_readiness_in_a_loop_does_not_write_each_time(local_gate):
    gate = local_gate().start()

    def written():
        return (gate.data / "gate.db-wal").stat().st_size

    gate.http.send("GET", "/readyz")
    before = written()
    for _ in range(200):
        assert gate.http.send("GET", "/readyz").status == 200
    assert written() - before < 20 * 5000


def test_a_clock_behind_the_records_is_said_at_the_start_and_by_doctor(stopped):
    connection = sqlite3.connect(stopped.data / "gate.db")
    connection.execute(
        "INSERT INTO audit (subject, seq, recorded_at, entry) SELECT subject, seq + 1000, recorded_at + ?, entry FROM audit LIMIT 1",
        (2 * 60 * 60 * 1000,),
    )
    connection.commit()
    connection.close()
    (stopped.folder / "stderr").write_text("")
    stopped.start()
    said = [json.loads(line) for line in stopped.logs().splitlines()]
    assert any(line["level"] == "WARN" and "clock is" in line["message"] for line in said), said
    doctor = stopped.cli("doctor")
    assert doctor.returncode == 1 and re.search(r"fail .*clock is", doctor.stdout), doctor


def test_hangup_reads_the_policy_again_and_ends_nothing(local_gate):
    gate = local_gate().start()
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "has not changed" in gate.logs(), 10, "the gate's word on it")
    gate.policy.write_text(SHARED.replace('id = "slow"', 'id = "slower"'))
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: 'policy.version":2' in gate.logs(), 10, "the changed policy")
    gate.policy.write_text("not a policy")
    gate.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "stays as it is" in gate.logs(), 10, "the fault")
    assert gate.alive() and gate.cli("client", "secret", "slower").returncode in (0, 1)


def test_doctor_names_reviewers_who_cannot_be_reached(local_gate):
    def doctor(address):
        gate = local_gate(SHARED.replace('email = "carol@example.com"\n', address)).start()
        return gate.cli("doctor")

    nobody = doctor("")
    assert nobody.returncode == 0 and re.search(r"warn .*`carol` has no address", nobody.stdout), nobody
    ran = doctor('phone = "+15550177"\n')
    assert ran.returncode == 1 and re.search(r"fail .*`carol` can be reached by", ran.stdout), ran


# ---------------------------------------------------------------- only a serving gate tells


def test_a_command_without_a_gate_leaves_its_messages_for_one_and_says_so(stopped):
    outbox = stopped.data / "outbox"
    before = sorted(os.listdir(outbox))
    ran = stopped.cli("request", "--client", "agent", "--action", "ask.cron", "--summary", "at night", "--json")
    asked = json.loads(ran.stdout)
    assert ran.returncode == 0 and asked["status"] == "pending" and "no gate serves" in ran.stderr, ran
    assert sorted(os.listdir(outbox)) == before
    cancelled = stopped.cli("cancel", stopped.asked["request_id"])
    assert cancelled.returncode == 0 and "no gate serves" in cancelled.stderr, cancelled
    stopped.start()
    message = stopped.message(asked, "bob")
    assert "at night" in message["text"]
    again = stopped.cli("request", "--client", "agent", "--action", "ask.cron", "--summary", "by day", "--json")
    assert again.returncode == 0 and "no gate serves" not in again.stderr, again


def test_no_link_reaches_a_log(local_gate):
    gate = local_gate(SHARED.replace('email = "carol@example.com"\n', "")).start()
    asked = gate.client("agent").asked()
    assert "/r/" in gate.message(asked, "carol")["url"]
    out = (gate.folder / f"stdout.{gate.runs}").read_text()
    assert "/r/" not in out + gate.logs(), out


class Terminal:
    """A `placet` command with a terminal of its own."""

    def __init__(self, folder, *arguments):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [str(BINARY), *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment() | {"TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        self.said = ""

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                break
            if not part:
                break
            self.said += part.decode(errors="replace")
        return self.said

    def wait_for(self, pattern, seconds=20):
        return wait_until(lambda: re.search(pattern, self.read()), seconds, f"{pattern} on the terminal")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)


def test_on_a_terminal_the_log_is_for_people_and_links_are_for_those_without_an_address(local_gate):
    gate = local_gate(SHARED.replace('email = "carol@example.com"\n', ""))
    with Terminal(gate.folder, "serve", *own(gate), "--listen", "127.0.0.1:0") as serving:
        gate.url = serving.wait_for(r"ready (http://\S+)").group(1)
        assert (
            re.search(r"info\S*\s+(\x1b\S+\s+)?the gate serves", serving.read()) and '{"timestamp"' not in serving.said
        ), serving.said
        asked = json.loads(
            gate.cli("request", "--client", "agent", "--action", "ask.x", "--summary", "s", "--json").stdout
        )
        carol, bob = gate.message(asked, "carol")["url"], gate.message(asked, "bob")["url"]
        serving.wait_for(re.escape(carol))
        assert bob not in serving.read()
        serving.process.send_signal(signal.SIGINT)
        assert serving.process.wait(10) == 0


def test_the_format_of_the_log_can_be_chosen(tmp_path):
    (tmp_path / "placet.toml").write_text(SHARED)
    for variable, sign in (("text", r"info +the gate serves"), ("json", r'"message":"the gate serves"')):
        with open(tmp_path / variable, "wb") as err:
            process = subprocess.Popen(
                [str(BINARY), "serve", "--policy", "placet.toml", "--data", variable + "-data", "--listen", "127.0.0.1:0"],
                cwd=tmp_path, env=environment() | {"PLACET_LOG_FORMAT": variable}, stdout=subprocess.DEVNULL, stderr=err,
            )  # fmt: skip
        try:
            wait_until(lambda: re.search(sign, (tmp_path / variable).read_text()), 20, sign)
        finally:
            process.terminate()
            process.wait(10)
    ran = subprocess.run(
        [str(BINARY), "init"],
        cwd=tmp_path,
        env=environment() | {"PLACET_LOG_FORMAT": "xml"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2 and "PLACET_LOG_FORMAT" in ran.stderr


# ---------------------------------------------------------------- the page at the gate's address


def test_whoever_opens_the_gates_address_reads_what_it_is(gate):
    page = gate.http.send("GET", "/", headers={"accept": "text/html"})
    assert page.status == 200 and page.headers["content-type"].startswith("text/html"), page
    assert "Placet" in page.text and "ready" in page.text and "<form" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert gate.http.send("HEAD", "/").status == 200
    assert gate.http.send("GET", "/", headers={"accept": "application/json"}).json()["ready"] is True
    for path in ("/", "/readyz"):
        check_problem(gate.http.send("POST", path), 405, "method_not_allowed")


# ---------------------------------------------------------------- help, completions, manual, errors


def test_help_is_found_wherever_people_look_for_it():
    assert "backup" in placet("help").stdout
    assert "--reviewer" in placet("help", "link").stdout
    nested = placet("help", "policy", "check")
    assert nested.returncode == 0 and "FILE" in nested.stdout, nested
    assert placet("help", "nonsense").returncode == 2
    for name in ("show", "cancel", "list", "backup", "restore", "completions", "man"):
        ran = placet(name, "--help")
        assert ran.returncode == 0 and ran.stdout, ran


def test_completions_are_scripts_that_their_shell_reads(tmp_path):
    for shell in ("bash", "zsh", "fish", "powershell", "elvish"):
        ran = placet("completions", shell)
        assert ran.returncode == 0 and "placet" in ran.stdout and "backup" in ran.stdout, ran
    script = placet("completions", "bash").stdout
    checked = subprocess.run(
        ["bash", "--norc", "-s"],
        # Longer than an argument may be.
        input=script + "\nCOMP_WORDS=(placet back); COMP_CWORD=1; _placet placet back placet; echo ${COMPREPLY[@]}",
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0 and checked.stdout.split() == ["backup"], checked
    assert placet("completions", "nonsense").returncode == 2


def test_the_manual_has_a_page_for_each_command(tmp_path):
    page = placet("man")
    assert page.returncode == 0 and ".TH placet 1" in page.stdout.replace("\\-", "-") and "EXIT" not in page.stderr, (
        page
    )
    assert ".SH NAME" in placet("man", "policy", "check").stdout
    assert placet("man", "nonsense").returncode == 2
    assert placet("man", "--all", tmp_path / "man").returncode == 0
    names = {path.name for path in (tmp_path / "man").iterdir()}
    assert {"placet.1", "placet-serve.1", "placet-policy-check.1", "placet-backup.1"} <= names, names


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["inbox", "--json"], 1, "refused"),
        (["serve", "--json", "--nonsense"], 2, "usage"),
        (["--json"], 2, "usage"),
        (["request", "--json"], 2, "usage"),
        (["policy", "check", "--json"], 2, "usage"),
        (["token", "verify", "x", "--json"], 1, "refused"),
        (["inbox", "--json", "--data", "/dev/null/x"], 1, "refused"),
        (["show", "r1", "--json", "--url", "http://127.0.0.1:9", "--client", "c"], 2, "usage"),
        (["policy", "explain", "none.toml", "none.json", "--json"], 3, "fault"),
    ],
)
def test_with_json_an_error_is_json_on_standard_output_too(tmp_path, arguments, code, kind):
    ran = placet(*arguments, cwd=tmp_path)
    assert ran.returncode == code, ran
    error = json.loads(ran.stdout)["error"]
    assert (error["kind"], error["exit"]) == (kind, code) and error["message"], error
    assert ran.stderr == "", ran


def test_with_json_the_gates_own_code_is_told(gate):
    ran = gate.cli("request", "--client", "agent", "--action", "not dotted !", "--summary", "s", "--json")
    error = json.loads(ran.stdout)["error"]
    assert ran.returncode == 1 and error["code"] == "invalid_request", ran


def test_without_json_an_error_is_text_on_standard_error(tmp_path):
    ran = placet("inbox", cwd=tmp_path)
    assert ran.returncode == 1 and ran.stdout == "" and ran.stderr.startswith("placet: "), ran


# ---------------------------------------------------------------- show, cancel, list


def test_show_tells_a_requests_history(gate, agent):
    asked = agent.asked(payload={"amount": 12}, summary="with a history")
    gate.link(asked, "bob").reject()
    ran = gate.cli("show", asked["request_id"])
    assert ran.returncode == 0, ran
    for part in ("rejected by bob", "with a history", "history", asked["approval_id"]):
        assert part in ran.stdout, ran.stdout
    told = json.loads(gate.cli("show", asked["request_id"], "--json").stdout)
    assert told["approval"]["status"] == "rejected" and told["payload"] == {"amount": 12}
    assert [entry["seq"] for entry in told["history"]] == list(range(1, len(told["history"]) + 1))
    assert len(told["history"]) == len(gate.audit_of(asked))
    assert "token" not in told["approval"] or told["approval"]["token"] is None
    assert gate.cli("show", "no-such-request").returncode == 1
    assert gate.cli("show", "not a request id").returncode == 2


def test_show_asks_whose_request_is_meant_where_two_have_its_name(gate, agent, other):
    name = new_id()
    agent.asked(request_id=name)
    other.asked(request_id=name)
    ran = gate.cli("show", name)
    assert ran.returncode == 2 and "agent" in ran.stderr and "other" in ran.stderr, ran
    assert gate.cli("show", name, "--client", "other").returncode == 0


def test_the_operator_withdraws_a_request(gate, agent):
    asked = agent.asked()
    ran = gate.cli("cancel", asked["request_id"], "--json")
    assert ran.returncode == 0 and json.loads(ran.stdout)["status"] == "cancelled", ran
    assert agent.state(asked["request_id"])["status"] == "cancelled"
    again = gate.cli("cancel", asked["request_id"])
    assert again.returncode == 1 and "already ended" in again.stderr, again
    assert gate.cli("cancel", "no-such-request").returncode == 1


def test_list_shows_what_was_asked_the_newest_first(local_gate):
    gate = local_gate().start()
    agent, other = gate.client("agent"), gate.client("other")
    first, second, third = agent.asked(), other.asked("auto.approve"), agent.asked("auto.reject")
    told = json.loads(gate.cli("list", "--json").stdout)["requests"]
    assert [one["request_id"] for one in told] == [third["request_id"], second["request_id"], first["request_id"]]
    assert all(one.get("token") is None for one in told)
    ids = lambda *more: [one["request_id"] for one in json.loads(gate.cli("list", "--json", *more).stdout)["requests"]]  # noqa: E731
    assert ids("--status", "pending") == [first["request_id"]]
    assert ids("--client", "other") == [second["request_id"]]
    assert ids("--limit", "1") == [third["request_id"]]
    text = gate.cli("list").stdout
    assert first["request_id"] in text and "approved" in text
    assert gate.cli("list", "--status", "nonsense").returncode == 2


def test_show_cancel_and_list_over_the_network_with_a_clients_secret(gate, agent, tmp_path):
    asked = agent.asked()

    def run(*arguments):
        return subprocess.run(
            [str(BINARY), *arguments, "--url", gate.url, "--client", "agent", "--json"], cwd=tmp_path, capture_output=True, text=True,
            env=environment() | {"PLACET_SECRET": agent.secret}, timeout=30,
        )  # fmt: skip

    assert json.loads(run("show", asked["request_id"]).stdout)["approval"]["status"] == "pending"
    assert asked["request_id"] in run("list", "--status", "pending", "--limit", "500").stdout
    assert json.loads(run("cancel", asked["request_id"]).stdout)["status"] == "cancelled"
    assert run("cancel", asked["request_id"]).returncode == 1


def test_an_executor_uses_a_token_as_itself(local_gate, tmp_path):
    policy = """
[[clients]]
id = "agent"
executors = ["payments"]
[[clients]]
id = "payments"
roles = ["executor"]
[[clients]]
id = "stranger"
roles = ["executor"]
[[rules]]
name = "all"
decide = "approve"
"""
    gate = local_gate(policy).start()
    token = gate.client("agent").asked()["token"]

    def run(verb, client, *more, **variables):
        return subprocess.run(
            [str(BINARY), "token", verb, token, "--url", gate.url, "--json", *more], cwd=tmp_path, capture_output=True, text=True,
            env=environment() | {"PLACET_SECRET": gate.secret(client)} | variables, timeout=30,
        )  # fmt: skip

    for more, variables in (
        ([], {"PLACET_CLIENT": "payments"}),
        (["--client", "payments"], {"PLACET_CLIENT": "agent"}),
    ):
        assert json.loads(run("verify", "payments", *more, **variables).stdout)["valid"] is True
    ran = run("redeem", "payments", "--by", "run-17", PLACET_CLIENT="payments")
    assert ran.returncode == 0 and json.loads(ran.stdout)["first"] is True, ran
    # Whom the token names is who signs where nobody else is named.
    assert json.loads(run("verify", "agent").stdout)["valid"] is True
    # An executor that the asker does not name gets nothing, and a secret is good for its own client only.
    assert run("redeem", "stranger", "--by", "run-18", PLACET_CLIENT="stranger").returncode != 0
    assert run("verify", "payments").returncode != 0


# ---------------------------------------------------------------- signals


def waiting(gate, action, *more):
    return Running(
        gate.folder, "request", "--client", "agent", "--action", action, "--summary", "s", "--wait", *more, *own(gate)
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("keep", [False, True])
def test_a_signal_withdraws_what_a_command_waits_for_unless_it_is_kept(gate, agent, number, code, keep):
    name = new_id()
    with waiting(gate, "ask.signal", "--request-id", name, *(["--keep"] if keep else [])) as ran:
        wait_until(lambda: "waiting for" in ran.text(), 15, "the progress line")
        ran.process.send_signal(number)
        assert ran.wait(10) == code, ran.text()
        assert (name in ran.text()) and ("withdrawn" in ran.text()) == (not keep), ran.text()
    assert agent.state(name)["status"] == ("pending" if keep else "cancelled")


def test_a_command_that_nohup_started_outlives_its_terminal(gate, agent):
    name = new_id()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asking = waiting(gate, "ask.signal", "--request-id", name)
    finally:
        signal.signal(signal.SIGHUP, before)
    with asking as ran:
        wait_until(lambda: "waiting for" in ran.text(), 15, "the progress line")
        ran.process.send_signal(signal.SIGHUP)
        gate.link(agent.state(name), "bob").approve()
        assert ran.wait(10) == 0, ran.text()


def test_a_signal_withdraws_a_request_of_a_command_without_a_gate(stopped):
    name = new_id()
    with waiting(stopped, "ask.signal", "--request-id", name) as ran:
        wait_until(lambda: "waiting for" in ran.text(), 15, "the progress line")
        ran.process.send_signal(signal.SIGTERM)
        assert ran.wait(10) == 143, ran.text()
    told = json.loads(stopped.cli("show", name, "--json").stdout)
    assert told["approval"]["status"] == "cancelled"


def test_a_signal_after_the_decision_does_not_undo_it(gate, agent):
    name = new_id()
    with waiting(gate, "ask.signal", "--request-id", name) as ran:
        wait_until(lambda: "waiting for" in ran.text(), 15, "the progress line")
        ran.process.send_signal(signal.SIGSTOP)
        gate.link(agent.state(name), "bob").approve()
        ran.process.send_signal(signal.SIGTERM)
        ran.process.send_signal(signal.SIGCONT)
        # Which of the two it reads first is its affair; what is recorded is not.
        assert ran.wait(10) in (0, 143), ran.text()
    assert agent.state(name)["status"] == "approved"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_ends_at_once(tmp_path, number, code):
    with Running(tmp_path, "demo") as demo:
        wait_until(lambda: LINK.search(demo.text()), 20, "the reviewer's link")
        begun = time.monotonic()
        demo.process.send_signal(number)
        assert demo.wait(10) == code, demo.text()
        assert time.monotonic() - begun < 3


def can_unshare():
    tried = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True)
    return tried.returncode == 0


@pytest.mark.skipif(shutil.which("unshare") is None or not can_unshare(), reason="no process namespaces here")
@pytest.mark.parametrize(("command", "sign"), [(["demo"], "/r/"), (["mcp"], None), (["token", "verify", "-"], None)])
def test_process_1_of_a_container_ends_at_a_signal(local_gate, command, sign):
    gate = local_gate().start()
    arguments = [] if command == ["demo"] else own(gate)
    if command == ["mcp"]:
        arguments = [*arguments, "--client", "agent"]
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", str(BINARY), *command, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=gate.folder, env=environment(),
    )  # fmt: skip

    def child():
        found = (f"/proc/{process.pid}/task/{process.pid}/children", "")
        with open(found[0]) as file:
            pids = file.read().split()
        return int(pids[0]) if pids else None

    try:
        pid = wait_until(child, 10, "the command as process 1")
        caught = lambda: int(re.search(r"SigCgt:\s*(\w+)", open(f"/proc/{pid}/status").read()).group(1), 16) & (1 << 14)  # noqa: E731
        wait_until(caught, 10, "its handler of SIGTERM")
        if sign:
            wait_until(lambda: sign.encode() in os.read(process.stdout.fileno(), 65536), 20, "the reviewer's link")
        os.kill(pid, signal.SIGTERM)
        assert process.wait(5) == 143
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(5)
        process.stdin.close()
        process.stdout.close()
