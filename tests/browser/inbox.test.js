// The inbox: what is new comes, what has ended goes, the reader keeps their place, and everything is decided in place.

import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { PHONE, button, startBrowser, visit } from './browser.js';
import { startGate, until } from './gate.js';

let gate;
let browser;
let open = [];

before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await Promise.all([browser?.close(), gate?.stop()]);
});
// Each test begins with an empty inbox.
beforeEach(async () => {
  for (const approval of open) {
    const { status } = await gate.state(approval);
    if (status === 'pending') await gate.cancel(approval);
  }
  open = [];
});

const asked = async (request) => {
  const approval = await gate.ask(request);
  open.push(approval);
  return approval;
};
const status = async (approval) => (await gate.state(approval)).status;
const row = (page, text) => page.locator('.row-of').filter({ hasText: text });
const focused = (page) => page.evaluate(() => document.activeElement.closest('.row-of')?.innerText ?? '');

test('a new request appears by itself, and goes when it ends; what is open and focused stays', async () => {
  const first = await asked({ action: 'deploy.first' });
  const inbox = await gate.inbox(first, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    await page.evaluate(() => {
      globalThis.stayed = true;
    });
    await page.getByText('1 request waits for you.').waitFor();
    await row(page, 'deploy.first').getByText('Look and decide').tap();
    await row(page, 'deploy.first').locator('summary', { hasText: 'Reject' }).tap();
    const words = page.getByLabel('In your own words');
    await words.fill('half a thought');

    const second = await asked({ action: 'deploy.second' });
    await row(page, 'deploy.second').waitFor();
    await page.getByText('2 requests wait for you.').waitFor();
    assert.match(await page.title(), /^\(2\)/);
    assert.equal(await row(page, 'deploy.first').getByLabel('In your own words').inputValue(), 'half a thought');
    assert.ok(await words.first().evaluate((field) => field === document.activeElement), 'the focus stays');

    await gate.cancel(second);
    await row(page, 'deploy.second').waitFor({ state: 'detached' });
    await gate.cancel(first);
    await page.getByText('Nothing waits for you.').waitFor();
    assert.ok(await page.evaluate(() => globalThis.stayed), 'the page was never reloaded');
  });
});

test('news are told over one open connection, not asked for', async () => {
  const first = await asked({ action: 'deploy.told' });
  const inbox = await gate.inbox(first, 'bob');
  await visit(browser, gate, {}, async (page) => {
    const requests = [];
    page.on('request', (request) => requests.push(`${request.resourceType()} ${new URL(request.url()).pathname}`));
    const stream = page.waitForResponse((response) => response.url().endsWith('/events'));
    await page.goto(inbox);
    assert.equal((await stream).headers()['content-type'], 'text/event-stream');
    const other = await asked({ action: 'deploy.told.too' });
    await row(page, 'deploy.told.too').waitFor();
    await gate.cancel(other);
    await row(page, 'deploy.told.too').waitFor({ state: 'detached' });
    const path = new URL(inbox).pathname;
    const asks = requests.filter((request) => request === `fetch ${path}`);
    assert.ok(asks.length >= 2 && asks.length <= 4, `asked once for each change: ${requests}`);
    assert.equal(requests.filter((request) => request.startsWith('eventsource')).length, 1);
  });
});

test('where no news are told the inbox asks, and an unchanged one costs an empty answer', async () => {
  const first = await asked({ action: 'deploy.polled' });
  const inbox = await gate.inbox(first, 'bob');
  await visit(browser, gate, {}, async (page) => {
    const answers = [];
    page.on('response', (response) => {
      if (response.url() === inbox) answers.push(response.status());
    });
    await page.route('**/events', (route) => route.fulfill({ status: 204, body: '' }));
    await page.goto(inbox);
    await until('an unchanged inbox', () => answers.includes(304) || undefined);
    await asked({ action: 'deploy.polled.too' });
    await row(page, 'deploy.polled.too').waitFor();
  });
});

test('a row is decided in place, and the answer says what became of it', async () => {
  const approval = await asked({ action: 'deploy.third', payload: { service: 'api' } });
  const other = await asked({ action: 'deploy.other', payload: { service: 'web' } });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    await row(page, 'deploy.third').getByRole('button', { name: 'Approve' }).tap();
    await page.getByText('You approved Deploy api').waitFor();
    assert.equal(await status(approval), 'approved');
    await row(page, 'deploy.third').waitFor({ state: 'detached' });

    const rejected = row(page, 'deploy.other');
    await rejected.locator('summary', { hasText: 'Reject' }).tap();
    await rejected.getByLabel('Not expected').check();
    await rejected.getByLabel('In your own words').fill('who asked for this?');
    await rejected.getByRole('button', { name: 'Reject' }).tap();
    await page.getByText('You rejected Deploy web').waitFor();
    const state = await gate.state(other);
    assert.deepEqual([state.status, state.reason], ['rejected', 'Not expected: who asked for this?']);
    const lately = page.locator('.lately');
    assert.match(await lately.innerText(), /Deploy web[^]*You rejected[^]*Deploy api[^]*You approved/);
    await page.getByText('Nothing waits for you.').waitFor();
  });
});

