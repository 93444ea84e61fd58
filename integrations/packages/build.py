"""Wraps prebuilt binaries of the `placet` command into every package that carries them.

    python3 integrations/packages/build.py --out DIR --binary TARGET=FILE [--notices TARGET=FILE] [--sbom TARGET=FILE] …

`TARGET` is a Rust target of targets.json; the same bytes go into all packages. Notices (the licences of what is linked)
and the bill of materials are what bill.py writes. `DIR` gets:

    npm/        placet-VERSION.tgz (the TypeScript client and the launcher), placet-cli-PLATFORM-VERSION.tgz (a binary)
    wheels/     placet-VERSION-….whl, one for each binary, and one for every platform without the command; the sdist
    archives/   placet-VERSION-TARGET.tar.gz (the binary, its licences, completions and manual pages if it runs here),
                and its bill of materials
    SHA256SUMS  of all of them

It needs npm, and `python -m build` with hatchling beside this Python. The TypeScript client is compiled with its own
packages: install them first (`npm ci` in integrations/agents/typescript), or pass a folder that has them.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TYPESCRIPT = ROOT / "integrations/agents/typescript"
PYTHON = ROOT / "integrations/agents/python"
TARGETS = json.loads(Path(__file__).with_name("targets.json").read_text())

DESCRIPTION = "The placet command for {}: installed by the package `placet`"


def version():
    """The one version of the crate, the npm package and the wheel."""
    crate = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    npm = json.loads((TYPESCRIPT / "package.json").read_text())["version"]
    wheel = tomllib.loads((PYTHON / "pyproject.toml").read_text())["project"]["version"]
    if not crate == npm == wheel:
        sys.exit(f"one version for all: Cargo.toml says {crate}, package.json {npm}, pyproject.toml {wheel}")
    return crate


def run(*command, cwd=None, env=None):
    """Runs a command; what it printed on standard output."""
    ran = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"`{' '.join(map(str, command))}` ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def glibc_of(binary):
    """The oldest glibc 2.x that has all that a binary asks for."""
    asked = {int(minor) for minor in re.findall(rb"\bGLIBC_2\.(\d+)\b", binary.read_bytes())}
    if not asked:
        sys.exit(f"{binary} asks for no glibc: is it another target's?")
    return max(asked)


def wheel_tag(target, binary):
    """For which platforms a binary's wheel is: on glibc by what the binary really asks for (PEP 600)."""
    about = TARGETS[target]
    if about.get("libc") != "glibc":
        return f"py3-none-{about['wheel']}"
    # 2.17 is the oldest glibc that Rust itself supports.
    return f"py3-none-manylinux_2_{max(17, glibc_of(binary))}_{about['wheel']}"


def licences(folder, notices):
    shutil.copy(ROOT / "LICENSE", folder)
    if notices is not None:
        shutil.copy(notices, folder / "THIRD-PARTY.md")


def npm_pack(folder, out):
    run("npm", "pack", "--silent", "--pack-destination", str(out), cwd=folder)


