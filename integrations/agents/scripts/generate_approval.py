"""Writes the `Approval` types of both packages from the gate's OpenAPI document. `--check` only compares.

Reads `crates/http/openapi.json`; writes `python/src/placet/approval_wire.py` and `typescript/src/approval-wire.ts`. Run
it again whenever that document changes: the tests of both packages fail until it has been run.
"""

import json
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[2] / "crates/http/openapi.json"
PYTHON = HERE.parent / "python/src/placet/approval_wire.py"
TYPESCRIPT = HERE.parent / "typescript/src/approval-wire.ts"

NOTE = "Generated from crates/http/openapi.json by integrations/agents/scripts/generate_approval.py: do not edit."
# Names of the document that read better otherwise in a client.
RENAMED = {"VoteView": "Vote"}


class Field:
    """One property of an approval, as the two languages need it."""

    def __init__(self, name, schema, required):
        self.name, self.schema = name, schema
        kinds = schema.get("type", [])
        self.kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        self.nullable = not required or "null" in self.kinds
        self.text = " ".join(schema.get("description", "").split())

    def reference(self):
        found = self.schema.get("$ref") or self.schema.get("items", {}).get("$ref")
        return None if found is None else found.rsplit("/", 1)[1]

    def kind(self):
        """`string`, `integer`, `boolean`, `map`, `texts`, or the name of another schema, with `[]` for a list of it."""
        if "$ref" in self.schema:
            return self.reference()
        (kind,) = [one for one in self.kinds if one != "null"]
        if kind == "array":
            return f"{self.reference()}[]" if self.reference() else "texts"
        if kind == "object":
            return "map" if self.schema.get("additionalProperties") else "object"
        return kind


def fields_of(document, name):
    schema = document["components"]["schemas"][name]
    required = set(schema.get("required", []))
    found = [Field(key, value, key in required) for key, value in schema["properties"].items()]
    # Python wants the fields without a default first; within each group the document's order is kept.
    return sorted(found, key=lambda field: field.nullable)


def names_of(document, name):
    return document["components"]["schemas"][name]["enum"]


def python(document):
    kinds = {
        "string": "str",
        "integer": "int",
        "boolean": "bool",
        "map": "Mapping[str, str]",
        "object": "Mapping[str, Any]",
        "texts": "tuple[str, ...]",
    }

    def kind(field):
        found = field.kind()
        if found in kinds:
            return kinds[found]
        return "tuple[Vote, ...]" if found == "VoteView[]" else RENAMED.get(found, found)

    def record(head, source, lead, typed_dict=False):
        lines = [*head, f'    """{lead}"""', ""]
        for field in fields_of(document, source):
            lines += textwrap.wrap(field.text, 118, initial_indent="    # ", subsequent_indent="    # ")
            if typed_dict:
                lines.append(f"    {field.name}: {kind(field)}{' | None' if field.nullable else ''}")
            elif field.name == "token":
                lines.append(f"    {field.name}: {kind(field)} | None = field(default=None, repr=False)")
            elif field.nullable:
                lines.append(f"    {field.name}: {kind(field)} | None = None")
            else:
                lines.append(f"    {field.name}: {kind(field)}")
        return lines

    statuses = names_of(document, "Status")
    return "\n".join([
        f'"""{NOTE}"""', "", "from __future__ import annotations", "", "from collections.abc import Mapping",
        "from dataclasses import dataclass, field", "from typing import Any, Literal, TypedDict", "",
        f"Status = Literal[{', '.join(json.dumps(one) for one in statuses)}]",
        f"STATUSES: tuple[str, ...] = ({', '.join(json.dumps(one) for one in statuses)})", "", "",
        *record(["class Vote(TypedDict):"], "VoteView", "One reviewer's word.", typed_dict=True), "", "",
        *record(["@dataclass(frozen=True)", "class ApprovalFields:"], "Approval", "What every response, callback and hook carries. The token is left out of the `repr`."), "",
    ])  # fmt: skip


def typescript(document):
    kinds = {
        "string": "string",
        "integer": "number",
        "boolean": "boolean",
        "map": "Record<string, string>",
        "object": "Record<string, unknown>",
        "texts": "string[]",
    }

    def kind(field):
        found = field.kind()
        if found in kinds:
            return kinds[found]
        return "Vote[]" if found == "VoteView[]" else RENAMED.get(found, found)

    def record(name, source, lead):
        lines = [f"/** {lead} */", f"export interface {name} {{"]
        for field in fields_of(document, source):
            wrapped = textwrap.wrap(field.text, 110)
            if len(wrapped) == 1:
                lines.append(f"  /** {wrapped[0]} */")
            elif wrapped:
                lines += ["  /**", *(f"   * {line}" for line in wrapped), "   */"]
            lines.append(f"  {field.name}: {kind(field)}{' | null' if field.nullable else ''};")
        return [*lines, "}"]

    statuses = names_of(document, "Status")
    nullable = [field.name for field in fields_of(document, "Approval") if field.nullable]
    return "\n".join([
        f"/** {NOTE} */", "",
        f"export const STATUSES = [{', '.join(repr(one) for one in statuses)}] as const;", "",
        "export type Status = (typeof STATUSES)[number];", "",
        "/** The fields that may be missing on the wire, or null: a reader makes them null. */",
        f"export const NULLABLE = [{', '.join(repr(one) for one in nullable)}] as const;", "",
        *record("Vote", "VoteView", "One reviewer's word."), "",
        *record("Approval", "Approval", "An approval: what every response, callback and hook carries."), "",
    ])  # fmt: skip


def main():
    document = json.loads(DOCUMENT.read_text())
    stale = []
    for file, text in ((PYTHON, python(document)), (TYPESCRIPT, typescript(document))):
        if "--check" not in sys.argv[1:]:
            file.write_text(text)
        elif not file.exists() or file.read_text() != text:
            stale.append(str(file.relative_to(HERE.parent)))
    if stale:
        sys.exit(f"not what generate_approval.py writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