test('a row says what is new in a few words, and its client is paused from there', async () => {
  for (let n = 0; n < 4; n += 1) await asked({ action: 'deploy.often', payload: { service: `s${n}` } });
  const approval = await asked({ action: 'deploy.often', payload: { service: 'last' } });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    const last = row(page, 'service last').or(row(page, 'Deploy last')).first();
    assert.match(await last.locator('.new').innerText(), /^(\d+\w\w ask|More than 50 asks) in 10 minutes/);
    await last.locator('summary', { hasText: 'Pause agent' }).tap();
    await last.getByRole('button', { name: 'Reject, and pause agent' }).tap();
    await page.getByText('agent is paused', { exact: true }).waitFor();
    assert.equal(await status(approval), 'rejected');
    await page.getByRole('button', { name: 'Lift the pause' }).tap();
    await page.getByRole('button', { name: 'Lift the pause' }).waitFor({ state: 'detached' });
    await asked({ action: 'deploy.again' });
  });
});

test('a row leads to its request, where it can be decided, too', async () => {
  const approval = await asked({ action: 'deploy.page', payload: { service: 'api' } });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    await row(page, 'deploy.page').locator('a.action').tap();
    await button(page, 'Approve').tap();
    await page.getByRole('heading', { name: 'Approved' }).waitFor();
  });
  assert.equal(await status(approval), 'approved');
});

test('what a line does not say in full is opened before it can be approved', async () => {
  const payload = { to: 'acme@example.com', note: `start ${'x'.repeat(300)} end`, amount: 5, currency: 'EUR' };
  const approval = await asked({ action: 'pay.long', payload });
  const huge = await asked({ action: 'pay.huge', payload: { note: 'y'.repeat(9000) } });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(inbox);
    const long = row(page, 'pay.long');
    assert.equal(await long.getByRole('button', { name: 'Approve' }).isVisible(), false);
    await long.getByText('Look and decide').click();
    await long.getByRole('button', { name: 'Approve' }).click();
    await page.locator('.said li', { hasText: 'You approved' }).waitFor();
    assert.equal(await row(page, 'pay.huge').getByRole('button').count(), 0);
    await row(page, 'pay.huge').getByRole('link', { name: 'Look at it' }).click();
    await page.waitForURL(/\/r\//);
  });
  assert.deepEqual([await status(approval), await status(huge)], ['approved', 'pending']);
});

test('identical requests are one row, decided together after one more question', async () => {
  const same = { action: 'credit.create', payload: { amount: 9, currency: 'EUR', to: 'Zoë' } };
  const three = [await asked(same), await asked(same), await asked(same)];
  const inbox = await gate.inbox(three[0], 'bob');
  await gate.inbox(three[2], 'bob');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    const group = row(page, 'credit.create');
    assert.equal(await group.count(), 1);
    assert.match(await group.innerText(), /3 times the same/);
    await group.getByRole('button', { name: 'Approve all 3' }).tap();
    await page.getByRole('heading', { name: 'Approve 3 requests that ask the same?' }).waitFor();
    assert.deepEqual(await Promise.all(three.map(status)), ['pending', 'pending', 'pending']);
    // One of them ends before the answer.
    await gate.cancel(three[1]);
    await page.getByRole('button', { name: 'Approve all 3' }).tap();
    await page.getByText('had already ended: withdrawn').waitFor();
    assert.equal(await page.locator('.said li').count(), 3);
    assert.equal(await page.locator('.said li', { hasText: 'You approved' }).count(), 2);
    assert.deepEqual(await Promise.all(three.map(status)), ['approved', 'cancelled', 'approved']);
  });
});

