"""Runs a real n8n on loopback and drives it as its editor does: over its REST API."""

import atexit
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import threading
from pathlib import Path
from urllib.parse import quote

from placet_client import wait_until
from receiver import free_port

CACHE = Path(os.environ.get("PLACET_CACHE", Path.home() / ".cache/placet"))
INSTALLED = CACHE / "n8n"
NODE = INSTALLED / "node/node_modules/node/bin/node"
# The newest version that installs, or the oldest that the README names.
VERSION = os.environ.get("PLACET_N8N", "newest")
N8N = INSTALLED / {"newest": "server", "oldest": "oldest"}[VERSION] / "node_modules/n8n/bin/n8n"
TARBALL_NODES = INSTALLED / "installed/node_modules"

EMAIL, PASSWORD = "olga@example.com", "Correct-Horse-7"

# Everything that would talk to the outside is off.
QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_DYNAMIC_BANNERS_ENABLED": "false",
    "N8N_HIRING_BANNER_ENABLED": "false",
    # A module that a version does not know keeps it from starting.
    "N8N_DISABLED_MODULES": "mcp-registry,instance-ai,chat-hub,insights" if VERSION == "newest" else "insights",
    "N8N_SECURE_COOKIE": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "true",
    "N8N_LOG_LEVEL": "info",
    "DB_TYPE": "sqlite",
    "NO_COLOR": "1",
}


class Refused(Exception):
    """n8n answered with another status than 2xx."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:2000]!r}")
        self.status, self.body = status, body


class N8n:
    """One n8n with a folder of its own; stopped by its own process group whatever happens."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.port, self.broker = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process, self.cookie = None, None
        self.extra = {}
        self.local = threading.local()
        nodes = self.folder / ".n8n/nodes"
        nodes.mkdir(parents=True)
        # As n8n's own installer leaves it: the package beside a package.json, from the tarball.
        (nodes / "package.json").write_text('{"name": "installed-nodes", "private": true}')
        (nodes / "node_modules").symlink_to(TARBALL_NODES)

    # -- the process

    def environment(self):
        own = {name: value for name, value in os.environ.items() if not name.startswith(("N8N_", "PLACET"))}
        return own | QUIET | {
            "PATH": f"{NODE.parent}:{os.environ['PATH']}",
            "N8N_USER_FOLDER": str(self.folder),
            "N8N_HOST": "127.0.0.1",
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_PORT": str(self.port),
            "N8N_EDITOR_BASE_URL": self.url,
            "N8N_WEBHOOK_URL": self.url,
            "N8N_RUNNERS_BROKER_PORT": str(self.broker),
            "N8N_ENCRYPTION_KEY": "not-a-secret-only-for-tests-0123",
            **self.extra,
        }  # fmt: skip

    def start(self, seconds=180):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(NODE), str(N8N), "start"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, env=self.environment(), start_new_session=True,
            )  # fmt: skip
        atexit.register(self.kill)

        def ready():
            assert self.process.poll() is None, f"n8n ended with {self.process.returncode}: {self.log()[-3000:]}"
            try:
                return self.send("GET", "/healthz/readiness")[0] == 200
            except OSError:
                return False

        wait_until(ready, seconds, "n8n to be ready")
        return self

    def kill(self):
        """kill -9 for n8n and the task runner that it started."""
        atexit.unregister(self.kill)
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(20)
        self.local = threading.local()

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def cli(self, *arguments, seconds=180):
        """An `n8n` command on this server's folder; needs no running server."""
        ran = subprocess.run(
            [str(NODE), str(N8N), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            cwd=self.folder, env=self.environment() | {"N8N_RUNNERS_BROKER_PORT": str(free_port())}, timeout=seconds,
        )  # fmt: skip
        assert ran.returncode == 0, ran
        return ran.stdout

    # -- HTTP

    def send(self, method, path, body=None, headers=None, timeout=120):
        """One request on a connection of its own; status, headers, text."""
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        every = {"Content-Type": "application/json", "browser-id": "tests"}
        if self.cookie:
            every["Cookie"] = self.cookie
        every.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, raw, every)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def rest(self, method, path, body=None):
        status, headers, text = self.send(method, f"/rest{path}", body)
        if not 200 <= status < 300:
            raise Refused(status, text)
        if cookie := headers.get("set-cookie"):
            self.cookie = cookie.split(";")[0]
        return json.loads(text).get("data") if text else None

    def set_up(self):
        """The first visit: makes the owner, who is logged in from then on."""
        body = {"email": EMAIL, "password": PASSWORD, "firstName": "Olga", "lastName": "Owner"}

        def owner():
            # The readiness check is answered a moment before the REST routes are.
            try:
                return self.rest("POST", "/owner/setup", body)
            except Refused as refused:
                if refused.status != 404:
                    raise
                return None

        return wait_until(owner, 60, "n8n to take its owner")

    # -- what a builder makes

    def credential(self, url, client_id, secret, name="Placet"):
        data = {"url": url, "clientId": client_id, "clientSecret": secret}
        return self.any_credential("placetApi", name, data)

    def any_credential(self, kind, name, data):
        made = self.rest("POST", "/credentials", {"name": name, "type": kind, "data": data})
        return {kind: {"id": made["id"], "name": name}}

    def test_credential(self, url, client_id, secret):
        data = {"url": url, "clientId": client_id, "clientSecret": secret}
        body = {"credentials": {"id": "", "name": "tried", "type": "placetApi", "data": data}}
        return self.rest("POST", "/credentials/test", body)

    def workflow(self, workflow, active=True):
        made = self.rest("POST", "/workflows", workflow)
        if active:
            self.activate(made)
        return made

    def activate(self, made):
        self.rest("POST", f"/workflows/{made['id']}/activate", {"versionId": made["versionId"]})

    def deactivate(self, made):
        self.rest("POST", f"/workflows/{made['id']}/deactivate", {})

    # -- what a run does

    def trigger(self, path, body):
        """Posts to a workflow's webhook, again while n8n is still registering it; the execution's number."""

        def newest():
            return max((int(run["id"]) for run in self.rest("GET", "/executions?limit=1")["results"]), default=0)

        def posted():
            status, _, text = self.send("POST", f"/webhook/{path}", body)
            assert status in (200, 404), (status, text)
            return json.loads(text)["execution"] if status == 200 else None

        before = newest() if VERSION == "oldest" else 0
        number = wait_until(posted, 60, f"the webhook {path}")
        # Old versions do not know it yet when they answer.
        return (
            number if number.isdigit() else str(wait_until(lambda: (new := newest()) > before and new, 60, "the run"))
        )

    def execution(self, number):
        found = self.rest("GET", f"/executions/{number}")
        return Execution(found)

    def when(self, number, *statuses, seconds=90):
        """The execution, as soon as it has one of these statuses."""

        def there():
            try:
                found = self.execution(number)
            except Refused as refused:
                # 503: hundreds of callbacks at one moment keep its database busy.
                if refused.status not in (404, 503):
                    raise
                return None
            # A run that crashed may never have been written down; any other is, a moment after it has begun.
            is_written = found.data is not None or found.status == "crashed"
            return found if found.status in statuses and is_written else None

        return wait_until(there, seconds, f"execution {number} to be {' or '.join(statuses)}")

    def waiting(self, number):
        return self.when(number, "waiting")

    def ended(self, number, seconds=90):
        return self.when(number, "success", "error", "crashed", "canceled", seconds=seconds)

    def runs_of(self, made):
        """The executions of a workflow, newest first."""
        query = quote(json.dumps({"workflowId": made["id"]}))
        return self.rest("GET", f"/executions?filter={query}")["results"]

    def database(self, statement, *values):
        """n8n's own database: the one place that looks inside. Only while n8n is down, or for reading."""
        connection = sqlite3.connect(self.folder / ".n8n/database.sqlite", timeout=20)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


