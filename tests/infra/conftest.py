"""The template as it is written, and as CloudFormation gets it after the SAM transform."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]


class NoManagedPolicies:
    """The template names none: a name that the translator would have to look up fails here."""

    def load(self) -> dict[str, str]:
        return {}


def transformed(template: dict[str, Any]) -> dict[str, Any]:
    """What CloudFormation makes of a SAM template. The functions' code is where `sam package` would have put it."""
    packaged = copy.deepcopy(template)
    for resource in packaged["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "code.zip"}
    return transform(packaged, {}, NoManagedPolicies())


@pytest.fixture(scope="session")
def written() -> dict[str, Any]:
    return yaml_parse((ROOT / "template.yaml").read_text())


@pytest.fixture(scope="session")
def deployed(written: dict[str, Any]) -> dict[str, Any]:
    return transformed(written)


@pytest.fixture(scope="session")
def resources(deployed: dict[str, Any]) -> dict[str, Any]:
    return deployed["Resources"]


@pytest.fixture(scope="session")
def synthesized() -> dict[str, Any]:
    """What `cdk synth` made of the example app."""
    return json.loads((ROOT / "infra" / "cdk.out" / "placet.template.json").read_text())
