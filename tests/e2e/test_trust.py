"""The command over TLS of a private authority, behind a path of a proxy, beside a proxy that it must not use; and mail
servers as `placet doctor` finds them."""

import datetime
import http.client
import http.server
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from local_gate import BINARY, environment
from placet_client import new_id
from receiver import free_port


def run(*arguments, cwd, **variables):
    def theirs(name):
        return name.startswith("SSL_CERT") or name.lower().endswith("_proxy")

    env = {name: value for name, value in environment().items() if not theirs(name)} | variables
    return subprocess.run(
        [str(BINARY), *map(str, arguments)],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private authority, and a certificate of its for this machine: (the authority's file, a server's TLS context)."""
    folder = tmp_path_factory.mktemp("authority")
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name, key, issuer, issuer_key, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256())

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate(
        "Test authority", root_key, "Test authority", root_key, (x509.BasicConstraints(True, None), True)
    )
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.DNSName("gate.example.test"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
    )
    leaf = certificate(
        "127.0.0.1", key, "Test authority", root_key, (names, False), (x509.BasicConstraints(False, None), True)
    )
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.pem").write_bytes(
        leaf.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return folder / "root.pem", context


class Proxy:
    """A reverse proxy that strips a path, as nginx and Caddy do: `/path/x` goes to the gate's `/x`."""

    def __init__(self, gate, prefix, context=None):
        outer = self
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_any(self):
                outer.seen.append(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if not self.path.startswith(prefix + "/"):
                    self.answer(404, {}, b"outside of the gate")
                    return
                inner = http.client.HTTPConnection(gate.http.host, gate.http.port, timeout=40)
                headers = {
                    name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
                }
                inner.request(self.command, self.path[len(prefix) :], body, headers)
                answer = inner.getresponse()
                self.answer(answer.status, dict(answer.getheaders()), answer.read())
                inner.close()

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = do_any

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}{prefix}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def proxied(gate):
    made = []

    def make(prefix="", context=None):
        made.append(Proxy(gate, prefix, context))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def ask(url, secret, folder, **variables):
    command = ["request", "--client", "agent", "--action", "auto.approve", "--summary", "s", "--json", "--url", url]
    return run(*command, cwd=folder, PLACET_SECRET=secret, **variables)


def test_a_private_authority_is_trusted_where_it_is_named(agent, proxied, authority, tmp_path):
    root, context = authority
    proxy = proxied(context=context)
    refused = ask(proxy.url, agent.secret, tmp_path)
    assert refused.returncode == 3 and "certificate" in json.loads(refused.stdout)["error"]["message"], refused
    trusted = ask(proxy.url, agent.secret, tmp_path, SSL_CERT_FILE=str(root))
    assert trusted.returncode == 0 and json.loads(trusted.stdout)["status"] == "approved", trusted
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / "root.pem").write_bytes(root.read_bytes())
    assert ask(proxy.url, agent.secret, tmp_path, SSL_CERT_DIR=str(folder)).returncode == 0
    assert run("doctor", "--url", proxy.url, cwd=tmp_path, SSL_CERT_FILE=str(root)).returncode == 0


def test_a_trust_setting_that_cannot_be_read_is_said(agent, gate, tmp_path):
    for variables, word in (
        ({"SSL_CERT_FILE": str(tmp_path / "none.pem")}, "SSL_CERT_FILE"),
        ({"PLACET_TRUST": "everybody"}, "PLACET_TRUST"),
    ):
        ran = ask(gate.url, agent.secret, tmp_path, **variables)
        assert ran.returncode == 2 and word in json.loads(ran.stdout)["error"]["message"], ran


def test_a_gate_behind_a_path_is_reached_by_its_url(gate, agent, proxied, tmp_path):
    proxy = proxied("/tools/placet")
    for url in (proxy.url, proxy.url + "/"):
        ran = ask(url, agent.secret, tmp_path)
        assert ran.returncode == 0 and json.loads(ran.stdout)["status"] == "approved", ran
    assert all(path.startswith("/tools/placet/v1/") for path in proxy.seen), proxy.seen
    name = new_id()
    variables = {"PLACET_SECRET": agent.secret}
    where = ["--url", proxy.url, "--client", "agent", "--json"]
    asked = run(
        "request", "--action", "ask.x", "--summary", "s", "--request-id", name, *where, cwd=tmp_path, **variables
    )
    assert json.loads(asked.stdout)["status"] == "pending"
    assert json.loads(run("show", name, *where, cwd=tmp_path, **variables).stdout)["approval"]["request_id"] == name
    assert json.loads(run("cancel", name, *where, cwd=tmp_path, **variables).stdout)["status"] == "cancelled"
    token = json.loads(ask(proxy.url, agent.secret, tmp_path).stdout)["token"]
    assert json.loads(run("token", "verify", token, *where, cwd=tmp_path, **variables).stdout)["valid"] is True
    assert run("doctor", "--url", proxy.url, cwd=tmp_path).returncode == 0