def npm_binary(scratch, out, target, binary, notices):
    """The package of one platform: a binary and its manifest."""
    about = TARGETS[target]
    folder = scratch / about["npm"]
    folder.mkdir()
    manifest = {
        "name": f"@placet/cli-{about['npm']}",
        "version": version(),
        "description": DESCRIPTION.format(about["npm"]),
        "license": "MIT",
        "files": ["placet", "THIRD-PARTY.md"],
        # Yarn would keep it in an archive, where nothing can be run.
        "preferUnplugged": True,
        "os": [about["os"]],
        "cpu": [about["cpu"]],
    }
    if "libc" in about:
        manifest["libc"] = [about["libc"]]
    (folder / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (folder / "README.md").write_text(f"# {manifest['name']}\n\n{manifest['description']}.\n")
    shutil.copy(binary, folder / "placet")
    (folder / "placet").chmod(0o755)
    licences(folder, notices)
    npm_pack(folder, out)
    return manifest["name"]


def npm_client(scratch, out, carriers, node_modules):
    """The client with the launcher, which names the packages of binaries that were built beside it, and no other."""
    folder = scratch / "client"
    folder.mkdir()
    for name in ("src", "bin"):
        shutil.copytree(TYPESCRIPT / name, folder / name)
    for name in ("README.md", "tsconfig.json", "tsconfig.build.json"):
        shutil.copy(TYPESCRIPT / name, folder)
    manifest = json.loads((TYPESCRIPT / "package.json").read_text())
    # Nothing of a checkout: no script runs where it is installed, and npm would look for what only tests need.
    for name in ("scripts", "devDependencies"):
        manifest.pop(name, None)
    manifest["optionalDependencies"] = dict.fromkeys(sorted(carriers), manifest["version"])
    (folder / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (folder / "node_modules").symlink_to(node_modules)
    run("node_modules/.bin/tsc", "-p", "tsconfig.build.json", cwd=folder)
    (folder / "node_modules").unlink()
    licences(folder, None)
    npm_pack(folder, out)


def wheels(scratch, out, binaries, notices_of):
    """A wheel for each binary, one without, and the source."""
    source = scratch / "python"
    shutil.copytree(PYTHON, source, ignore=shutil.ignore_patterns("__pycache__", "tests", "*.egg-info"))
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    shutil.copy(ROOT / "LICENSE", source)
    run(*build, str(source), env=clean)
    for target, binary in binaries.items():
        if target in notices_of:
            shutil.copy(notices_of[target], source / "LICENSE-THIRD-PARTY.md")
        named = {"PLACET_BINARY": str(binary), "PLACET_WHEEL_TAG": wheel_tag(target, binary)}
        run(*build, "--wheel", str(source), env=clean | named)


def completions(binary, folder):
    """Completions and manual pages, if the binary runs on this machine."""
    try:
        subprocess.run([binary, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return
    (folder / "completions").mkdir()
    for shell in ("bash", "zsh", "fish"):
        (folder / "completions" / f"placet.{shell}").write_text(run(binary, "completions", shell))
    run(binary, "man", "--all", str(folder / "man"))


def archive(scratch, out, target, binary, notices):
    name = f"placet-{version()}-{target}"
    folder = scratch / name
    folder.mkdir()
    shutil.copy(binary, folder / "placet")
    (folder / "placet").chmod(0o755)
    completions(binary, folder)
    licences(folder, notices)
    with tarfile.open(out / f"{name}.tar.gz", "w:gz") as file:
        file.add(folder, name)


def checksums(out):
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out)}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(lines))


def files(pairs, option):
    """What `TARGET=FILE` says, by target."""
    found = {}
    for pair in pairs:
        target, _, file = pair.partition("=")
        if target not in TARGETS or not Path(file).is_file():
            sys.exit(f"{option} {pair}: expected TARGET=FILE with one of {', '.join(TARGETS)} and a file that is there")
        found[target] = Path(file).resolve()
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, required=True, help="an empty or new folder")
    options.add_argument("--binary", action="append", required=True, metavar="TARGET=FILE")
    options.add_argument("--notices", action="append", default=[], metavar="TARGET=FILE")
    options.add_argument("--sbom", action="append", default=[], metavar="TARGET=FILE")
    options.add_argument("--node-modules", type=Path, default=TYPESCRIPT / "node_modules", metavar="DIR")
    options.add_argument("--tag", help="the tag that is released; it must name the version, such as v1.2.3")
    chosen = options.parse_args()
    if chosen.tag is not None and chosen.tag != f"v{version()}":
        sys.exit(f"the tag is {chosen.tag}, and the manifests say {version()}")
    binaries = files(chosen.binary, "--binary")
    notices = files(chosen.notices, "--notices")
    bills = files(chosen.sbom, "--sbom")
    if chosen.out.exists() and any(chosen.out.iterdir()):
        sys.exit(f"{chosen.out} is not empty")
    out = chosen.out.resolve()
    for name in ("npm", "wheels", "archives"):
        (out / name).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        carriers = [npm_binary(scratch, out / "npm", *one, notices.get(one[0])) for one in binaries.items()]
        npm_client(scratch, out / "npm", carriers, chosen.node_modules.resolve())
        wheels(scratch, out / "wheels", binaries, notices)
        for target, binary in binaries.items():
            archive(scratch, out / "archives", target, binary, notices.get(target))
            if target in bills:
                shutil.copy(bills[target], out / "archives" / f"placet-{version()}-{target}.cdx.json")
    checksums(out)
    print((out / "SHA256SUMS").read_text(), end="")


if __name__ == "__main__":
    main()
