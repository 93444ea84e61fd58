#!/usr/bin/env python3
"""Measures decision made → run completed, for our node and for n8n's Wait node. See README.md."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TESTS / "n8n")]
import conftest  # noqa: E402
from placet_client import wait_until  # noqa: E402
from workflows import no_op, node, placet, wired, workflow  # noqa: E402


def webhook(path):
    answer = "={{ JSON.stringify({ execution: $execution.id }) }}"
    parameters = {"path": path, "httpMethod": "POST", "responseMode": "onReceived", "options": {"responseData": answer}}
    return node("Webhook", "n8n-nodes-base.webhook", parameters, version=2, webhookId=str(uuid.uuid4()))


def begin(pair, step):
    """A workflow with this step in the middle, and how to start a run of it."""
    path = uuid.uuid4().hex[:12]
    pair.n8n.workflow(
        workflow([webhook(path), step, no_op("Next")], wired(("Webhook", step["name"]), (step["name"], "Next")))
    )

    def start():
        def posted():
            status, _, text = pair.n8n.send("POST", f"/webhook/{path}", {"amount": 5000})
            return json.loads(text) if status == 200 else None

        run = wait_until(posted, 60, "the webhook")
        # As `$execution.resumeUrl` says it inside the run.
        token = pair.n8n.waiting(run["execution"]).data["resumeToken"]
        return run | {"resume": f"/webhook-waiting/{run['execution']}?signature={token}"}

    return start


def completed(pair, number, since):
    """Milliseconds until n8n says that the run had stopped."""
    run = pair.n8n.ended(number)
    assert run.status == "success", run.error
    return (datetime.fromisoformat(run.stopped_at.replace("Z", "+00:00")).timestamp() - since) * 1000


def one_of_ours(pair, start):
    run = start()
    asked = next(
        one
        for one in pair.client.list(limit=100).json()["requests"]
        if one["metadata"]["execution_id"] == run["execution"]
    )
    link = pair.gate.link(asked, "bob")
    nonce = link.nonce()
    since = time.time()
    assert link.post("approve", nonce).status == 200
    return completed(pair, run["execution"], since)


def one_of_n8ns(pair, start):
    run = start()
    since = time.time()
    status, _, text = pair.n8n.send("POST", run["resume"], {"approved": True})
    assert status == 200, (status, text)
    return completed(pair, run["execution"], since)


# As n8n comes, and with the two settings that the package's README names.
SETTINGS = {
    "as it comes": {},
    "with both settings": {"N8N_EXPRESSION_ENGINE_POOL_SIZE": "3", "N8N_EXPRESSION_ENGINE_LAZY_ACQUIRE": "true"},
}


def measured(extra, runs):
    """Milliseconds of each run, by node, on one n8n that has these settings."""
    times = {"Placet": [], "n8n's Wait": []}
    with tempfile.TemporaryDirectory() as folder:
        pair = conftest.Pair(Path(folder) / "pair")
        pair.n8n.extra = extra
        try:
            pair.start()
            ours = begin(pair, placet(pair.credential, message="Pay", action="ask.pay"))
            theirs = {"resume": "webhook", "httpMethod": "POST", "options": {}}
            wait = begin(pair, node("Wait", "n8n-nodes-base.wait", theirs, version=1.1))
            for number in range(runs + 5):
                found = one_of_ours(pair, ours), one_of_n8ns(pair, wait)
                if number >= 5:  # the first ones warm n8n up
                    times["Placet"].append(found[0])
                    times["n8n's Wait"].append(found[1])
        finally:
            pair.close()
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each kind")
    runs = parser.parse_args().runs
    print(f"decision made → run completed, {runs} runs of each in turn\n")
    print("| n8n | node | p50 | p95 | best | p50 beside Wait |\n| --- | --- | --- | --- | --- | --- |")
    for settings, extra in SETTINGS.items():
        times = measured(extra, runs)
        wait = statistics.median(times["n8n's Wait"])
        for name, all_of_them in times.items():
            every = statistics.quantiles(all_of_them, n=100)
            shown = f"{every[49]:.0f} ms | {every[94]:.0f} ms | {min(all_of_them):.0f} ms | {every[49] / wait:.2f} ×"
            print(f"| {settings} | {name} | {shown} |", flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
