"""What is linked into a function: what it does not need makes it larger, and reachable for nothing."""

from __future__ import annotations

import subprocess

import pytest
from conftest import ROOT


def crates_in(package: str) -> set[str]:
    """Names of the crates that a package is built from, as cargo resolves them for it alone."""
    command = ["cargo", "tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none"]
    said = subprocess.run([*command, "--format", "{p}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in said.splitlines() if line}


def test_the_rotation_holds_no_gate_and_reaches_only_secret_and_queue() -> None:
    found = crates_in("placet-rotate-secret")
    assert {name for name in found if name.startswith("placet-")} == {
        "placet-rotate-secret", "placet-aws", "placet-core",
    }  # fmt: skip
    assert {name for name in found if name.startswith("aws-sdk-")} == {"aws-sdk-secretsmanager", "aws-sdk-sqs"}
    assert not found & {"axum", "maud", "cel", "lambda_http"}


@pytest.mark.parametrize("name", ["request", "decide", "timeout-sweep"])
def test_no_function_holds_what_is_the_operators_or_the_local_gates(name: str) -> None:
    found = crates_in(f"placet-{name}")
    assert {"axum", "cel", "aws-sdk-dynamodb"} <= found
    # MCP's own SDK is the local gate's.
    assert "rmcp" not in found and ("placet-mcp" in found)
    assert not found & {"aws-config", "aws-sdk-cloudformation", "placet-sqlite", "rusqlite", "clap"}
