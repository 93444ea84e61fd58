"""The store by itself: the contract and the random histories that SQLite passes, over this AWS's DynamoDB."""

import os
import subprocess
from pathlib import Path

import pytest
from local_aws import LocalAws

ROOT = Path(__file__).resolve().parents[2]
TEST = ["cargo", "test", "--quiet", "-p", "placet-aws", "--features", "gate", "--test", "store_over_aws"]


@pytest.fixture
def aws(tmp_path):
    """One for itself: this keeps it busy."""
    running = LocalAws(tmp_path / "aws").start()
    yield running
    running.stop()


def test_it_passes_the_contract_and_the_histories(aws):
    environment = {"PROPTEST_CASES": "12", **os.environ, **aws.operator_environment()}
    done = subprocess.run(
        TEST, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    # All of them: a filter that matches nothing succeeds as well.
    assert "test result: ok. 58 passed; 0 failed; 0 ignored" in done.stdout
