// The report's page: charts and tables without a script, light and dark, and its one form.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PHONE, axeViolations, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate } from './gate.js';

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
  for (let number = 0; number < 6; number += 1) {
    const approval = await gate.ask({ action: 'report.me', request_id: `week-${number}` });
    const link = await gate.link(approval, 'bob');
    await visit(browser, gate, PHONE, async (page) => {
      await page.goto(link);
      await page.getByRole('button', { name: number % 3 === 2 ? 'Reject' : 'Approve' }).click();
      await page.getByRole('heading', { level: 1 }).waitFor();
    });
  }
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

for (const colorScheme of ['light', 'dark']) {
  test(`the report is accessible and fits a phone, ${colorScheme}`, async () => {
    const report = await gate.report();
    for (const options of [PHONE, { viewport: { width: 1100, height: 900 } }]) {
      await visit(browser, gate, { ...options, colorScheme, javaScriptEnabled: true }, async (page) => {
        await page.goto(report);
        await page.getByRole('heading', { level: 1, name: 'Approvals, 7 days' }).waitFor();
        if (process.env.PLACET_PICTURES) {
          const width = options.viewport.width;
          await page.screenshot({
            path: `${process.env.PLACET_PICTURES}/report-${colorScheme}-${width}.png`,
            fullPage: true,
          });
        }
        assert.deepEqual(await axeViolations(page), []);
        assert.equal(await sidewaysPixels(page), 0);
        assert.equal(await page.locator('script').count(), 0);
        // Each chart says in a table what it draws.
        for (const chart of ['By day', 'How often people were asked']) {
          const card = page.getByRole('article').filter({ has: page.getByRole('heading', { name: chart }) });
          assert.ok((await card.getByRole('table').first().getByRole('row').count()) > 1);
        }
      });
    }
  });
}

test('one press flags an approval, without a script', async () => {
  const report = await gate.report();
  await visit(browser, gate, { ...PHONE, javaScriptEnabled: false }, async (page) => {
    await page.goto(report);
    const flags = page.getByRole('button', { name: /^It was a mistake: approving week-0$/ });
    await flags.first().click();
    await page.getByText('Recorded: approving week-0 was a mistake.').waitFor();
    assert.equal(await flags.count(), 0);
    assert.ok((await page.getByText('flagged as a mistake').count()) > 0);
  });
});
