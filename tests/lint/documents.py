"""Checks that what the documents point at is there: relative links, their anchors, and paths of this repository.

    python3 tests/lint/documents.py           one line for each fault; exits with 1 if there is one
    python3 tests/lint/documents.py --list    the documents

Addresses on the web are not looked at.
"""

import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

# What is built or installed, or belongs to a tool.
SKIPPED = {".git", ".hypothesis", ".pytest_cache", "build", "cdk.out", "dist", "lib", "node_modules", "target"}

# A path in backticks is checked if it begins with one of these folders; others may belong to another project. It is
# meant from the top, or from the document's own folder.
TOP_FOLDERS = ("crates/", "docs/", "functions/", "infra/", "integrations/", "tests/", ".github/")

FENCE = re.compile(r"^ {0,3}(```+|~~~+)")
CODE = re.compile(r"(`+)(.+?)\1")
INLINE = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)")
HTML = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=[\"']([^\"']+)[\"']")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$")
ANCHOR = re.compile(r"<a\b[^>]*?\b(?:id|name)=[\"']([^\"']+)[\"']")
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
PATH = re.compile(r"[\w@./-]+")


def documents(root):
    """All Markdown files below `root`."""
    for folder, inner, files in os.walk(root):
        inner[:] = sorted(set(inner) - SKIPPED)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".md"))


def prose(text):
    """The lines outside of code blocks, with their numbers."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if fence is None and mark is None:
            yield number, line
        elif fence is None:
            fence = mark.group(1)
        elif mark is not None and mark.group(1).startswith(fence) and line.strip() == mark.group(1):
            fence = None


def slug(heading):
    """The anchor that GitHub gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors(path):
    """Everything in a document that a link may end in."""
    found, seen = set(), {}
    for _, line in prose(path.read_text(encoding="utf-8")):
        found.update(ANCHOR.findall(line))
        heading = HEADING.match(line)
        if heading is not None:
            name = slug(heading.group(1))
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
    return found


def links(line):
    """The targets of a line's links."""
    bare = CODE.sub("", line)
    return [*INLINE.findall(bare), *REFERENCE.findall(bare), *HTML.findall(bare)]


def named_paths(line):
    """Paths of this repository that a line names in backticks, without the line numbers or tests that may follow."""
    for _, code in CODE.findall(line):
        words = code.strip().split("::")[0]
        words = re.sub(r":\d+(-\d+)?$", "", words)
        if words.startswith(TOP_FOLDERS) and PATH.fullmatch(words):
            yield words


def link_fault(root, document, target):
    """Why a link leads nowhere; `None` if it does not, or leads out of the repository."""
    if SCHEME.match(target) or target.startswith("//"):
        return None
    name, _, anchor = target.partition("#")
    name = unquote(name)
    if name.startswith("/"):
        found = root / name[1:]
    else:
        found = document.parent / name if name else document
    if not found.resolve().is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not found.exists():
        return "does not exist"
    if anchor and found.suffix == ".md" and unquote(anchor) not in anchors(found):
        return "has no such heading"
    return None


def faults(root):
    """One sentence for each fault."""
    for document in documents(root):
        for number, line in prose(document.read_text(encoding="utf-8")):
            place = f"{document.relative_to(root)}:{number}"
            for target in links(line):
                fault = link_fault(root, document, target)
                if fault is not None:
                    yield f"{place}: `{target}` {fault}"
            for path in named_paths(line):
                if not (root / path).exists() and not (document.parent / path).exists():
                    yield f"{place}: `{path}` does not exist"


def main(arguments):
    root = Path(__file__).resolve().parents[2]
    if arguments == ["--list"]:
        print(*documents(root), sep="\n")
        return 0
    found = list(faults(root))
    print("\n".join(found) or f"{len(list(documents(root)))} documents: every link and path leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
