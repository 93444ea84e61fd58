"""The CDK construct and the template are one thing: the same resources, after the SAM transform of each."""

from __future__ import annotations

import re
from typing import Any

from conftest import transformed

# What the CDK adds to every stack, and what only a template that is deployed by hand needs.
OF_THE_CDK = {"Resources": {"CDKMetadata"}, "Conditions": {"CDKMetadataAvailable"}}


def with_defaults(value: Any, defaults: dict[str, Any]) -> Any:
    """The same, with each parameter's default in its place."""
    if isinstance(value, list):
        return [with_defaults(each, defaults) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": str(name)} if name in defaults:
            return defaults[name]
        case {"Fn::Sub": str(text)}:
            return {"Fn::Sub": re.sub(r"\$\{(\w+)\}", lambda m: str(defaults.get(m[1], m[0])), text)}
        case _:
            return {key: with_defaults(each, defaults) for key, each in value.items()}


def normal(value: Any) -> Any:
    """The same, in one spelling of what CloudFormation takes in two."""
    if isinstance(value, list):
        return [normal(each) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Fn::GetAtt": str(path)}:
            return {"Fn::GetAtt": path.split(".", 1)}
        case {"DependsOn": str(name), **rest}:
            return normal({**rest, "DependsOn": [name]})
        case _:
            return {key: normal(each) for key, each in value.items()}


def parts(template: dict[str, Any], section: str) -> dict[str, Any]:
    return {name: normal(part) for name, part in template[section].items() if name not in OF_THE_CDK.get(section, ())}


def test_cdk_and_sam_deploy_the_same(written: dict[str, Any], synthesized: dict[str, Any]) -> None:
    defaults = {name: parameter["Default"] for name, parameter in written["Parameters"].items()}
    by_sam = {
        key: value for key, value in with_defaults(written, defaults).items() if key not in ("Parameters", "Rules")
    }
    by_sam, by_cdk = transformed(by_sam), transformed(synthesized)
    for section in ("Conditions", "Resources", "Outputs"):
        ours, theirs = parts(by_sam, section), parts(by_cdk, section)
        assert sorted(ours) == sorted(theirs)
        for name, part in ours.items():
            assert part == theirs[name], f"{section}: {name}"
    assert len(by_sam["Resources"]) > 60


def test_the_example_uses_the_construct_as_it_is_published(synthesized: dict[str, Any]) -> None:
    codes = [
        resource["Properties"]["CodeUri"]
        for resource in synthesized["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    ]
    assert len(codes) == 4
    assert all(code["Key"].endswith(".zip") and "cdk-" in str(code["Bucket"]) for code in codes)
