"""What `documents.py` finds, and what it leaves alone. Run by `tests/run lint`, with the standard library alone."""

import tempfile
import unittest
from pathlib import Path

import documents


class Documents(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("docs/other.md", "# Other things\n\n## Two `words`, one dash\n\n## Again\n\n## Again\n")
        self.write("crates/core/src/lib.rs", "")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def check(self, text, *expected):
        self.write("docs/page.md", text)
        self.assertEqual(list(documents.faults(self.root)), [f"docs/page.md:{fault}" for fault in expected])  # noqa: PT009 - runs without pytest

    def test_links_that_lead_somewhere(self):
        self.check(
            '[a](other.md) ![b](<../docs/other.md>) [c](other.md#again-1 "title") [d](/docs/other.md)\n'
            "[e](.) [f](#title) [g](other.md#two-words-one-dash) [[h]](other.md)\n\n[i]: other.md\n\n"
            '# Title\n\n<img src="other.md"> <a href="#here"> <a id="here">\n'
        )

    def test_what_is_not_ours_is_left_alone(self):
        self.check("[a](https://nowhere.invalid/x) [b](mailto:a@b.example) [c](//nowhere.invalid) `src/nowhere.rs`\n")

    def test_code_is_not_read(self):
        self.check("`[a](nowhere.md)`\n\n```md\n[a](nowhere.md)\n```\n\n~~~\n```\n[b](nowhere.md)\n~~~\n")

    def test_a_missing_file(self):
        self.check("\nx [a](nowhere.md)\n", "2: `nowhere.md` does not exist")
        self.check("[a]: x/nowhere.md\n", "1: `x/nowhere.md` does not exist")
        self.check('<img alt="" src="nowhere.png">\n', "1: `nowhere.png` does not exist")

    def test_a_missing_heading(self):
        self.check("[a](other.md#nowhere)\n", "1: `other.md#nowhere` has no such heading")
        self.check("[a](#nowhere)\n", "1: `#nowhere` has no such heading")
        self.check("```\n# nowhere\n```\n[a](#nowhere)\n", "4: `#nowhere` has no such heading")

    def test_a_link_out_of_the_repository(self):
        self.check("[a](../../x.md)\n", "1: `../../x.md` leads out of the repository")

    def test_paths_in_backticks(self):
        self.check("`crates/core/src/lib.rs` `crates/core/src/lib.rs:12` `crates/core` `crates/*/src` `crates/x y`\n")
        self.write("docs/tests/mine.py", "")
        self.check("`tests/mine.py`\n")
        self.check("see `crates/core/src/gone.rs`\n", "1: `crates/core/src/gone.rs` does not exist")
        self.check("see `tests/gone.py::test_it`\n", "1: `tests/gone.py` does not exist")

    def test_installed_packages_are_not_read(self):
        self.write("infra/node_modules/x/README.md", "[a](nowhere.md)\n")
        self.check("fine\n")


if __name__ == "__main__":
    unittest.main()
