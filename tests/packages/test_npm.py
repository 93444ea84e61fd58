"""npm's `placet`: the client, and the launcher of the command."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import CLEAN, npm_environment, run


def placet(installed):
    return installed / "node_modules/.bin/placet"


def test_npx_runs_the_demo_from_a_registry(registry, tmp_path, node):
    env = node | npm_environment(tmp_path, registry)
    ran = run("npx", "--yes", "placet", "demo", "--decide", "approve", cwd=tmp_path, env=env)
    assert "approved by bob" in ran.stdout


def test_a_project_locks_and_installs_it_again(registry, tmp_path):
    env = CLEAN | npm_environment(tmp_path, registry)
    (tmp_path / "package.json").write_text('{"private": true}')
    run("npm", "install", "placet", cwd=tmp_path, env=env)
    run("npm", "ci", "--ignore-scripts", cwd=tmp_path, env=env)
    assert run("npx", "--no-install", "placet", "--version", cwd=tmp_path, env=env).stdout.startswith("placet ")


def test_no_package_has_a_script_that_runs_when_it_is_installed(installed):
    for manifest in (installed / "node_modules").glob("**/package.json"):
        read = json.loads(manifest.read_text())
        if read.get("name") == "placet" or read.get("name", "").startswith("@placet/"):
            assert "scripts" not in read


def test_the_client_and_the_command_come_in_one_package(installed, node):
    (installed / "client.js").write_text(
        "import { Placet, requireApproval } from 'placet'; console.log(typeof Placet, typeof requireApproval);"
    )
    assert run("node", "client.js", cwd=installed, env=node).stdout == "function function\n"
    assert run(placet(installed), "--version", env=node).stdout.startswith("placet ")


def test_exit_codes_and_output_are_the_commands_own(installed, tmp_path, node):
    assert "approved by bob" in run(placet(installed), "demo", "--decide", "approve", env=node, code=0).stdout
    run(placet(installed), "demo", "--decide", "reject", env=node, code=1)
    assert "unexpected argument" in run(placet(installed), "--nonsense", env=node, code=2).stderr
    nobody = ("--url", "http://127.0.0.1:1", "request", "--client", "my-agent", "--action", "a.b", "--summary", "x")
    run(placet(installed), *nobody, env=node | {"PLACET_SECRET": "whsec_x"}, code=3)
    said = run(placet(installed), "init", "a b'c\"$d.toml", cwd=tmp_path, env=node)
    assert said.returncode == 0 and (tmp_path / "a b'c\"$d.toml").exists()


def ready(output):
    """The address of the `ready` line, once it is there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = re.search(r"ready (http://\S+)", output())
        if found:
            return found.group(1)
        time.sleep(0.05)
    pytest.fail(f"no `ready` line:\n{output()}")


def serve(installed, tmp_path):
    run(placet(installed), "init", "placet.toml", cwd=tmp_path)
    return [str(placet(installed)), "serve", "--policy", "placet.toml", "--listen", "127.0.0.1:0"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_gate_cleanly(installed, tmp_path, node, name):
    command = serve(installed, tmp_path)
    out, log = tmp_path / "out", tmp_path / "log"
    with out.open("wb") as stdout, log.open("wb") as stderr:
        # A session of its own, without a terminal.
        server = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=node,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        ready(out.read_text)
        server.send_signal(signal.Signals[name])
        assert server.wait(60) == 0, log.read_text()
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def test_ctrl_c_at_a_terminal_reaches_the_gate_once(installed, tmp_path, node):
    """A terminal signals the launcher and the gate; a second SIGINT would end the gate at once, with 130."""
    command = serve(installed, tmp_path)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvpe(command[0], command, node)
    said = bytearray()

    def output():
        os.set_blocking(terminal, False)
        try:
            while chunk := os.read(terminal, 65536):
                said.extend(chunk)
        except OSError:
            pass  # nothing yet, or closed
        return said.decode(errors="replace")

    ready(output)
    os.write(terminal, b"\x03")
    until = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        output()
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"still there after Ctrl-C:\n{output()}")
        time.sleep(0.05)
    assert os.waitstatus_to_exitcode(ended[1]) == 0, output()


def test_a_killed_binary_kills_its_launcher_alike(installed, tmp_path):
    """Under Node 20, where the launcher stays: a shell sees which signal it was."""
    env = CLEAN | {"PATH": f"{os.environ['PLACET_NODE_20'] or os.environ['PLACET_NODE_22']}:{CLEAN['PATH']}"}
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        server = subprocess.Popen(
            serve(installed, tmp_path),
            cwd=tmp_path,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        )
    ready(out.read_text)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    os.kill(int(children[0]) if children else server.pid, signal.SIGKILL)
    assert server.wait(60) == -signal.SIGKILL


def pretend(tmp_path, script):
    """A file that Node runs before the launcher: this machine, as if it were another."""
    file = tmp_path / "pretend.cjs"
    file.write_text(script)
    return ["node", "--require", str(file)]


@pytest.mark.parametrize(
    ("platform", "arch", "glibc", "sentence"),
    [
        ("freebsd", "x64", None, "there is no binary for freebsd-x64"),
        ("linux", "riscv64", "2.40", "there is no binary for linux-riscv64"),
        ("linux", "x64", None, "there is no binary for linux-x64-musl"),
        ("win32", "x64", None, "there is no binary for win32-x64"),
    ],
)
def test_another_platform_gets_a_sentence(installed, tmp_path, node, platform, arch, glibc, sentence):
    command = pretend(
        tmp_path,
        f"""
        Object.defineProperty(process, 'platform', {{ value: '{platform}' }});
        Object.defineProperty(process, 'arch', {{ value: '{arch}' }});
        process.report.getReport = () => ({{ header: {{ glibcVersionRuntime: {json.dumps(glibc)} }} }});
        """,
    )
    ran = run(*command, installed / "node_modules/placet/bin/placet.cjs", "demo", env=node, code=3)
    assert ran.stdout == ""
    assert sentence in ran.stderr and "cargo install --locked --path crates/placet" in ran.stderr
    assert ("WSL" in ran.stderr) == (platform == "win32")


def test_a_left_out_binary_gets_a_sentence(built, tmp_path, node):
    (tmp_path / "package.json").write_text('{"private": true}')
    client = next((built / "npm").glob("placet-[0-9]*.tgz"))
    env = node | npm_environment(tmp_path)
    run("npm", "install", "--omit=optional", client, cwd=tmp_path, env=env)
    ran = run("npx", "--no-install", "placet", "--version", cwd=tmp_path, env=env, code=3)
    assert re.search(r"the package @placet/cli-\S+ is not installed", ran.stderr)
    assert re.search(r"npm install @placet/cli-\S+@\d+\.\d+\.\d+", ran.stderr)
