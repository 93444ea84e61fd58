"""An AWS on this machine: one `ministack` process on loopback, stopped by its own process id.

It checks signatures and evaluates policies (`AUTH`), so each function can do what its role in the template allows and no
more. Its functions are the real bootstraps, as processes of this machine.
"""

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config
from placet_client import wait_until
from receiver import free_port

REGION = "eu-central-1"
ACCOUNT = "000000000000"
# What ministack takes for the account's root: the operator who deploys.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class LocalAws:
    def __init__(self, folder, port=None):
        self.folder, self.port = Path(folder), port or free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.clients = {}
        self.lock = threading.Lock()

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # Not the caller's environment: the functions inherit this one, and must live on what the template gives them.
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder), "LANG": "C.UTF-8",
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": REGION, "MINISTACK_ACCOUNT_ID": ACCOUNT, "AUTH": "true", "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0", "LAMBDA_WARM_TTL_SECONDS": "60", "LOG_LEVEL": "INFO", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        with open(self.folder / "ministack.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ministack"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, env=environment, start_new_session=True,
            )  # fmt: skip
        atexit.register(self.stop)

        def ready():
            assert self.process.poll() is None, f"ministack ended with {self.process.returncode}: {self.log()[-2000:]}"
            try:
                with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        try:
            wait_until(ready, 60, "ministack")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends ministack, and the functions that it started: they are in its process group."""
        atexit.unregister(self.stop)
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(10)

    def log(self):
        return (self.folder / "ministack.log").read_text(errors="replace")

    def client(self, service):
        """A client as the account's root, without retries: what fails shall be seen."""
        with self.lock:
            if service not in self.clients:
                self.clients[service] = boto3.session.Session().client(
                    service, region_name=REGION, endpoint_url=self.endpoint, aws_access_key_id="test",
                    aws_secret_access_key="test",
                    config=Config(retries={"total_max_attempts": 1}, read_timeout=90, max_pool_connections=50),
                )  # fmt: skip
                self.clients[service].meta.events.register("before-send", over_tls)
            return self.clients[service]

    def client_as(self, service, session):
        """A client under other credentials."""
        made = boto3.session.Session().client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            config=Config(retries={"total_max_attempts": 1}),
            **session,
        )
        made.meta.events.register("before-send", over_tls)
        return made

    def operator_environment(self):
        """What an operator's shell has set: for `sam`, and for `placet … --aws`."""
        return {**CREDENTIALS, "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION, "AWS_ENDPOINT_URL": self.endpoint}

    def texts(self, phone):
        """Texts to that number so far, the oldest first."""
        with urllib.request.urlopen(f"{self.endpoint}/_ministack/sns/sms-messages", timeout=30) as answer:
            found = json.load(answer)["sms_messages"]
        return [text["Message"] for text in found.get(phone, [])]

    def mails(self, sender):
        """Mails that SES took from that address so far, the oldest first."""
        with urllib.request.urlopen(f"{self.endpoint}/_ministack/ses/messages", timeout=30) as answer:
            found = json.load(answer)
        listed = found.get("messages", found)
        mails = [mail for part in listed.values() for mail in part] if isinstance(listed, dict) else listed
        return [mail for mail in mails if sender in mail["Source"]]


def execution_session(configuration):
    """The credentials that a function runs under here: a session of its role, which ministack derives from the two names."""
    digest = hashlib.sha256(f"{configuration['FunctionArn']}:{configuration['Role']}".encode()).hexdigest()
    return {
        "aws_access_key_id": f"ASIA{digest[:16].upper()}",
        "aws_secret_access_key": hashlib.sha256(f"secret:{digest}".encode()).hexdigest(),
        "aws_session_token": hashlib.sha256(f"token:{digest}".encode()).hexdigest(),
    }


def over_tls(request, **_):
    """The template's policies refuse what does not come over TLS. Here there is none, so the proxy's header says so."""
    request.headers["X-Forwarded-Proto"] = "https"