def test_a_proxy_of_the_environment_does_not_catch_this_machine(gate, agent, tmp_path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    ran = ask(
        gate.url,
        agent.secret,
        tmp_path,
        HTTP_PROXY=nowhere,
        HTTPS_PROXY=nowhere,
        ALL_PROXY=nowhere,
        http_proxy=nowhere,
        all_proxy=nowhere,
    )
    assert ran.returncode == 0, ran


class Tunnels:
    """A forward proxy that connects everybody to one port, whatever name they ask for (RFC 9110, section 9.3.6)."""

    def __init__(self, port):
        self.port, self.asked = port, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:secret@127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            self.asked.append(head.decode())
            gate = socket.create_connection(("127.0.0.1", self.port))
            client.sendall(b"HTTP/1.1 200 ok\r\n\r\n")
            for one, other in ((client, gate), (gate, client)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        try:
            while part := one.recv(65536):
                other.sendall(part)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.socket.close()


def test_a_gate_elsewhere_is_reached_through_the_proxy_of_the_environment(agent, proxied, authority, tmp_path):
    root, context = authority
    tunnels = Tunnels(proxied(context=context).server.server_address[1])
    try:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            ran = ask(
                "https://gate.example.test", agent.secret, tmp_path, SSL_CERT_FILE=str(root), **{name: tunnels.url}
            )
            assert ran.returncode == 0 and json.loads(ran.stdout)["status"] == "approved", ran
        assert all(head.startswith("CONNECT gate.example.test:443 ") for head in tunnels.asked), tunnels.asked
        assert all("proxy-authorization: basic dxnlcjpzzwnyzxq=" in head.lower() for head in tunnels.asked), (
            tunnels.asked
        )
        before = len(tunnels.asked)
        left_out = {"HTTPS_PROXY": tunnels.url, "NO_PROXY": "example.test"}
        assert (
            ask("https://gate.example.test", agent.secret, tmp_path, SSL_CERT_FILE=str(root), **left_out).returncode
            == 3
        )
        assert len(tunnels.asked) == before
    finally:
        tunnels.close()


# ---------------------------------------------------------------- mail


class MailServer:
    """As much of RFC 5321 as a client says before it sends mail. Keeps what it was told."""

    def __init__(self, context=None, greeting=b"220 mail.test ESMTP\r\n", login=None):
        self.said, self.context, self.greeting, self.login = [], context, greeting, login
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            try:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                self.talk(connection)
            except OSError:
                pass
            finally:
                connection.close()

    def talk(self, connection):
        connection.sendall(self.greeting)
        for line in connection.makefile("rb"):
            self.said.append(line.decode().strip())
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                connection.sendall(b"250-mail.test\r\n250 AUTH PLAIN\r\n" if self.login else b"250 mail.test\r\n")
            elif verb == b"AUTH":
                connection.sendall(b"235 welcome\r\n" if self.login in line else b"535 who are you\r\n")
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 ok\r\n")

    def close(self):
        self.socket.close()


def doctor_on_mail(gate, url, **variables):
    ran = run(
        "doctor",
        "--data",
        gate.data,
        cwd=gate.folder,
        PLACET_SMTP_URL=url,
        PLACET_MAIL_FROM="gate@example.com",
        **variables,
    )
    lines = [line for line in ran.stdout.splitlines() if "mail server" in line]
    assert len(lines) == 1, ran
    return ran.returncode, lines[0]


def test_doctor_says_ehlo_to_the_mail_server(gate):
    server = MailServer()
    try:
        code, line = doctor_on_mail(gate, f"smtp://127.0.0.1:{server.port}")
        assert code == 0 and line.startswith("ok") and f"127.0.0.1:{server.port}" in line, line
        assert server.said[0].startswith("EHLO"), server.said
        assert not any(word in " ".join(server.said).upper() for word in ("MAIL FROM", "RCPT", "DATA"))
    finally:
        server.close()


def test_doctor_says_why_a_mail_server_cannot_be_used(gate):
    closed = free_port()
    code, line = doctor_on_mail(gate, f"smtp://127.0.0.1:{closed}")
    assert code == 1 and line.startswith("fail") and "refused" in line.lower(), line
    busy = MailServer(greeting=b"421 too busy\r\n")
    try:
        code, line = doctor_on_mail(gate, f"smtp://127.0.0.1:{busy.port}")
        assert code == 1 and line.startswith("fail"), line
    finally:
        busy.close()


def test_doctor_checks_the_mail_servers_certificate(gate, authority):
    root, context = authority
    server = MailServer(context=context)
    try:
        code, line = doctor_on_mail(gate, f"smtps://127.0.0.1:{server.port}")
        assert code == 1 and "certificate" in line.lower(), line
        code, line = doctor_on_mail(gate, f"smtps://127.0.0.1:{server.port}", SSL_CERT_FILE=str(root))
        assert code == 0 and line.startswith("ok"), line
    finally:
        server.close()


def test_doctor_logs_in_and_never_prints_the_password(gate, authority):
    root, context = authority
    # `\0user\0p@ss` in base64, as AUTH PLAIN says it (RFC 4616).
    server = MailServer(context=context, login=b"AHVzZXIAcEBzcw==")
    try:
        code, line = doctor_on_mail(gate, f"smtps://user:p%40ss@127.0.0.1:{server.port}", SSL_CERT_FILE=str(root))
        assert code == 0 and line.startswith("ok"), line
        code, line = doctor_on_mail(gate, f"smtps://user:hunter2@127.0.0.1:{server.port}", SSL_CERT_FILE=str(root))
        assert code == 1 and "percent-encoded" in line and "hunter2" not in line, line
    finally:
        server.close()


def test_doctor_sends_no_password_without_tls(gate):
    server = MailServer(login=b"AHVzZXIAcEBzcw==")
    try:
        code, line = doctor_on_mail(gate, f"smtp://user:p%40ss@127.0.0.1:{server.port}")
        assert code == 1 and "TLS" in line, line
        assert not any("AUTH" in said for said in server.said), server.said
    finally:
        server.close()


def test_doctor_on_a_disk_says_how_much_is_free(gate):
    assert re.search(r"^(ok|warn) .*disk .*MiB", gate.cli("doctor").stdout, re.M)
    assert os.path.exists(gate.data)
