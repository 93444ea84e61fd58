"""PyPI's `placet`: the Python client, and the command in wheels for one platform each."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import CLEAN, run


@pytest.fixture(scope="session")
def wheel(built):
    (wheel,) = (file for file in (built / "wheels").glob("*.whl") if not file.name.endswith("-any.whl"))
    return wheel


def test_uvx_runs_the_demo(built, uv, tmp_path):
    env = CLEAN | {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_TOOL_DIR": str(tmp_path / "tools")}
    ran = run(uv, "tool", "run", "--find-links", built / "wheels", "placet", "demo", "--decide", "approve", env=env)
    assert "approved by bob" in ran.stdout


def test_pip_takes_the_wheel_with_the_command(built, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
        "--find-links", built / "wheels", "placet")  # fmt: skip
    assert run(venv / "bin/placet", "--version").stdout.startswith("placet ")


def test_the_command_is_the_binary_itself(environment, binary):
    assert (environment / "bin/placet").read_bytes() == binary.read_bytes()


def test_the_client_and_the_hook_come_with_it(environment):
    said = run(
        environment / "bin/python", "-c", "from placet import Placet, AsyncPlacet; print(Placet.__name__)"
    ).stdout
    assert said == "Placet\n"
    # Everything but a clear yes is 2, which blocks: its help, too.
    assert "placet-claude-hook" in run(environment / "bin/placet-claude-hook", "--help", code=2).stdout


def test_exit_codes_and_signals_are_the_commands_own(environment, tmp_path):
    placet = environment / "bin/placet"
    run(placet, "demo", "--decide", "reject", code=1)
    run(placet, "--nonsense", code=2)
    run(placet, "init", "placet.toml", cwd=tmp_path)
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        server = subprocess.Popen(
            [placet, "serve", "--policy", "placet.toml", "--listen", "127.0.0.1:0"], cwd=tmp_path, env=CLEAN,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    until = time.monotonic() + 60
    while "ready" not in out.read_text():
        assert time.monotonic() < until and server.poll() is None
        time.sleep(0.05)
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0


def test_the_wheels_tag_says_what_the_binary_needs(wheel, binary, target):
    if "linux-gnu" not in target:
        pytest.skip("glibc is Linux's")
    # Of the binutils, as the linker that has built it.
    needs = run("objdump", "-T", binary).stdout
    newest = max(
        int(word.split(".")[1].rstrip(")")) for word in needs.split() if word.startswith(("GLIBC_2.", "(GLIBC_2."))
    )
    assert f"manylinux_2_{max(17, newest)}_" in wheel.name


def test_elsewhere_the_wheel_without_the_command_is_taken(built, uv, tmp_path):
    """The client works on every platform; `uvx placet` says there that it has no command."""
    run(uv, "pip", "install", "--quiet", "--target", tmp_path / "there", "--no-deps", "--no-index",
        "--python-platform", "windows", "--find-links", built / "wheels", "placet")  # fmt: skip
    assert (tmp_path / "there/placet/__init__.py").exists()
    assert not (tmp_path / "there/bin/placet").exists()


def test_the_source_builds_without_a_binary(built, uv, tmp_path):
    (source,) = (built / "wheels").glob("*.tar.gz")
    run(uv, "pip", "install", "--quiet", "--target", tmp_path / "there", "--no-deps", source)
    assert (tmp_path / "there/placet/__init__.py").exists()
    assert os.environ.get("PLACET_BINARY") is None
