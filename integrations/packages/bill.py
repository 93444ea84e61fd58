"""What is linked into the `placet` command: the licences of it (THIRD-PARTY.md) and the bill of materials (CycloneDX).

    python3 integrations/packages/bill.py --target TARGET --notices FILE --sbom FILE [--features aws]

Both come from `cargo metadata`, and the licences from the sources that cargo has: whatever a target links, and nothing
that only builds or tests it. A crate that ships no licence text is named with its authors and its licence's name.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = re.compile(r"(licen[cs]e|copying|notice|unlicense)([-_.].*)?$", re.IGNORECASE)


def metadata(target, features):
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target}"]
    if features:
        command += ["--manifest-path", str(ROOT / "crates/placet/Cargo.toml"), f"--features={features}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


def linked(about):
    """The packages that `placet` links, with what each of them links."""
    packages = {package["id"]: package for package in about["packages"]}
    nodes = {node["id"]: node for node in about["resolve"]["nodes"]}
    first = next(id for id, package in packages.items() if package["name"] == "placet")
    found, waiting = {}, [first]
    while waiting:
        id = waiting.pop()
        if id in found:
            continue
        macro = any("proc-macro" in target["kind"] for target in packages[id]["targets"])
        # A macro runs while something is compiled: of what it uses nothing is linked.
        needs = [] if macro else [
            need["pkg"] for need in nodes[id]["deps"] if any(kind["kind"] is None for kind in need["dep_kinds"])
        ]  # fmt: skip
        found[id] = needs
        waiting += needs
    return packages, first, found


def texts(package):
    folder = Path(package["manifest_path"]).parent
    for path in sorted(folder.iterdir()):
        if path.is_file() and TEXT.match(path.name):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def notices(packages, ids):
    """Markdown: who wrote what is linked, and each licence text once."""
    users, without = {}, []
    ours = {package["id"] for package in packages.values() if package["source"] is None}
    for id in sorted(set(ids) - ours, key=lambda id: (packages[id]["name"], packages[id]["version"])):
        package = packages[id]
        name = f"{package['name']} {package['version']}"
        found = list(texts(package))
        for text in found:
            users.setdefault(text, []).append(name)
        if not found:
            without.append(f"- {name}: {package['license']}; {', '.join(package['authors']) or 'its contributors'}")
    parts = ["# What is linked into placet\n\nThe licences of the crates that the command is built from.\n"]
    if without:
        parts.append("## Without a text of their own\n\n" + "\n".join(without) + "\n")
    for text, names in sorted(users.items(), key=lambda item: item[1]):
        # A fence longer than any in the text.
        fence = "`" * (3 + max((len(run) for run in re.findall("`+", text)), default=0))
        parts.append(f"## {', '.join(names)}\n\n{fence}text\n{text}\n{fence}\n")
    return "\n".join(parts)


def component(package, kind):
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    made = {"type": kind, "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl}
    if package["license"]:
        made["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package.get("checksum"):
        made["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
    return made


def checksums():
    """What Cargo.lock says of each crate's archive."""
    text = (ROOT / "Cargo.lock").read_text()
    return {
        (name, version): checksum
        for name, version, checksum in re.findall(
            r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"', text
        )
    }


def sbom(packages, first, found):
    sums = checksums()
    for package in packages.values():
        package["checksum"] = sums.get((package["name"], package["version"]))
    ref = {id: component(packages[id], "library")["bom-ref"] for id in found}
    ids = sorted(found, key=lambda id: ref[id])
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[first], "application")},
        "components": [component(packages[id], "library") for id in ids if id != first],
        "dependencies": [{"ref": ref[id], "dependsOn": sorted({ref[need] for need in found[id]})} for id in ids],
    }
    # From the contents: the same sources give the same file.
    digest = hashlib.sha256(json.dumps(bill, sort_keys=True).encode()).hexdigest()
    variant = "89ab"[int(digest[16], 16) % 4]
    bill["serialNumber"] = (
        f"urn:uuid:{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
    )
    return bill


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--target", required=True)
    options.add_argument("--features", default="")
    options.add_argument("--notices", type=Path, required=True)
    options.add_argument("--sbom", type=Path, required=True)
    chosen = options.parse_args()
    packages, first, found = linked(metadata(chosen.target, chosen.features))
    chosen.notices.write_text(notices(packages, found), encoding="utf-8")
    chosen.sbom.write_text(json.dumps(sbom(packages, first, found), indent=2) + "\n", encoding="utf-8")
    print(f"{len(found) - 1} packages are linked for {chosen.target}", file=sys.stderr)


if __name__ == "__main__":
    main()
