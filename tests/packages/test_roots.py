"""A newcomer's machine: a minimal Debian without Rust, in which each package ends in the demo.

`tests/run roots` makes the roots with mmdebstrap, and runs this. What is run there is run as a user who is not root, in the
root's own files, with its own processes; only the network is this machine's.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from conftest import run

ROOTS = Path(os.environ["PLACET_ROOTS"])
HOME = "/home/newcomer"
NEWCOMER = 1000
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# Whatever reads certificates is to read the root's, which are this machine's: it may stand behind a proxy.
NEWCOMERS = {
    "HOME": HOME,
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "SSL_CERT_FILE": str(CERTIFICATES),
    "PIP_CERT": str(CERTIFICATES),
    "NODE_EXTRA_CA_CERTS": str(CERTIFICATES),
    "PIP_DEFAULT_TIMEOUT": "180",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "NPM_CONFIG_UPDATE_NOTIFIER": "false",
}


class Root:
    """One minimal Debian, as mmdebstrap has made it."""

    def __init__(self, folder, name):
        self.folder = folder
        with tarfile.open(ROOTS / f"{name}.tar") as made:
            made.extractall(folder, filter="fully_trusted")
        self.home = folder / HOME.strip("/")
        self.home.mkdir()
        os.chown(self.home, NEWCOMER, NEWCOMER)
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
        (folder / CERTIFICATES.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(CERTIFICATES, folder / CERTIFICATES.relative_to("/"))

    def __call__(self, script, **env):
        """Runs a script of the shell there, in the newcomer's home; what it printed."""
        variables = [f"{name}={value}" for name, value in (NEWCOMERS | env).items()]
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.folder}/proc",
                   "chroot", f"--userspec={NEWCOMER}:{NEWCOMER}", self.folder, "/usr/bin/env", "-i", *variables,
                   "/bin/sh", "-euc", f"cd {HOME}\n{script}")  # fmt: skip

    def give(self, path):
        """Puts a file or a folder of this machine into the newcomer's home."""
        there = self.home / path.name
        if there.exists():
            pass
        elif path.is_dir():
            shutil.copytree(path, there)
        else:
            shutil.copy(path, there)
        subprocess.run(["chown", "--recursive", f"{NEWCOMER}:{NEWCOMER}", str(there)], check=True)
        return f"{HOME}/{path.name}"


@pytest.fixture(scope="module")
def root_of(tmp_path_factory):
    """Makes roots that a module shares; they are hundreds of megabytes, so nothing of them stays."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = Root(tmp_path_factory.mktemp(name), name)
        return made[name]

    yield make
    for root in made.values():
        shutil.rmtree(root.folder)


def ends_in_the_demo(ran):
    assert "approved by bob" in ran.stdout, ran


@pytest.mark.parametrize("name", ["bare", "node", "python"])
def test_a_newcomers_machine_has_nothing_that_builds(root_of, name):
    root = root_of(name)
    found = root(
        "for tool in cargo rustc cc gcc clang placet; do command -v $tool || true; done; id -u; cat /etc/os-release"
    )
    first, *rest = found.stdout.splitlines()
    assert first == str(NEWCOMER), "no tool, and not root"
    assert any("Debian" in line for line in rest)


def test_npx(root_of, registry):
    """As after `npm publish`: from a registry, which is on this machine."""
    node = root_of("node")
    (node.home / ".npmrc").write_text(f"registry={registry}\nfund=false\naudit=false\n")
    ends_in_the_demo(node("npx --yes placet demo --decide approve"))


def test_npm_install_without_scripts(root_of, registry):
    node = root_of("node")
    (node.home / ".npmrc").write_text(f"registry={registry}\nfund=false\naudit=false\n")
    ends_in_the_demo(
        node(
            "mkdir -p project && cd project && npm install --ignore-scripts placet && npx --no-install placet demo --decide approve"
        )
    )


def test_pip(root_of, built):
    python = root_of("python")
    wheels = python.give(built / "wheels")
    ends_in_the_demo(
        python(
            f"python3 -m venv venv && venv/bin/pip install --find-links {wheels} placet && venv/bin/placet demo --decide approve"
        )
    )
    assert python("venv/bin/python -c 'import placet; print(placet.Placet.__name__)'").stdout == "Placet\n"


def test_uvx(root_of, built, uv):
    """uv is one file that its own installer puts there; here it comes from its wheel."""
    python = root_of("python")
    wheels = python.give(built / "wheels")
    for tool in (uv, uv.with_name("uvx")):
        shutil.copy(tool, python.folder / "usr/local/bin")
    ends_in_the_demo(python(f"uvx --find-links {wheels} placet demo --decide approve"))


def test_the_archive(root_of, built):
    bare = root_of("bare")
    (archive,) = (built / "archives").glob("*.tar.gz")
    bare.give(archive)
    ends_in_the_demo(
        bare(f"tar -xzf {archive.name} && {archive.name.removesuffix('.tar.gz')}/placet demo --decide approve")
    )


def test_a_gate_serves_there_and_a_request_is_answered(root_of, built):
    """More than the demo: the quickstart's own commands, from the archive, by that machine's user."""
    bare = root_of("bare")
    (archive,) = (built / "archives").glob("*.tar.gz")
    bare.give(archive)
    script = f"""
        tar -xzf {archive.name} && cp {archive.name.removesuffix(".tar.gz")}/placet . && ./placet init placet.toml
        ./placet serve --policy placet.toml --listen 127.0.0.1:0 > out 2> log & gate=$!
        tries=0
        until grep -q '^ready ' out; do
          tries=$((tries + 1)); [ $tries -lt 600 ] && kill -0 $gate || {{ cat log >&2; exit 1; }}
          sleep 0.1
        done
        ./placet request --action payment.send --summary 'Pay invoice 4711' --request-id invoice-4711 --json
        ./placet inbox --json
        kill -TERM $gate && wait $gate
    """
    ran = bare(script)
    assert '"status": "pending"' in ran.stdout and ran.stdout.count("invoice-4711") >= 2, ran