test('the keyboard goes through the list and decides', async () => {
  const all = [];
  for (const name of ['one', 'two', 'three'])
    all.push(await asked({ action: `key.${name}`, payload: { service: name } }));
  const inbox = await gate.inbox(all[2], 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(inbox);
    await page.keyboard.press('a');
    await page.keyboard.press('j');
    assert.match(await focused(page), /key\.one/);
    await page.keyboard.press('j');
    await page.keyboard.press('k');
    assert.match(await focused(page), /key\.one/);
    assert.deepEqual(await Promise.all(all.map(status)), ['pending', 'pending', 'pending']);
    await page.keyboard.press('a');
    await page.getByText('You approved key.one').waitFor();
    // The next one has taken its place.
    assert.match(await focused(page), /key\.two/);
    await page.keyboard.press('r');
    assert.equal(await status(all[1]), 'pending');
    await page.keyboard.press('r');
    await page.getByText('You rejected key.two').waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
    await page.keyboard.press('a');
    await page.keyboard.press('Escape');
    await page.keyboard.press('j');
    await page.keyboard.press('r');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await row(page, 'key.three').getByLabel('In your own words').focus();
    await page.keyboard.type('jar?');
    assert.equal(await status(all[2]), 'pending', 'letters that are written decide nothing');
    assert.equal(await row(page, 'key.three').getByLabel('In your own words').inputValue(), 'jar?');
  });
  assert.deepEqual(await Promise.all(all.map(status)), ['approved', 'rejected', 'pending']);
});

test('without JavaScript everything is decided, and the list refreshes itself', async () => {
  const same = { action: 'deploy.noscript', payload: { service: 'api' } };
  const two = [await asked(same), await asked(same)];
  const inbox = await gate.inbox(two[1], 'bob');
  await visit(browser, gate, { javaScriptEnabled: false }, async (page) => {
    await page.goto(inbox);
    assert.equal(await page.locator('noscript meta[http-equiv=refresh]').getAttribute('content'), '30');
    await row(page, 'deploy.noscript').locator('summary', { hasText: 'Reject' }).click();
    await row(page, 'deploy.noscript').getByRole('button', { name: 'Reject all 2' }).click();
    await page.getByRole('heading', { name: 'Reject 2 requests that ask the same?' }).waitFor();
    await page.getByRole('button', { name: 'Reject all 2' }).click();
    await page.getByText('Nothing waits for you.').waitFor();
    assert.equal(await page.locator('.said li', { hasText: 'You rejected' }).count(), 2);
  });
  assert.deepEqual(await Promise.all(two.map(status)), ['rejected', 'rejected']);
});

test('who owns the client can only reject in the row', async () => {
  const approval = await asked({ action: 'deploy.owned' });
  const inbox = await gate.inbox(approval, 'olive');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(inbox);
    const own = row(page, 'deploy.owned');
    await own.getByText('Look and decide').click();
    assert.match(await own.innerText(), /somebody else has to approve/);
    assert.equal(await own.getByRole('button', { name: 'Approve' }).count(), 0);
  });
});

test('a lost connection is said, and forgotten when it is back', async () => {
  const approval = await asked({ action: 'deploy.fifth' });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, { statuses: [503] }, async (page) => {
    let down = true;
    await page.route('**/events', (route) => route.fulfill({ status: 204, body: '' }));
    await page.goto(inbox);
    await page.route(inbox, (route) => (down ? route.fulfill({ status: 503, body: '' }) : route.continue()));
    const trouble = page.getByRole('alert').filter({ hasText: 'Connection lost' });
    await trouble.waitFor();
    down = false;
    await trouble.waitFor({ state: 'hidden' });
  });
});

test('it can be installed: a manifest, an icon and a worker that answers for its own paths only', async () => {
  const approval = await asked({ action: 'deploy.app' });
  const inbox = await gate.inbox(approval, 'bob');
  await visit(browser, gate, {}, async (page) => {
    await page.goto(inbox);
    const session = await page.context().newCDPSession(page);
    const { errors, data, url } = await session.send('Page.getAppManifest');
    assert.deepEqual(errors, []);
    assert.equal(JSON.parse(data).start_url, new URL(inbox).pathname);
    assert.match(url, /app\.webmanifest$/);
    const { installabilityErrors } = await session.send('Page.getInstallabilityErrors');
    assert.deepEqual(
      installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito'),
      [],
    );
    const scope = await page.evaluate(async () => {
      const { worker, scope: wanted } = document.getElementById('inbox').dataset;
      const registered = await navigator.serviceWorker.register(worker, { scope: wanted });
      return registered.scope;
    });
    assert.equal(scope, `${gate.origin}/`);
  });
});

test('away and back, with a stand-in whom the policy allows, by hand', async () => {
  const approval = await asked({ action: 'deploy.away' });
  const inbox = await gate.inbox(approval, 'olive');
  await visit(browser, gate, PHONE, async (page) => {
    await page.goto(inbox);
    await page.getByText('Go away for a while').tap();
    await page.getByLabel('For', { exact: true }).selectOption('4 hours');
    await page.getByRole('button', { name: 'I am away' }).tap();
    await page.getByText('You are away', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'I am back' }).tap();
    await page.getByText('You are away', { exact: true }).waitFor({ state: 'detached' });
  });
});
