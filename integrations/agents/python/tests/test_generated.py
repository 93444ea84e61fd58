"""The types that are made from the gate's OpenAPI document are what the document says."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from placet import Approval

AGENTS = Path(__file__).resolve().parents[2]


def test_the_files_are_what_the_generator_writes():
    ran = subprocess.run(
        [sys.executable, AGENTS / "scripts/generate_approval.py", "--check"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_an_approval_has_the_fields_of_the_document():
    document = json.loads((AGENTS.parents[1] / "crates/http/openapi.json").read_text())
    schema = document["components"]["schemas"]["Approval"]
    assert {field.name for field in fields(Approval)} == set(schema["properties"])
