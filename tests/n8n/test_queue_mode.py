"""Queue mode: a main process takes the callbacks, workers run the runs. Beside ours stands n8n's own Wait node.

n8n keeps its queue in a redis, Debian's here. Its database is the SQLite file of the other tests, which n8n allows with
a warning.
"""

import atexit
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import Pair
from n8n_server import N8N, NODE
from placet_client import wait_until
from receiver import free_port
from story import Story
from test_drawings import ask, drawn, n8ns_wait, resume
from workflows import no_op

ITEM = {"to": "acme@example.com", "amount": 5000}
# The same program as `redis-server`, by the name it has in the package without a service.
REDIS = shutil.which("redis-server") or shutil.which("redis-check-rdb")


class Redis:
    def __init__(self, folder):
        self.port = free_port()
        arguments = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)
        ]  # fmt: skip
        self.process = subprocess.Popen(arguments, executable=REDIS, stdout=subprocess.DEVNULL)
        atexit.register(self.close)

    def close(self):
        atexit.unregister(self.close)
        self.process.kill()
        self.process.wait(20)


class Worker:
    """`n8n worker`, on the folder of a main process."""

    def __init__(self, n8n):
        self.n8n, self.process = n8n, None
        self.log = Path(n8n.folder) / "worker.log"

    def start(self):
        port = free_port()
        environment = self.n8n.environment() | {
            "N8N_RUNNERS_BROKER_PORT": str(free_port()), "QUEUE_HEALTH_CHECK_ACTIVE": "true",
            "QUEUE_HEALTH_CHECK_PORT": str(port), "N8N_WORKER_SERVER_ADDRESS": "127.0.0.1",
        }  # fmt: skip
        before = self.log.read_text().count("ready") if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(NODE), str(N8N), "worker", "--concurrency=4"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.n8n.folder, env=environment, start_new_session=True,
            )  # fmt: skip
        atexit.register(self.kill)

        def ready():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            return self.log.read_text().count("ready") > before

        wait_until(ready, 180, "the worker to be ready")
        return self

    def kill(self):
        atexit.unregister(self.kill)
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(20)


@pytest.fixture(scope="module")
def queue_pair(tmp_path_factory):
    if REDIS is None:
        pytest.fail("no redis: tests/run n8n-queue installs Debian's redis-tools")
    folder = tmp_path_factory.mktemp("queue")
    redis = Redis(folder)
    pair = Pair(folder / "pair")
    pair.n8n.extra = {
        "EXECUTIONS_MODE": "queue", "QUEUE_BULL_REDIS_HOST": "127.0.0.1", "QUEUE_BULL_REDIS_PORT": str(redis.port),
        "OFFLOAD_MANUAL_EXECUTIONS_TO_WORKERS": "false",
    }  # fmt: skip
    pair.worker = Worker(pair.n8n)
    try:
        pair.start()
        pair.worker.start()
        yield pair
    finally:
        pair.worker.kill()
        pair.close()
        redis.close()


@pytest.mark.parametrize("on_error", [None, "continueErrorOutput"])
def test_a_worker_asks_and_a_worker_goes_on(queue_pair, on_error):
    story = Story.begin(queue_pair, [{"n": 0}, {"n": 1}], on_error=on_error)
    first, second = story.asked(2)
    story.waiting()
    story.approve(first)
    (story.approve if on_error is None else story.reject)(second)
    run = story.ended()
    assert run.status == "success" and [item["n"] for item in run.items("Pay")] == ([0, 1] if on_error is None else [0])
    assert run.items("Pay")[0]["approved"] is True


def test_a_refusal_stops_the_run(queue_pair):
    story = Story.begin(queue_pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    story.reject(asked)
    run = story.ended()
    assert run.status == "error" and run.error == "Not approved: rejected by bob: too expensive" and not run.ran("Pay")


def ours_and_theirs(pair):
    """Two runs that wait: one at our step, one at n8n's own Wait; and how each is let go on."""
    ours = Story.begin(pair, [ITEM])
    theirs = drawn(pair, [n8ns_wait("Wait"), no_op("Pay")], [("Each", "Wait"), ("Wait", "Pay")])
    (asked,) = ours.asked()
    ours.waiting()
    waiting = theirs.waiting()
    return ours, theirs, lambda: (ours.approve(asked), resume(pair, waiting))


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "not yet replaced"])
def test_a_worker_that_is_killed_while_a_run_waits_fares_as_with_n8ns_own_wait(queue_pair, replaced):
    """n8n may call the runs of a killed worker crashed, its own Wait's as well. Nothing is run twice, or without a yes."""
    ours, theirs, go_on = ours_and_theirs(queue_pair)
    queue_pair.worker.kill()
    if replaced:
        queue_pair.worker.start()
    go_on()
    if not replaced:
        queue_pair.worker.start()
    our_run, their_run = (queue_pair.n8n.ended(story.number, seconds=240) for story in (ours, theirs))
    assert our_run.status == "success" or (our_run.status, their_run.status) == ("crashed", "crashed")
    for run in (our_run, their_run):
        assert len(run.runs.get("Pay", [])) == (1 if run.status == "success" else 0)


def test_a_main_process_that_is_killed_while_a_run_waits_costs_no_decision(queue_pair):
    story = Story.begin(queue_pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    queue_pair.n8n.kill()
    story.approve(asked)
    queue_pair.n8n.start()
    run = queue_pair.n8n.ended(story.number, seconds=240)
    assert run.status == "success" and run.item("Pay")["approved"] is True


def test_two_steps_of_one_run_ask_in_turn(queue_pair):
    story = drawn(
        queue_pair,
        [ask(queue_pair, "First"), ask(queue_pair, "Second"), no_op("Pay")],
        [("Each", "First"), ("First", "Second"), ("Second", "Pay")],
    )
    for count in (1, 2):
        asked = story.asked(count)
        story.waiting()
        story.approve(next(one for one in asked if one["status"] == "pending"))
    assert story.ended().status == "success"
