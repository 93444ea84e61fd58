"""The container image, built from infra/Containerfile with the binary under test, and run as compose and an operator do.

It needs root, podman, buildah and mmdebstrap (Debian has them); where they are not, `tests/run packages` says so loudly.
"""

import json
import os
import subprocess
import time

import pytest
from conftest import CLEAN, ROOT, run

BASE = os.environ.get("PLACET_IMAGE_BASE", "")
pytestmark = pytest.mark.skipif(not BASE, reason="no container engine: tests/run packages says why")


class Engine:
    """podman with a storage of its own, as root on a machine without bridges and without systemd."""

    def __init__(self, folder):
        settings = folder / "containers.conf"
        settings.write_text('[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\n')
        self.env = CLEAN | {"CONTAINERS_CONF": str(settings)}
        self.storage = ["--root", str(folder / "root"), "--runroot", str(folder / "run")]
        self.podman = ["podman", *self.storage, "--tmpdir", str(folder / "tmp"), "--cgroup-manager=cgroupfs",
                       "--events-backend=file"]  # fmt: skip
        self.network = "--network=none"

    def build(self, context, *arguments):
        run("buildah", *self.storage, "bud", "--quiet", "--isolation=chroot", "--format=docker", *arguments,
            "--file", ROOT / "infra/Containerfile", context, env=self.env)  # fmt: skip

    def __call__(self, *words, **options):
        return run(*self.podman, *words, env=self.env, **options)

    def run(self, *words, **options):
        return self(
            "run", "--runtime=runc", self.network, "--read-only", "--tmpfs=/tmp", "--cap-drop=all", *words, **options
        )


@pytest.fixture(scope="module")
def engine(tmp_path_factory, binary):
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder)
    engine("import", "--quiet", BASE, "localhost/base:latest")
    context = folder / "context"
    context.mkdir()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    (context / f"placet-{architecture}").write_bytes(binary.read_bytes())
    engine.build(context, "--build-arg=BASE=localhost/base:latest", "--build-arg=BINARY=prebuilt",
                 f"--build-arg=TARGETARCH={architecture}", "--tag=placet")  # fmt: skip
    yield engine
    engine("rm", "--all", "--force", "--time=0")
    engine("rmi", "--all", "--force")


def test_the_demo_runs_in_it_as_nobody(engine):
    assert "approved by bob" in engine.run("--rm", "placet", "demo", "--decide", "approve").stdout


def test_an_interrupted_demo_ends_at_once(engine):
    """As process 1 it has no default for signals: 143, and not 137 after the grace period."""
    engine.run("--detach", "--name=demo", "placet", "demo")
    wait(lambda: "Open one and decide" in engine("logs", "demo").stdout)
    engine("stop", "--time=60", "demo")
    assert inspect(engine, "demo")["State"]["ExitCode"] == 143


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def inspect(engine, name):
    return json.loads(engine("inspect", name).stdout)[0]


def test_a_gate_serves_keeps_its_data_and_stops_cleanly(engine, tmp_path, binary):
    run(binary, "init", tmp_path / "placet.toml")
    tmp_path.chmod(0o755)
    (tmp_path / "placet.toml").chmod(0o644)
    mounts = (f"--volume={tmp_path}:/etc/placet:ro", "--volume=kept:/data")
    for name in ("first", "second"):
        engine.run("--detach", f"--name={name}", *mounts, "placet")
        wait(lambda name=name: "ready http" in engine("logs", name).stdout)
        assert subprocess.run([*engine.podman, "healthcheck", "run", name], env=engine.env).returncode == 0
        listed = json.loads(engine("exec", name, "placet", "list", "--json").stdout)["requests"]
        assert [one["request_id"] for one in listed] == ([] if name == "first" else ["kept-1"])
        if name == "first":
            engine("exec", name, "placet", "request", "--action", "payment.send", "--summary", "Pay", "--request-id",
                   "kept-1")  # fmt: skip
        engine("stop", "--time=60", name)
        assert inspect(engine, name)["State"]["ExitCode"] == 0
