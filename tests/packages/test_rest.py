"""What is the same for all packages, the archive, `cargo install`, the image."""

import hashlib
import json
import os
import re
import sys
import tarfile
from pathlib import Path

from conftest import PACKAGES, ROOT, run
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def test_every_package_has_the_binarys_version(built, binary):
    version = run(binary, "--version").stdout.split()[1]
    names = {file.name for file in built.rglob("*") if file.is_file() and file.name != "SHA256SUMS"}
    assert names and all(f"-{version}" in name for name in names)


def test_the_checksums_are_of_all_files(built):
    lines = (built / "SHA256SUMS").read_text().splitlines()
    said = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = {str(file.relative_to(built)): file for file in built.rglob("*") if file.is_file()}
    del there["SHA256SUMS"]
    assert said == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in there.items()}


def test_the_archive_has_what_a_person_unpacks(built, tmp_path):
    (file,) = (built / "archives").glob("*.tar.gz")
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} == {"LICENSE", "THIRD-PARTY.md", "completions", "man", "placet"}
    assert "approved by bob" in run(folder / "placet", "demo", "--decide", "approve").stdout


def test_the_notices_name_what_is_linked_and_nothing_that_only_builds(bill):
    text = (bill / "THIRD-PARTY.md").read_text()
    for name in ("rusqlite", "rustls", "tokio", "ring"):
        assert re.search(rf"\b{name} \d", text), name
    for name in ("proptest", "cc", "syn", "placet-core"):
        assert not re.search(rf"(?<![\w-]){name} \d", text), name
    assert "Permission is hereby granted" in text


def test_the_bill_of_materials_is_what_its_specification_says(bill):
    text = (bill / "placet.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    read = json.loads(text)
    listed = {part["purl"]: part for part in read["components"]}
    sqlite = next(part for purl, part in listed.items() if purl.startswith("pkg:cargo/libsqlite3-sys@"))
    assert re.fullmatch("[0-9a-f]{64}", sqlite["hashes"][0]["content"])
    refs = {part["bom-ref"] for part in read["components"]} | {read["metadata"]["component"]["bom-ref"]}
    assert {line["ref"] for line in read["dependencies"]} == refs


def test_the_images_are_made_as_their_linter_wants():
    run(Path(sys.executable).with_name("hadolint"), *sorted((ROOT / "infra").glob("*Containerfile")))


def test_a_binary_that_is_not_there_is_no_package(tmp_path):
    for wrong in ("x86_64-unknown-linux-gnu=/nowhere", "wasm32-unknown-unknown=/bin/sh", "/bin/sh"):
        ran = run(sys.executable, PACKAGES / "build.py", "--out", tmp_path / "out", "--binary", wrong, code=1)
        assert "expected TARGET=FILE" in ran.stderr


def test_a_tag_of_another_version_is_not_released(tmp_path, target, binary):
    ran = run(sys.executable, PACKAGES / "build.py", "--out", tmp_path / "out", "--binary", f"{target}={binary}",
        "--tag", "v99.0.0", code=1)  # fmt: skip
    assert "the tag is v99.0.0" in ran.stderr


def test_the_release_builds_every_target_that_a_package_is_for():
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    targets = set(json.loads((PACKAGES / "targets.json").read_text()))
    assert set(re.findall(r"\{ target: (\S+),", workflow)) == targets
    (wrapped,) = re.findall(r"for target in (.*?); do", workflow, re.DOTALL)
    assert set(wrapped.replace("\\", " ").split()) == targets


def test_cargo_installs_it_from_a_checkout(tmp_path):
    """In the profile of the tests, so that what they have compiled is taken."""
    run("cargo", "install", "--quiet", "--locked", "--debug", "--path", "crates/placet", "--root", tmp_path,
        cwd=ROOT, env=dict(os.environ))  # fmt: skip
    assert "approved by bob" in run(tmp_path / "bin/placet", "demo", "--decide", "approve").stdout
