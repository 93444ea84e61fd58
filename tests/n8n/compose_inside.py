"""Runs the processes of infra/compose.yaml, with its commands, settings and names, and one approval through all of them.

`test_compose.py` starts it in a network and a view of the files of its own, so that the ports of the compose file are free
and its names (`placet`, `n8n`) lead here. What a container adds is not seen: images, users, read-only roots.
"""

import fcntl
import html
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "stories"), str(HERE.parent / "testgate")]

from n8n_server import INSTALLED, NODE, N8n  # noqa: E402
from placet_client import wait_until  # noqa: E402
from testgate import BINARY  # noqa: E402
from workflows import gated, placet  # noqa: E402

INFRA = HERE.parents[1] / "infra"
# As a person fills in `.env`.
ENV = {
    "PLACET_HOST": "localhost",
    "N8N_HOST": "n8n.localhost",
    "N8N_ENCRYPTION_KEY": "not-a-secret-only-for-tests-0123",
}


def filled_in(value):
    """A value of the compose file, with its variables."""
    if isinstance(value, dict):
        return {name: filled_in(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled_in(inner) for inner in value]
    if not isinstance(value, str):
        return value

    def variable(match):
        name, default = match.group(1), match.group(2) or ""
        if name in ENV:
            return ENV[name]
        assert not default.startswith(":?"), f"{name} is needed, and infra/compose/env.example does not say so"
        return default.removeprefix(":-")

    return re.sub(r"\$\{(\w+)(:[-?][^}]*)?\}", variable, value)


def names_lead_here(folder):
    """The loopback is up, and the services' names are on it; for this process and its children alone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = b"lo".ljust(16, b"\0")
        flags = struct.unpack("16xH", fcntl.ioctl(control, 0x8913, name + b"\0" * 16)[:18])[0]
        fcntl.ioctl(control, 0x8914, name + struct.pack("H", flags | 1) + b"\0" * 14)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost placet n8n n8n.localhost\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def started(words, folder, name, env):
    log = (folder / f"{name}.log").open("wb")
    return subprocess.Popen(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def healthy(service, env):
    """Runs a service's own check."""
    kind, *words = service["healthcheck"]["test"]
    words = ["sh", "-c", words[0]] if kind == "CMD-SHELL" else words
    return subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def main(folder):
    services = filled_in(yaml.safe_load((INFRA / "compose.yaml").read_text()))["services"]
    names_lead_here(folder)
    programs = folder / "programs"
    programs.mkdir()
    (programs / "placet").symlink_to(BINARY)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PLACET", "N8N_", "npm_"))}
    clean["PATH"] = f"{programs}:{clean['PATH']}"
    running = []
    n8n = None
    try:
        # placet: its command, with the folder of the policy where the volume would be.
        data = folder / "placet-data"
        gate_env = clean | services["placet"]["environment"] | {"PLACET_DATA": str(data)}
        command = [word.replace("/etc/placet", str(INFRA / "compose/placet")) for word in services["placet"]["command"]]
        running.append(started(["placet", *command], folder, "placet", gate_env))
        wait_until(lambda: healthy(services["placet"], gate_env), 30, "the gate to be healthy")

        # The node, by the command that lays it into n8n's volume, with the packed node of `tests/run n8n`.
        (package,) = (INSTALLED / "package").glob("n8n-nodes-placet-*.tgz")
        n8n = N8n(folder)
        (folder / ".n8n/nodes/node_modules").unlink()
        (folder / ".n8n/nodes/package.json").unlink()
        words = [
            word.replace("/home/node", str(folder)).replace("/opt/placet/n8n-nodes-placet.tgz", str(package))
            for word in services["n8n-node"]["entrypoint"]
        ]
        npm = clean | {"HOME": str(folder), "NPM_CONFIG_CACHE": str(folder / "npm")}
        subprocess.run(words, env=npm, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        assert (folder / ".n8n/nodes/node_modules/n8n-nodes-placet/package.json").exists()

        # n8n, with the settings of the file and nothing that contradicts them.
        n8n.extra = {"N8N_LISTEN_ADDRESS": "0.0.0.0", **services["n8n"]["environment"]}
        n8n.port = int(services["n8n"]["environment"]["N8N_PORT"])
        n8n.url = f"http://n8n:{n8n.port}"
        n8n.start()
        n8n.set_up()

        # Caddy, with its own file; a certificate of its own authority for `localhost`.
        context = None
        if shutil.which("caddy"):
            caddy = (
                clean | services["caddy"]["environment"] | {"XDG_DATA_HOME": str(folder / "caddy"), "HOME": str(folder)}
            )
            words = ["caddy", "run", "--config", str(INFRA / "compose/Caddyfile"), "--adapter", "caddyfile"]
            running.append(started(words, folder, "caddy", caddy))
            root = folder / "caddy/caddy/pki/authorities/local/root.crt"
            wait_until(root.exists, 30, "Caddy's own authority")
            context = ssl.create_default_context(cafile=str(root))

        def opened(url, form=None):
            """A page as a reviewer opens it: through Caddy where there is one."""
            data = None if form is None else urllib.parse.urlencode(form).encode()
            if context is None:
                url = url.replace("https://localhost", "http://placet:8484")
            asked = urllib.request.Request(url, data, {"Accept": "application/json"} if form else {})
            with urllib.request.urlopen(asked, context=context, timeout=30) as answer:
                return answer.read().decode()

        if context is not None:
            for name in ("localhost", "n8n.localhost"):

                def through(name=name):
                    try:
                        return opened(f"https://{name}/healthz")
                    except (urllib.error.URLError, OSError):
                        return None

                wait_until(through, 30, f"{name} through Caddy")

        # One approval through all of them, as docs/self-hosting.md says to set it up.
        asked = ["placet", "client", "secret", "n8n"]
        secret = subprocess.run(asked, env=gate_env, check=True, capture_output=True, text=True).stdout.split()[-1]
        credential = n8n.credential("http://placet:8484", "n8n", secret)
        tried = n8n.test_credential("http://placet:8484", "n8n", secret)
        assert tried["status"] == "OK", tried
        step = placet(credential, action="invoice.pay", message="Pay the invoice")
        n8n.workflow(gated("invoice", step))
        number = n8n.trigger("invoice", {"items": [{"to": "ACME GmbH", "amount": 5000}]})
        n8n.waiting(number)

        def link():
            words = ["placet", "inbox", "--reviewer", "bob", "--json"]
            text = subprocess.run(words, env=gate_env, check=True, capture_output=True, text=True).stdout
            found = re.search(r"https://localhost/r/[\w-]+", text)
            return found and found.group()

        url = wait_until(link, 30, "Bob's link")
        nonce = html.unescape(
            re.search(r'name="nonce"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="nonce"', opened(url)).group(1)
        )
        approval = json.loads(opened(url, {"decision": "approve", "nonce": nonce}))
        assert approval["approved"] is True, approval
        run = n8n.ended(number)
        # Long before the node would have looked by itself: the callback came, to `http://n8n:5678/`.
        assert run.status == "success" and run.ran("Pay"), run.error
        print("approved, and the run went on" + ("" if context else "; without Caddy, which is not here"))
    except BaseException:
        for log in folder.glob("*.log"):
            print(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        raise
    finally:
        if n8n is not None:
            n8n.kill()
        for process in reversed(running):
            process.terminate()
        until = time.monotonic() + 20
        for process in running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    assert NODE.exists()
    main(Path(sys.argv[1]).resolve())
