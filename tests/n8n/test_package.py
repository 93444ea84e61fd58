"""The package itself: what n8n's verification looks at, and what goes into the tarball."""

import json
import re
import shutil
import subprocess
import tarfile

import pytest
from n8n_server import INSTALLED

PACKAGE = INSTALLED / "package"
SCANNER = INSTALLED / "scanner/node_modules/@n8n/scan-community-package/scanner/scanner.mjs"
SOURCE = ["package.json", "{nodes,credentials}/**/*.{js,ts,json}"]
TARBALL = ["**/*.js"]


def scanned(folder, patterns):
    """What n8n's own scanner finds; it needs no network for this."""
    program = f"""
        const {{ analyzePackage }} = await import({json.dumps(SCANNER.as_uri())});
        const found = await analyzePackage({json.dumps(str(folder))}, {json.dumps(patterns)});
        console.log("RESULT " + JSON.stringify(found));
    """
    ran = subprocess.run(["node", "--input-type=module", "-e", program], capture_output=True, text=True, timeout=300)
    result = re.search(r"^RESULT (.*)$", ran.stdout, re.MULTILINE)
    assert result, ran
    return json.loads(result.group(1))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    (tarball,) = PACKAGE.glob("n8n-nodes-placet-*.tgz")
    folder = tmp_path_factory.mktemp("tarball")
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def test_the_scanner_passes_the_source():
    assert scanned(PACKAGE, SOURCE) == {"passed": True}


def test_the_scanner_passes_the_tarball(unpacked):
    assert scanned(unpacked, TARBALL) == {"passed": True}


def test_the_scanner_would_find_a_fault(unpacked, tmp_path):
    """Or the two tests above would prove nothing."""
    faulty = tmp_path / "faulty"
    shutil.copytree(unpacked, faulty)
    node = faulty / "dist/nodes/Placet/wait.js"
    node.write_text(node.read_text() + "\nprocess.env.HOME;\nrequire('node:fs');\n")
    found = scanned(faulty, TARBALL)
    assert found["passed"] is False and "no-restricted-globals" in found["details"]


def test_the_package_is_strict_and_brings_nothing_along(unpacked):
    package = json.loads((unpacked / "package.json").read_text())
    assert package["n8n"]["strict"] is True and "dependencies" not in package
    assert package["peerDependencies"] == {"n8n-workflow": "*"}
    for path in package["n8n"]["nodes"] + package["n8n"]["credentials"]:
        assert (unpacked / path).exists()
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert {"README.md", "LICENSE.md", "dist/icons/placet.svg", "dist/icons/placet.dark.svg"} <= files
    assert not [name for name in files if name.endswith((".ts", ".tgz", ".png")) or "node_modules" in name]


def test_the_linters_settings_are_the_stock_ones():
    stock = "import { config } from '@n8n/node-cli/eslint';\n\nexport default config;\n"
    assert (PACKAGE / "eslint.config.mjs").read_text() == stock


def test_the_lock_file_names_no_addresses():
    assert '"resolved"' not in (PACKAGE / "package-lock.json").read_text()
