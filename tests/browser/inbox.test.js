// The inbox keeps itself fresh: what is new comes, what has ended goes, and the reader keeps their place.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PHONE, button, startBrowser, visit } from './browser.js';
import { startGate } from './gate.js';

let gate;
let browser;

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});

test('a new request appears without a reload, and goes when it ends', async () => {
  const first = await gate.ask({ action: 'deploy.first' });
  const inbox = await gate.inbox(first, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    await page.evaluate(() => {
      globalThis.stayed = true;
    });
    await page.getByText('1 request waits for you.').waitFor();
    const kept = page.getByRole('link', { name: 'deploy.first' });
    await kept.focus();

    const second = await gate.ask({ action: 'deploy.second' });
    await page.getByRole('link', { name: 'deploy.second' }).waitFor();
    await page.getByText('2 requests wait for you.').waitFor();
    assert.match(await page.title(), /^\(2\)/);
    assert.ok(await kept.evaluate((link) => link === document.activeElement), 'the focus stays where it was');

    await gate.cancel(second);
    await page.getByRole('link', { name: 'deploy.second' }).waitFor({ state: 'detached' });
    await gate.cancel(first);
    await page.getByText('Nothing waits for you.').waitFor();
    assert.ok(await page.evaluate(() => globalThis.stayed), 'the page was never reloaded');
  });
});

test('an entry leads to its request, where it can be decided', async () => {
  const approval = await gate.ask({ action: 'deploy.third', payload: { service: 'api' } });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    const entry = page.getByRole('link', { name: 'deploy.third' });
    assert.match(await entry.innerText(), /Deploy api/);
    await entry.tap();
    await button(page, 'Approve').tap();
    await page.getByRole('heading', { name: 'Approved' }).waitFor();
  });
  assert.equal((await gate.state(approval)).status, 'approved');
});

test('without JavaScript the list refreshes itself', async () => {
  const approval = await gate.ask({ action: 'deploy.fourth' });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, { javaScriptEnabled: false }, async (page) => {
    await page.goto(inbox);
    await page.getByRole('link', { name: 'deploy.fourth' }).waitFor();
    assert.equal(await page.locator('noscript meta[http-equiv=refresh]').getAttribute('content'), '10');
  });
});

test('a lost connection is said, and forgotten when it is back', async () => {
  const approval = await gate.ask({ action: 'deploy.fifth' });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, { statuses: [503] }, async (page) => {
    await page.goto(inbox);
    let down = true;
    await page.route(inbox, (route) => (down ? route.fulfill({ status: 503, body: '' }) : route.continue()));
    const trouble = page.getByRole('alert');
    await trouble.waitFor();
    assert.match(await trouble.innerText(), /Connection lost/);
    down = false;
    await trouble.waitFor({ state: 'hidden' });
  });
});
