"""Builds every package once, and keeps a registry that has them."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "integrations/packages"
SECONDS = 240

# `tests/run roots` makes what those need.
collect_ignore = [] if "PLACET_ROOTS" in os.environ else ["test_roots.py"]

# What a person has who installs: nothing of this checkout.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PLACET", "npm_", "NPM_", "VIRTUAL_ENV", "PYTHON"))
}


def run(*command, cwd=None, env=None, code=0, **options):
    """Runs a command to its end; the finished process, which ended with `code`."""
    ran = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env if env is not None else CLEAN, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=SECONDS, **options,
    )  # fmt: skip
    assert ran.returncode == code, f"{command} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return ran


@pytest.fixture(scope="session")
def target():
    """The Rust target of this machine."""
    machine = os.uname().machine.replace("arm64", "aarch64")
    if sys.platform == "darwin":
        return f"{machine}-apple-darwin"
    libc, _ = os.confstr("CS_GNU_LIBC_VERSION").split() if "CS_GNU_LIBC_VERSION" in os.confstr_names else ("musl", "")
    return f"{machine}-unknown-linux-{'gnu' if libc == 'glibc' else 'musl'}"


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    """The binary under test, without what a debugger wants."""
    file = tmp_path_factory.mktemp("binary") / "placet"
    if shutil.which("strip"):
        run("strip", "-o", file, os.environ["PLACET"])
    else:
        shutil.copy(os.environ["PLACET"], file)
    return file


@pytest.fixture(scope="session")
def bill(tmp_path_factory, target):
    """The licences and the bill of materials of what is linked."""
    folder = tmp_path_factory.mktemp("bill")
    run(sys.executable, PACKAGES / "bill.py", "--target", target, "--notices", folder / "THIRD-PARTY.md",
        "--sbom", folder / "placet.cdx.json", env=dict(os.environ))  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory, target, binary, bill):
    """The folder of packages."""
    out = tmp_path_factory.mktemp("built")
    run(sys.executable, PACKAGES / "build.py", "--out", out, "--binary", f"{target}={binary}",
        "--notices", f"{target}={bill / 'THIRD-PARTY.md'}", "--sbom", f"{target}={bill / 'placet.cdx.json'}",
        "--tag", "v" + run(binary, "--version").stdout.split()[1], "--node-modules", os.environ["PLACET_NODE_MODULES"],
        env=dict(os.environ))  # fmt: skip
    return out


@pytest.fixture(params=["node-20", "node-22"])
def node(request):
    """The environment with one Node in front: one that stays as the parent, and one that becomes the binary."""
    folder = os.environ["PLACET_NODE_22"] if request.param == "node-22" else os.environ["PLACET_NODE_20"]
    if not folder:
        pytest.skip(f"no {request.param}")
    return CLEAN | {"PATH": f"{folder}:{CLEAN['PATH']}"}


def npm_environment(folder, registry=None):
    """An npm of its own: neither the person's settings nor what is cached already."""
    settings = folder / "npmrc"
    settings.write_text("update-notifier=false\nfund=false\naudit=false\n")
    if registry is not None:
        with settings.open("a") as file:
            file.write(f"registry={registry}\n{registry.removeprefix('http:')}:_authToken=any\n")
    return {"NPM_CONFIG_USERCONFIG": str(settings), "NPM_CONFIG_CACHE": str(folder / "npm-cache"), "HOME": str(folder)}


@pytest.fixture(scope="session")
def registry(tmp_path_factory, built):
    """A registry on this machine that has our packages, and gets what they need from the real one."""
    folder = tmp_path_factory.mktemp("registry")
    uplink = run("npm", "config", "get", "registry", env=dict(os.environ)).stdout.strip()
    (folder / "config.yaml").write_text(f"""
storage: {folder}/storage
max_body_size: 200mb
uplinks: {{ npm: {{ url: {uplink}, timeout: 180s }} }}
packages:
  placet: {{ access: $all, publish: $all }}
  '@placet/*': {{ access: $all, publish: $all }}
  '**': {{ access: $all, proxy: npm }}
log: {{ type: file, path: {folder}/log, level: warn }}
""")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [os.environ["PLACET_VERDACCIO"], "--config", str(folder / "config.yaml"), "--listen", address]
    with (folder / "output").open("wb") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=CLEAN, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + 60
        while True:
            assert server.poll() is None and time.monotonic() < until, (folder / "output").read_text()
            try:
                urllib.request.urlopen(f"http://{address}/-/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        env = CLEAN | npm_environment(folder, f"http://{address}/")
        # As the release does: the binaries first, then the package that names them.
        for file in sorted((built / "npm").glob("placet-cli-*.tgz")) + sorted(
            (built / "npm").glob("placet-[0-9]*.tgz")
        ):
            run("npm", "publish", file, env=env)
        yield f"http://{address}/"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def installed(tmp_path_factory, built):
    """A project with our packages from their files, where no script may run."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    files = sorted((built / "npm").glob("*.tgz"))
    run("npm", "install", "--ignore-scripts", *files, cwd=folder, env=CLEAN | npm_environment(folder))
    return folder


@pytest.fixture(scope="session")
def uv():
    return Path(sys.executable).parent / "uv"


@pytest.fixture(scope="session")
def environment(tmp_path_factory, built, uv):
    """A venv with the package from the folder of wheels."""
    folder = tmp_path_factory.mktemp("venv")
    run(uv, "venv", "--quiet", folder, "--python", sys.executable)
    run(uv, "pip", "install", "--quiet", "--python", folder / "bin/python", "--find-links", built / "wheels", "placet")
    return folder