class Execution:
    """One run as n8n recorded it."""

    def __init__(self, found):
        self.id, self.status = found["id"], found["status"]
        self.wait_till, self.stopped_at = found.get("waitTill"), found.get("stoppedAt")
        self.data = unflattened(found["data"]) if isinstance(found["data"], str) else found["data"]

    @property
    def runs(self):
        return self.data["resultData"]["runData"]

    @property
    def error(self):
        return (self.data["resultData"].get("error") or {}).get("message")

    def ran(self, node):
        return node in self.runs

    def items(self, node, output=0, run=0, kind="main"):
        """The JSON of what a node put out."""
        outputs = self.runs[node][run].get("data", {}).get(kind) or []
        return [item["json"] for item in (outputs[output] or [])] if len(outputs) > output else []

    def item(self, node, **where):
        (only,) = self.items(node, **where)
        return only


def unflattened(text):
    """Reads the `flatted` format, in which n8n stores runs: strings inside stand for places in the list.

    None for an empty list, which stands there until n8n has written the run down.
    """
    places = json.loads(text)
    if not places:
        return None
    built = {}

    def at(place):
        if place in built:
            return built[place]
        value = places[place]
        if isinstance(value, dict):
            built[place] = made = {}
            made.update({name: inner(child) for name, child in value.items()})
            return made
        if isinstance(value, list):
            built[place] = made = []
            made.extend(inner(child) for child in value)
            return made
        built[place] = value
        return value

    def inner(child):
        return at(int(child)) if isinstance(child, str) else child

    return at(0)
