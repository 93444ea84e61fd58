"""docs/policy.md names every key that the gate reads, the recipes do what they say, and every code is explained."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from local_gate import BINARY, environment

DOCS = Path(__file__).resolve().parents[2] / "docs"

# A policy with an unknown key in every table: the gate names the keys that it knows there.
UNKNOWN = """
zzz = 1
[[clients]]
id = "my-agent"
zzz = 1
[[reviewers]]
id = "bob"
roles = ["finance"]
zzz = 1
away = [{ from = 2026-12-20, until = 2027-01-04, zzz = 1 }]
[[alerts]]
name = "ops"
way = "sns"
zzz = 1
[report]
to = ["ops"]
zzz = 1
[[rules]]
name = "all"
stages = [{ ask = ["finance"], within = "1h", zzz = 1 }]
examples = [{ action = "x", zzz = 1 }]
zzz = 1
"""


def placet(*words, folder):
    return subprocess.run(
        [BINARY, *words], cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def keys_of_the_gate(folder):
    (folder / "unknown.toml").write_text(UNKNOWN)
    faults = json.loads(placet("policy", "check", "unknown.toml", "--json", folder=folder).stdout)["faults"]
    found = {}
    for fault in faults:
        if named := re.fullmatch(r"(.*) has no key `zzz`", fault["message"]):
            found[named[1].removeprefix("the ").removeprefix("an ").removeprefix("a ")] = set(
                re.findall("`([a-z_0-9]+)`", fault["help"])
            )
    return found


def keys_of_the_page():
    found = {}
    for heading, table in re.findall(
        r"^### (?:The|An|A) (.+?)\n(.*?)(?=^#)", (DOCS / "policy.md").read_text(), re.S | re.M
    ):
        found[heading] = set(re.findall(r"^\| `([a-z_0-9]+)` \|", table, re.M))
    found["policy"] = found.pop("file")
    return found


def test_the_reference_names_every_key_of_every_table(tmp_path):
    of_the_gate = keys_of_the_gate(tmp_path)
    assert set(of_the_gate) >= {"policy", "client", "reviewer", "rule", "stage", "example", "time away"}
    assert keys_of_the_page() == of_the_gate


BLOCKS = re.findall(r"^```toml\n(.*?)^```$", (DOCS / "policy-recipes.md").read_text(), re.S | re.M)
PEOPLE, RECIPES = BLOCKS[0], BLOCKS[1:]


def test_there_are_twenty_recipes():
    assert len(RECIPES) == 20


@pytest.mark.parametrize("recipe", RECIPES, ids=[tomllib.loads(text)["rules"][0]["name"] for text in RECIPES])
def test_a_recipe_is_a_policy_whose_examples_are_explained_by_their_rule(recipe, tmp_path):
    before, rule, after = PEOPLE.partition("[[rules]]")
    (tmp_path / "placet.toml").write_text(before + recipe + "\n" + rule + after)
    checked = json.loads(placet("policy", "check", "placet.toml", "--json", folder=tmp_path).stdout)
    assert checked.get("faults", []) == [], checked
    tried = 0
    for rule in tomllib.loads(recipe)["rules"]:
        for example in rule.get("examples", []):
            if "now" in example:
                continue  # `explain` asks as of now; `policy check` has tried this one
            request = {"request_id": "r-1", "summary": "A try", **example}
            request.pop("client", None)
            (tmp_path / "request.json").write_text(json.dumps(request))
            ran = placet("policy", "explain", "placet.toml", "request.json", "--json", folder=tmp_path)
            explained = json.loads(ran.stdout)
            assert explained["rule"] == rule["name"], (explained, ran.stderr)
            tried += 1
    assert tried or "now = 20" in recipe


def codes_of_the_page(heading):
    section = (DOCS / "troubleshooting.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\|[^`\n]*`([a-z_]+)` \|", section, re.M)


def test_troubleshooting_explains_every_code_of_the_api():
    crates = DOCS.parent / "crates"
    refusals = re.findall(
        r'=> "([a-z_]+)",', (crates / "core/src/refusal.rs").read_text().split("pub const fn code")[1]
    )
    # The edge adds what no rule says.
    edge = {"method_not_allowed", "unavailable"}
    problems = (crates / "http/src/problem.rs").read_text()
    assert all(f'"{code}"' in problems for code in edge)
    listed = codes_of_the_page("Codes of the API")
    assert len(listed) == len(set(listed)) and set(listed) == set(refusals) | edge


def test_troubleshooting_explains_every_code_of_the_command():
    sources = (DOCS.parent / "crates/placet/src").rglob("*.rs")
    given = {code for path in sources for code in re.findall(r'with_code\(\s*"([a-z_]+)"', path.read_text())}
    section = (DOCS / "troubleshooting.md").read_text().split("## Codes of the command\n")[1]
    listed = re.findall(r"^\| `([a-z_]+)` \|", section, re.M)
    assert listed == sorted(given)


def test_a_failure_ends_with_the_code_under_which_it_is_explained(tmp_path):
    ran = placet("list", folder=tmp_path)
    assert ran.returncode == 1 and ran.stderr.splitlines()[0].endswith(" [no_data_folder]"), ran
    said = json.loads(placet("list", "--json", folder=tmp_path).stdout)
    assert said["error"]["code"] == "no_data_folder"
