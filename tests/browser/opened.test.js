// Who has opened a request: a person who touches the page or the inbox, and no scanner, though it runs every script.

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

let asked = 0;
const ask = (action = 'nell.pay') => {
  asked += 1;
  return gate.ask({ action, payload: { amount: asked, currency: 'EUR', to: 'ACME' } });
};
const channels = async (approval, count) => (await gate.messages(approval, count)).map(({ channel }) => channel);

// Every URL of a message, whatever part of it has it, on the address that this gate listens at.
const urls = (message) => {
  const found = JSON.stringify(message).match(/https?:\/\/[^\s"\\<>()]+/g) ?? [];
  return found.map((url) => new URL(url)).map(({ pathname, search }) => gate.origin + pathname + search);
};

// Does what a mail scanner's browser does: opens, runs scripts, scrolls by script, and even makes events of its own.
const scan = async (page, url) => {
  await page.goto(url);
  await page.evaluate(() => {
    scrollTo(0, document.body.scrollHeight);
    for (const kind of ['pointerdown', 'keydown', 'wheel', 'click']) {
      document.body.dispatchEvent(new Event(kind, { bubbles: true }));
    }
  });
};

test('a scanner that runs scripts decides nothing, and counts as nobody', async () => {
  const nudged = await ask();
  const everywhere = await gate.ask({ metadata: { every_channel: 'yes' } });
  const messages = [await gate.message(nudged, 'nell'), ...(await gate.messages(everywhere, 3))];
  const found = [...new Set(messages.flatMap(urls)), await gate.inbox(nudged, 'nell')];
  assert.ok(found.length >= 4, `${found.length} URLs`);
  await visit(browser, gate, PHONE, async (page) => {
    const posts = [];
    page.on('request', (request) => {
      if (!['GET', 'HEAD'].includes(request.method())) posts.push(`${request.method()} ${request.url()}`);
    });
    for (const url of found) await scan(page, url);
    assert.deepEqual(posts, []);
  });
  assert.deepEqual(await channels(nudged, 2), ['email', 'sms']);
  for (const approval of [nudged, everywhere]) {
    const { status, votes } = await gate.state(approval);
    assert.deepEqual({ status, votes }, { status: 'pending', votes: [] });
  }
});

test('a touch of the page, or Not now, keeps the next channel quiet', async () => {
  const [touched, put] = [await ask(), await ask()];
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(await gate.link(touched, 'nell'));
    const told = page.waitForResponse((response) => response.url().endsWith('?seen'));
    await page.touchscreen.tap(195, 20);
    assert.equal((await told).status(), 204);
  });
  await visit(browser, gate, { ...PHONE, javaScriptEnabled: false }, async (page) => {
    await page.goto(await gate.link(put, 'nell'));
    await button(page, 'Not now').tap();
    await page.getByRole('heading', { name: 'Not decided', level: 1 }).waitFor();
  });
  // Asked after them, so its nudge is due after theirs would have been.
  const other = await ask();
  assert.deepEqual(await channels(other, 2), ['email', 'sms']);
  for (const approval of [touched, put]) {
    assert.deepEqual(await channels(approval, 1), ['email']);
    assert.equal((await gate.state(approval)).status, 'pending');
  }
});

test('a touch of the inbox counts for what it lists, and for nothing that comes later', async () => {
  const listed = await ask();
  await visit(browser, gate, {}, async (page) => {
    await page.goto(await gate.inbox(listed, 'nell'));
    const told = page.waitForResponse((response) => response.url().endsWith('?seen'));
    await page.keyboard.press('j');
    assert.equal((await told).status(), 204);
  });
  const later = await ask();
  assert.deepEqual(await channels(later, 2), ['email', 'sms']);
  assert.deepEqual(await channels(listed, 1), ['email']);
});

test('nobody without a next channel is watched', async () => {
  const approval = await gate.ask();
  await visit(browser, gate, PHONE, async (page) => {
    const posts = [];
    page.on('request', (request) => request.method() === 'POST' && posts.push(request.url()));
    for (const url of [await gate.link(approval, 'bob'), await gate.inbox(approval, 'bob')]) {
      await page.goto(url);
      await page.touchscreen.tap(195, 20);
    }
    assert.deepEqual(posts, []);
  });
});
