// A practice round as a phone shows it: the ordinary page under a banner, the truth after each answer, the end.
// With SHOTS=folder the pictures are kept, to be looked at.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PHONE, axeViolations, button, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate } from './gate.js';

const { SHOTS } = process.env;
if (SHOTS) mkdirSync(SHOTS, { recursive: true });

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

async function seen(page, name) {
  if (SHOTS) await page.screenshot({ path: join(SHOTS, `practice-${name}.png`) });
  // Both run scripts in the page.
  if (name.startsWith('plain')) return;
  assert.deepEqual(await axeViolations(page), []);
  assert.equal(await sidewaysPixels(page), 0);
}

for (const options of [
  { colorScheme: 'light' },
  { colorScheme: 'dark' },
  { colorScheme: 'light', javaScriptEnabled: false },
]) {
  const name = options.javaScriptEnabled === false ? 'plain' : options.colorScheme;
  test(`a round from the first case to the last, ${name}`, async () => {
    const link = await gate.practice('bob');
    await visit(browser, gate, { ...PHONE, ...options }, async (page) => {
      await page.goto(link);
      for (let number = 1; number <= 12; number += 1) {
        const banner = page.getByRole('note').first();
        assert.match(await banner.textContent(), new RegExp(`^Practice ${number} of 12 `, 'u'));
        // The banner is the first thing on the page, and both buttons are on the first screen.
        assert.equal(await page.getByRole('button', { name: 'Not now' }).count(), 0);
        const { height } = page.viewportSize();
        const box = await button(page, 'Approve').boundingBox();
        assert.ok((await banner.boundingBox()).y < 200 && box.y + box.height <= height);
        if (number <= 2) await seen(page, `${name}-${number}`);
        if (number % 2) {
          await button(page, 'Approve').click();
        } else {
          // Whoever looks for violations has opened the sheet already.
          if (!(await page.locator('.sheet[open]').count())) await button(page, 'Reject').first().click();
          await button(page, 'Reject').last().click();
        }
        await page.getByRole('heading', { level: 1, name: /^(Right|Not right)$/u }).waitFor();
        if (number <= 2 || number === 12) await seen(page, `${name}-${number}-told`);
        if (number < 12) await button(page, 'Next case').click();
      }
      await page.getByRole('heading', { name: 'How it went: 12 cases' }).waitFor();
      assert.equal(await page.getByText('too few for a rate').count(), 2);
      await button(page, 'Another 12 cases').click();
      assert.match(await page.getByRole('note').first().textContent(), /^Practice 1 of 12 /u);
    });
  });
}
