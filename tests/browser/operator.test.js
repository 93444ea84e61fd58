// The operator's page: what an operator sees on a phone and at a desk, and its buttons, without a script.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PHONE, axeViolations, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate } from './gate.js';

const DESK = { viewport: { width: 1100, height: 900 } };

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
  await gate.ask({ request_id: 'invoice-4711' });
  const cancelled = await gate.ask({ request_id: 'invoice-4710' });
  await gate.cancel(cancelled);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

for (const colorScheme of ['light', 'dark']) {
  test(`the operator's page is accessible and fits a phone and a desk, ${colorScheme}`, async () => {
    const link = await gate.operator();
    for (const options of [PHONE, DESK]) {
      await visit(browser, gate, { ...options, colorScheme }, async (page) => {
        await page.goto(link);
        await page.getByRole('heading', { level: 1, name: 'This gate' }).waitFor();
        if (process.env.PLACET_PICTURES) {
          const path = `${process.env.PLACET_PICTURES}/operator-${colorScheme}-${options.viewport.width}.png`;
          await page.screenshot({ path, fullPage: true });
        }
        assert.deepEqual(await axeViolations(page), []);
        assert.equal(await sidewaysPixels(page), 0);
        assert.equal(await page.locator('script').count(), 0);
        for (const words of ['invoice-4711', 'invoice-4710', 'no mail server is set']) {
          assert.ok((await page.getByText(words).count()) > 0, words);
        }
      });
    }
  });
}

test('a press sends one test and says what came of it, without a script; a second one waits', async () => {
  const link = await gate.operator();
  const options = { ...PHONE, javaScriptEnabled: false, statuses: [429] };
  await visit(browser, gate, options, async (page) => {
    await page.goto(link);
    const button = page.getByRole('button', { name: 'Send a test to Olive by email' });
    await button.click();
    const said = page.getByRole('alert');
    await said.getByText('The test for Olive by email was not taken: no mail server is set.').waitFor();
    assert.equal(page.url(), link);
    await button.click();
    await said.getByText('Tests are sent one after the other, so nothing was sent.').waitFor();
  });
});

test('the page leads to the report, and a link that has ended opens nothing', async () => {
  const link = await gate.operator();
  await visit(browser, gate, DESK, async (page) => {
    await page.goto(link);
    await page.getByRole('link', { name: 'The numbers of the last seven days' }).click();
    await page.getByRole('heading', { level: 1, name: 'Approvals, 7 days' }).waitFor();
  });
  const ended = `${link.slice(0, -10)}${'z'.repeat(10)}`;
  await visit(browser, gate, { ...PHONE, statuses: [404] }, async (page) => {
    await page.goto(ended);
    await page.getByRole('heading', { level: 1, name: 'Not found' }).waitFor();
    assert.equal(await page.getByRole('button').count(), 0);
    assert.deepEqual(await axeViolations(page), []);
  });
});
