// Push, in a real Chromium: the switch in the inbox, the real worker, the real notifications.
//
// Chromium's own push service cannot be reached from here, so the browser's `subscribe` is played, with a real key pair;
// its push service is a server of this test, which decrypts what the gate sends (RFC 8291) and hands it to the worker as
// Chromium would (CDP `ServiceWorker.deliverPushMessage`).

import assert from 'node:assert/strict';
import { createDecipheriv, createECDH, createHmac, hkdfSync } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { PHONE, axeViolations, sidewaysPixels, startBrowser, visit } from './browser.js';
import { startGate, until } from './gate.js';

let gate;
let browser;
let service;

before(async () => {
  [gate, browser, service] = await Promise.all([startGate(), startBrowser(), startService()]);
});
after(async () => {
  service?.close();
  await Promise.all([browser?.close(), gate?.stop()]);
});

// One device: what it was sent, decrypted, in order.
async function startService() {
  const device = createECDH('prime256v1');
  device.generateKeys();
  const auth = Buffer.alloc(16, 7);
  const told = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const salt = body.subarray(0, 16);
    const point = body.subarray(21, 21 + body[20]);
    const record = body.subarray(21 + body[20]);
    const info = Buffer.concat([Buffer.from('WebPush: info\0'), device.getPublicKey(), point]);
    const secret = Buffer.from(hkdfSync('sha256', device.computeSecret(point), auth, info, 32));
    const expand = (label, length) =>
      createHmac('sha256', createHmac('sha256', salt).update(secret).digest())
        .update(Buffer.concat([Buffer.from(`Content-Encoding: ${label}\0`), Buffer.from([1])]))
        .digest()
        .subarray(0, length);
    const opened = createDecipheriv('aes-128-gcm', expand('aes128gcm', 16), expand('nonce', 12));
    opened.setAuthTag(record.subarray(-16));
    const words = Buffer.concat([opened.update(record.subarray(0, -16)), opened.final()]);
    assert.equal(words.at(-1), 2);
    told.push(words.subarray(0, -1).toString());
    response.writeHead(201).end();
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    told,
    endpoint: `http://127.0.0.1:${server.address().port}/device`,
    p256dh: device.getPublicKey().toString('base64url'),
    auth: auth.toString('base64url'),
    close: () => server.close(),
  };
}

// A browser whose push service this test plays. Everything else is its own.
const playSubscription = (page) =>
  page.addInitScript(
    ({ endpoint, p256dh, auth }) => {
      let own = null;
      const kept = () => sessionStorage.getItem('subscribed');
      const made = () => ({
        endpoint,
        options: { applicationServerKey: Uint8Array.from(JSON.parse(kept())).buffer },
        toJSON: () => ({ endpoint, expirationTime: null, keys: { p256dh, auth } }),
        unsubscribe: async () => {
          sessionStorage.removeItem('subscribed');
          own = null;
          return true;
        },
      });
      PushManager.prototype.getSubscription = async () => (own ??= kept() && made());
      PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
        if (!userVisibleOnly) throw new DOMException('every push must be seen', 'NotAllowedError');
        if (applicationServerKey.length !== 65 || applicationServerKey[0] !== 4) throw new DOMException('no key');
        sessionStorage.setItem('subscribed', JSON.stringify([...applicationServerKey]));
        own = made();
        return own;
      };
    },
    { endpoint: service.endpoint, p256dh: service.p256dh, auth: service.auth },
  );

const box = (page) => page.locator('#push');
const on = (page) => page.getByRole('button', { name: 'Push to this device' });
const off = (page) => page.getByRole('button', { name: 'Stop push on this device' });

// Hands the worker what the push service was sent, as Chromium does; returns the notifications that are then shown.
async function deliver(page, data) {
  const session = await page.context().newCDPSession(page);
  const registration = new Promise((found) => {
    session.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
      if (registrations.length) found(registrations[0]);
    });
  });
  await session.send('ServiceWorker.enable');
  const { registrationId } = await registration;
  await session.send('ServiceWorker.deliverPushMessage', { origin: gate.origin, registrationId, data });
  await session.detach();
}

const notifications = (page) =>
  page.evaluate(async () => {
    const worker = await navigator.serviceWorker.ready;
    const all = await worker.getNotifications();
    return all.map(({ title, body, tag, silent, requireInteraction, data, renotify }) => ({
      title, body, tag, silent, requireInteraction, renotify, path: data.path,
    })); // prettier-ignore
  });

