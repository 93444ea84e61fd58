"""The GitHub Action's script, run as its `action.yml` has the runner do it, against a real gate."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from local_gate import BINARY, environment
from placet_client import wait_until

ACTION = Path(__file__).resolve().parents[2] / "integrations/github"
SHA = "0123456789abcdef0123456789abcdef01234567"
JOB = {
    "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/shop", "GITHUB_SHA": SHA, "GITHUB_REF": "refs/heads/main",
    "GITHUB_WORKFLOW": "Deploy", "GITHUB_JOB": "deploy", "GITHUB_EVENT_NAME": "push", "GITHUB_TRIGGERING_ACTOR": "dana",
    "GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "2", "GITHUB_SERVER_URL": "https://github.com",
}  # fmt: skip


def step():
    """The step of `action.yml`: its inputs with their defaults, the variable of each, and its command."""
    text = (ACTION / "action.yml").read_text()
    inputs = dict(
        re.findall(r"^  ([a-z-]+):\n    description: .*\n    (required: true|default: .*)$", text, re.MULTILINE)
    )
    variables = dict(re.findall(r"^        ([A-Z_]+): \$\{\{ inputs\.([a-z-]+) \}\}$", text, re.MULTILINE))
    return inputs, variables, re.search(r"^      run: (.*)$", text, re.MULTILINE).group(1)


@pytest.fixture
def run(gate, tmp_path):
    started = []

    def start(**given):
        inputs, variables, command = step()
        given = {
            "action": f"ask.gh{time.time_ns()}", "url": gate.url, "client": "agent", "secret": gate.secret("agent"),
            "placet": str(BINARY),
        } | {name.replace("_", "-"): value for name, value in given.items()}  # fmt: skip
        assert given.keys() <= inputs.keys() and set(variables.values()) | {"working-directory"} == set(inputs)
        value = lambda name: given.get(name, inputs[name].removeprefix("default: ").strip('"'))  # noqa: E731
        env = environment() | JOB | {"PATH": os.environ["PATH"], "RUNNER_TEMP": str(tmp_path / "temp")}
        env |= {variable: "" if "required" in value(name) else value(name) for variable, name in variables.items()}
        env["GITHUB_ACTION_PATH"] = str(ACTION)
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command], cwd=tmp_path, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        process.action = given["action"]
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def asked(gate, process):
    def found():
        rows = gate.client("agent").list(status="pending", limit=100).json()["requests"]
        return [row for row in rows if row["action"] == process.action]

    return wait_until(found, 30, "the question")[0]


def test_what_is_approved_runs_with_the_facts_of_the_job(gate, run, tmp_path):
    (tmp_path / "service.yaml").write_text("kind: Service")
    process = run(
        run='echo "deployed $GITHUB_SHA" > done.txt\nenv | grep -cE "^(PLACET|INPUT)_" || true\nexit 3',
        files="\n  service.yaml  \n", environment="production", timeout="10m",
    )  # fmt: skip
    approval = asked(gate, process)
    assert approval["summary"] == f"Deploy of acme/shop wants to run {process.action}"
    page = gate.link(approval, "bob").page().text.replace("<wbr>", "")
    for shown in ("acme/shop", SHA, "refs/heads/main", "dana", "production", "service.yaml", "deployed $GITHUB_SHA"):
        assert shown in page, shown
    gate.link(approval, "bob").approve()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, "0\n"), err
    assert (tmp_path / "done.txt").read_text() == f"deployed {SHA}\n"


def test_what_is_rejected_or_changed_fails_the_step(gate, run, tmp_path):
    (tmp_path / "service.yaml").write_text("good")
    rejected = run(run="touch done.txt")
    gate.link(asked(gate, rejected), "bob").vote("reject", reason="not on a Friday")
    _, err = rejected.communicate(timeout=30)
    assert rejected.returncode == 1 and "not on a Friday" in err
    changed = run(run="touch done.txt", files="service.yaml")
    approval = asked(gate, changed)
    (tmp_path / "service.yaml").write_text("evil")
    gate.link(approval, "bob").approve()
    _, err = changed.communicate(timeout=30)
    assert changed.returncode == 1 and "has changed" in err and not (tmp_path / "done.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_job_withdraws_its_question(gate, run, tmp_path, number):
    process = run(run="touch done.txt")
    approval = asked(gate, process)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert gate.client("agent").state(approval["request_id"])["status"] == "cancelled"
    assert not (tmp_path / "done.txt").exists()


def test_inputs_are_texts_and_never_scripts(gate, run, tmp_path):
    evil = '"; touch evil.txt; $(touch evil.txt) `touch evil.txt` ${IFS} \\'
    process = run(run="touch done.txt", summary=evil, environment=evil, request_id="gh-1")
    approval = asked(gate, process)
    assert approval["summary"] == evil
    gate.link(approval, "bob").approve()
    process.communicate(timeout=30)
    assert process.returncode == 0 and (tmp_path / "done.txt").exists() and not (tmp_path / "evil.txt").exists()
    again = run(run="touch again.txt", request_id="gh-1")
    assert again.wait(30) == 1 and not (tmp_path / "again.txt").exists()


@pytest.mark.parametrize("missing", ["secret", "run", "action", "url", "client"])
def test_a_step_without_what_it_needs_says_so(run, tmp_path, missing):
    process = run(**({"run": "touch done.txt"} | {missing: ""}))
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2 and f"`{missing}`" in out and "::error::" in out
    assert not (tmp_path / "done.txt").exists()
