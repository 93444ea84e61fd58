"""`/metrics`, scraped by a real Prometheus."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from placet_client import Http, wait_until

CACHE = Path(os.environ.get("PLACET_CACHE", Path.home() / ".cache" / "placet"))
PROMETHEUS = Path(os.environ.get("PLACET_PROMETHEUS", CACHE / "prometheus" / "usr" / "bin" / "prometheus"))


@pytest.fixture
def measured(local_gate):
    """A gate with metrics, on which one of each kind has ended."""
    gate = local_gate(arguments=["--metrics", "127.0.0.1:0"]).start()
    out = gate.folder / f"stdout.{gate.runs}"
    line = wait_until(lambda: re.search(r"^metrics (http://\S+)$", out.read_text(), re.MULTILINE), 10, "its line")
    gate.metrics = line.group(1)
    agent = gate.client("agent")
    for number in range(3):
        asked = agent.asked("ask.pay", payload={"number": number})
        link = gate.link(asked, "bob")
        link.approve() if number else link.reject()
    agent.asked("auto.approve")
    agent.with_secret("whsec_" + "0" * 64).list()
    return gate


def scrape(gate):
    parts = urlsplit(gate.metrics)
    return Http(parts.hostname, parts.port).send("GET", parts.path)


def test_the_text_is_openmetrics_and_names_nobody(measured):
    answer = scrape(measured)
    assert answer.status == 200 and answer.content_type.startswith("application/openmetrics-text"), answer
    text = answer.text
    assert text.endswith("# EOF\n")
    labels = {label for block in re.findall(r"\{(.*?)\}", text) for label in re.findall(r'(\w+)="', block)}
    assert labels <= {"rule", "outcome", "channel", "le"}, labels
    for name in ("bob", "agent", "example.com"):
        assert name not in text
    assert 'placet_outcomes_total{rule="people",outcome="approved"} 2' in text, text
    assert 'placet_outcomes_total{rule="people",outcome="rejected"} 1' in text, text
    assert "placet_requests_total 4" in text and "placet_bad_signatures_total 1" in text
    assert "placet_time_to_open_seconds_count 3" in text


def test_it_has_a_listener_of_its_own(measured):
    assert measured.http.send("GET", "/metrics").status == 404
    parts = urlsplit(measured.metrics)
    metrics = Http(parts.hostname, parts.port)
    for path in ("/", "/healthz", "/v1/requests", "/.well-known/jwks.json"):
        assert metrics.send("GET", path).status == 404, path
    assert metrics.send("POST", "/metrics").status == 405


def test_a_port_that_is_taken_is_a_fault_before_anything_serves(local_gate):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gate = local_gate(arguments=["--metrics", f"127.0.0.1:{taken.getsockname()[1]}"])
        with pytest.raises(AssertionError, match="the gate ended with 3"):
            gate.start()
    assert not (gate.data / "serving.lock").exists() or "ready" not in (gate.folder / "stdout.1").read_text()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.skipif(not PROMETHEUS.exists(), reason=f"no Prometheus at {PROMETHEUS}")
def test_a_real_prometheus_scrapes_it(measured, tmp_path):
    config = tmp_path / "prometheus.yml"
    target = urlsplit(measured.metrics).netloc
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"  - job_name: placet\n    static_configs: [{{targets: ['{target}']}}]\n"
    )
    port = free_port()
    server = subprocess.Popen(
        [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        http = Http("127.0.0.1", port)

        def value(query):
            try:
                answer = http.send("GET", f"/api/v1/query?query={query}", fresh=True)
                found = json.loads(answer.text)["data"]["result"]
            except (OSError, ValueError, KeyError):
                return None
            return float(found[0]["value"][1]) if found else None

        up = wait_until(lambda: value("up"), 60, "a scrape that was understood")
        assert up == 1
        approved = 'placet_outcomes_total%7Brule="people",outcome="approved"%7D'.replace('"', "%22")
        assert wait_until(lambda: value(approved), 20, "the outcomes") == 2
        assert value("placet_time_to_decide_seconds_count") == 4
    finally:
        server.terminate()
        server.wait(20)