test('push is switched on at a press, the real worker shows what comes, and it is switched off again', async () => {
  const first = await gate.ask({ action: 'pia.first' });
  const inbox = await gate.inbox(first, 'pia');
  await visit(browser, gate, PHONE, async (page) => {
    await page.context().grantPermissions(['notifications'], { origin: gate.origin });
    await playSubscription(page);
    await page.goto(inbox);
    await on(page).waitFor();
    assert.equal((await page.evaluate(() => navigator.serviceWorker.getRegistrations())).length, 0, 'nothing unasked');
    assert.deepEqual(await axeViolations(page), []);
    assert.ok((await sidewaysPixels(page)) <= 0);
    await on(page).tap();
    await off(page).waitFor();
    await box(page).getByText('This device is told when something waits for you.').waitFor();

    // The next request is pushed, and no longer mailed.
    const second = await gate.ask({ action: 'pia.second', payload: { service: 'secret thing' } });
    const words = await until('a push', () => service.told[0]);
    assert.ok(!words.includes('secret thing'));
    await deliver(page, words);
    const [shown] = await until('a notification', async () => {
      const all = await notifications(page);
      return all.length ? all : undefined;
    });
    assert.deepEqual(
      [shown.title, shown.body, shown.silent, shown.requireInteraction],
      ['Placet', 'agent asks. Something waits for your approval.', false, false],
    );
    assert.match(shown.path, /^r\//);
    const opened = new URL(shown.path, `${gate.origin}/`).href;
    assert.equal(opened, await gate.link(second, 'pia'), 'a tap opens the page of the request');

    // The end takes its place, without a sound.
    await gate.cancel(second);
    const end = await until('the end', () => service.told[1]);
    await deliver(page, end);
    const [quiet, ...others] = await until('the quiet one', async () => {
      const all = await notifications(page);
      return all[0]?.silent ? all : undefined;
    });
    assert.deepEqual([quiet.tag, others.length], [shown.tag, 0]);
    assert.match(quiet.body, /^agent asked\. Withdrawn by agent, /);

    // Known again after a reload; off at a press.
    await page.reload();
    await off(page).tap();
    await on(page).waitFor();
    await page.reload();
    await on(page).waitFor();
    const third = await gate.ask({ action: 'pia.third' });
    assert.equal((await gate.message(third, 'pia')).channel, 'email');
    assert.equal(service.told.length, 2);
    await gate.cancel(first);
    await gate.cancel(third);
  });
});

test('an end whose question is not shown any more leaves nothing behind where the page is in sight', async () => {
  const asked = await gate.ask({ action: 'pia.seen' });
  const inbox = await gate.inbox(asked, 'pia');
  await visit(browser, gate, {}, async (page) => {
    await page.context().grantPermissions(['notifications'], { origin: gate.origin });
    await playSubscription(page);
    await page.goto(inbox);
    await on(page).click();
    await off(page).waitFor();
    await deliver(page, JSON.stringify({ title: 'Placet', body: 'over', tag: 'a', settled: true }));
    await deliver(page, 'no JSON at all');
    const shown = await until('the other one', async () => {
      const all = await notifications(page);
      return all.some(({ tag }) => tag === 'placet') ? all : undefined;
    });
    assert.deepEqual(
      shown.map(({ title, body }) => [title, body]),
      [['Placet', 'Something waits for your approval.']],
    );
    await off(page).click();
    await on(page).waitFor();
  });
  await gate.cancel(asked);
});

test('where the browser blocks notifications the inbox says so, and where there is no push it says nothing', async () => {
  const asked = await gate.ask({ action: 'pia.blocked' });
  const inbox = await gate.inbox(asked, 'pia');
  await visit(browser, gate, {}, async (page) => {
    await page.addInitScript(() => {
      Object.defineProperty(Notification, 'permission', { get: () => 'denied' });
    });
    await page.goto(inbox);
    await box(page).getByText('Your browser blocks notifications from this page').waitFor();
    assert.equal(await box(page).getByRole('button').count(), 0);
  });
  for (const options of [{ javaScriptEnabled: false }, {}]) {
    await visit(browser, gate, options, async (page) => {
      await page.addInitScript(() => {
        delete globalThis.PushManager;
      });
      await page.goto(inbox);
      await page.getByText('1 request waits for you.').waitFor();
      assert.equal(await box(page).isVisible(), false);
    });
  }
  await gate.cancel(asked);
});
