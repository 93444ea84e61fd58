#!/usr/bin/env python3
"""Takes the README's picture of a workflow from the editor of a real n8n, in Chromium.

    tests/run n8n -k linters; PLACET=target/debug/placet ~/.cache/placet/e2e-venv/bin/python tests/n8n/picture.py FILE.png

Needs what `tests/run n8n` and `tests/run browser` install.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
import conftest  # noqa: E402
import test_examples  # noqa: E402

PROGRAM = """
import { chromium } from 'playwright-core';
const { url, cookie, workflow, file } = JSON.parse(process.env.PICTURE);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const context = await browser.newContext({ viewport: { width: 1280, height: 620 }, extraHTTPHeaders: { 'browser-id': 'tests' } });
const [name, value] = cookie.split(/=(.*)/s);
await context.addCookies([{ name, value, url }]);
await context.addInitScript(() => { localStorage.setItem('n8n-browserId', 'tests'); localStorage.setItem('N8N_THEME', 'light'); });
const page = await context.newPage();
await page.goto(`${url}/workflow/${workflow}`);
await page.locator('[data-test-id="canvas-node"]').nth(4).waitFor({ timeout: 120000 });
// Nothing but the workflow: the panels around it are n8n's.
await page.keyboard.press('1');
await page.waitForFunction(() => document.querySelectorAll('[data-test-id="canvas-node"] img').length > 0);
await page.evaluate(() => document.fonts.ready);
const boxes = await page.locator('[data-test-id="canvas-node"]').evaluateAll((nodes) => nodes.map((node) => node.getBoundingClientRect().toJSON()));
const left = Math.min(...boxes.map((box) => box.left)) - 60;
const top = Math.min(...boxes.map((box) => box.top)) - 40;
const right = Math.max(...boxes.map((box) => box.right)) + 60;
const bottom = Math.max(...boxes.map((box) => box.bottom)) + 45;
await page.screenshot({ path: file, clip: { x: left, y: top, width: right - left, height: bottom - top } });
await browser.close();
"""


def main(file):
    with tempfile.TemporaryDirectory() as folder:
        pair = conftest.Pair(Path(folder) / "pair")
        try:
            pair.start()
            made = test_examples.imported(pair, "approve-before-paying")
            picture = {
                "url": pair.n8n.url,
                "cookie": pair.n8n.cookie,
                "workflow": made["id"],
                "file": str(Path(file).resolve()),
            }
            subprocess.run(
                ["node", "--input-type=module", "-e", PROGRAM], check=True, cwd=HERE.parent / "browser",
                env=os.environ | {"PICTURE": json.dumps(picture)}, timeout=300,
            )  # fmt: skip
        finally:
            pair.close()


if __name__ == "__main__":
    main(sys.argv[1])
