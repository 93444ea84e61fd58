"""Measures an older build beside this one, in turn, and prints both with their ratio.

    python3 tests/bench/paired.py --old REVISION [--pairs 5] [--only approvals,load,policy,start] [--seconds 3]

Each build is driven by its own `placet-bench`, so that the two may speak different contracts.
A pair is one round of the old build and one of the new; which goes first changes from pair to pair, so that a machine
that grows busy slows both. Shown are the medians over the pairs, and the median of the pairs' ratios (new / old).
Nothing asserts a time.

The old build is made in a worktree of its own under the target folder, which this script removes again;
`--old-programs DIR` and `--new-programs DIR` take folders with `placet` and `placet-bench` that are built already.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

Rows = dict[tuple[str, str], tuple[float, str]]


def build(checkout: Path, target: Path) -> Path:
    """Builds both programs of a checkout, and says in which folder they are."""
    command = ["cargo", "build", "--release", "-p", "placet", "-p", "placet-bench"]
    subprocess.run(command, cwd=checkout, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, check=True)
    return target / "release"


def build_revision(revision: str) -> Path:
    checkout = TARGET / "paired" / "checkout"
    subprocess.run(["git", "worktree", "add", "--force", "--detach", checkout, revision], cwd=ROOT, check=True)
    try:
        return build(checkout, TARGET / "paired" / "target")
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", checkout], cwd=ROOT, check=True)


def measure(programs: Path, only: str, seconds: int) -> Rows:
    command = [programs / "placet-bench", "--placet", programs / "placet", "--only", only]
    command += ["--seconds", str(seconds), "--rounds", "1", "--json", "--folder", TARGET]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return {(row["part"], row["what"]): (row["measured"], row["unit"]) for row in json.loads(said.stdout)["rows"]}


def better(unit: str, ratio: float) -> str:
    """In words, where the medians differ by a tenth or more: less is better but for rates."""
    if 0.9 < ratio < 1.1:
        return "as before"
    return "better" if (ratio > 1) == (unit == "/s") else "worse"


def table(old: list[Rows], new: list[Rows]) -> str:
    lines = [("part", "what", "old", "new", "new / old", "")]
    both = [key for key in new[0] if key in old[0]]
    for key in both:
        unit = new[0][key][1]
        before, after = [rows[key][0] for rows in old], [rows[key][0] for rows in new]
        ratio = median(b / a for a, b in zip(before, after, strict=True) if a)
        numbers = (f"{median(before):.3f} {unit}", f"{median(after):.3f} {unit}", f"{ratio:.2f}")
        lines.append((*key, *numbers, better(unit, ratio)))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    alone = [f"{part}: {what}" for part, what in dict.fromkeys([*old[0], *new[0]]) if (part, what) not in both]
    return text + ("\n\nmeasured by one of the two only: " + "; ".join(alone) if alone else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    old = parser.add_mutually_exclusive_group(required=True)
    old.add_argument("--old", metavar="REVISION", help="the revision to build and to compare with")
    old.add_argument("--old-programs", type=Path, metavar="DIR")
    parser.add_argument("--new-programs", type=Path, metavar="DIR")
    parser.add_argument("--only", default="approvals,load,policy,start")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    programs = [
        options.old_programs or build_revision(options.old),
        options.new_programs or build(ROOT, TARGET),
    ]
    measured: list[list[Rows]] = [[], []]
    for pair in range(options.pairs):
        print(f"pair {pair + 1} of {options.pairs}, load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            measured[side].append(measure(programs[side], options.only, options.seconds))
    print(table(*measured))


if __name__ == "__main__":
    main()
