// The two ways that need no app: the requests of "Webhooks by Zapier" and of n8n's HTTP Request node, as those steps send
// them, followed by a Filter or an IF on `approved`. The README's bodies are taken from the README.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, test } from 'node:test';

import { Gate, type Json } from './gate.js';

let gate: Gate;

before(async () => { gate = await Gate.start(); });
after(async () => { await gate?.stop(); });

interface Answer {
  status: number;
  body: Json;
}

/** A step of a tool that sends headers and a body just as they are given. */
type Send = (method: string, path: string, body?: string, headers?: Record<string, string>) => Promise<Answer>;

/** One request, byte for byte: a client library of ours would add headers of its own. */
function send(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const raw = body === undefined ? undefined : Buffer.from(body, 'utf8');
    const length = raw === undefined ? {} : { 'content-length': String(raw.length) };
    const sending = request(gate.origin + path, { method, headers: { ...headers, ...length } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status: response.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) });
      });
    });
    sending.on('error', reject);
    sending.end(raw);
  });
}

const bearer = () => ({ authorization: `Bearer zap.${gate.secret('zap')}` });

const TOOLS: Record<string, Send> = {
  'Webhooks by Zapier': (method, path, body, headers = bearer()) =>
    send(method, path, {
      accept: '*/*', 'accept-encoding': 'gzip;q=1.0,deflate;q=0.6,identity;q=0.3', 'user-agent': 'Zapier',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers,
    }, body),
  'n8n HTTP Request': (method, path, body, headers = bearer()) =>
    send(method, path, {
      accept: 'application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7',
      'accept-encoding': 'gzip, compress, deflate, br', 'user-agent': 'n8n', connection: 'close',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers,
    }, body),
};

/** The Filter "(Boolean) Is true", and the IF node "is true": what is not exactly true does not pass. */
const passes = ({ body }: Answer) => body?.approved === true;

/** The JSON body that the README tells to paste, with a key of its own. */
function readmeBody(key: string, changes: Record<string, unknown> = {}): string {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const section = readme.slice(readme.indexOf('## Without the app'));
  const pasted = /```json\n([\s\S]+?)```/u.exec(section)?.[1];
  assert.ok(pasted !== undefined, 'the README has a body to paste');
  return JSON.stringify({ ...(JSON.parse(pasted) as object), request_id: key, ...changes });
}

const newKey = () => `refund-${randomUUID()}`;

/** The id of the request, as soon as the gate has it. */
async function pendingId(key: string): Promise<string> {
  for (;;) {
    const { status, body } = await gate.call('zap', 'GET', `/v1/requests/${key}`);
    if (status === 200) return body.approval_id;
    await new Promise((next) => setTimeout(next, 25));
  }
}

for (const [name, step] of Object.entries(TOOLS)) {
  test(`${name}: the step waits for a quick reviewer, and only a yes passes`, async () => {
    for (const decision of ['approve', 'reject'] as const) {
      const key = newKey();
      const asking = step('POST', '/v1/requests', readmeBody(key));
      await gate.decide(await pendingId(key), decision);
      const answer = await asking;
      assert.equal(answer.status, 201);
      assert.deepEqual([answer.body.status, passes(answer)], decision === 'approve' ? ['approved', true] : ['rejected', false]);
    }
  });

  test(`${name}: pending does not pass; a later GET with the same key gets the decision`, async () => {
    const key = newKey();
    const asked = await step('POST', '/v1/requests', readmeBody(key, { wait_seconds: 0 }));
    assert.deepEqual([asked.status, asked.body.status, passes(asked)], [201, 'pending', false]);
    const waiting = step('GET', `/v1/requests/${key}?wait_seconds=25`);
    await gate.decide(asked.body.approval_id, 'approve');
    assert.ok(passes(await waiting));
  });

  test(`${name}: a retried or replayed step asks once and gets the same decision`, async () => {
    const key = newKey();
    const body = readmeBody(key, { wait_seconds: 0 });
    const [first, again] = [await step('POST', '/v1/requests', body), await step('POST', '/v1/requests', body)];
    assert.deepEqual([again.status, again.body.approval_id], [200, first.body.approval_id]);
    await gate.decide(first.body.approval_id, 'approve');
    assert.ok(passes(await step('POST', '/v1/requests', body)));
    assert.equal(gate.letters(first.body.approval_id).length, 1);
  });

  test(`${name}: another question under the same key does not pass`, async () => {
    const key = newKey();
    const first = await step('POST', '/v1/requests', readmeBody(key, { wait_seconds: 0 }));
    await gate.decide(first.body.approval_id, 'approve');
    const other = await step('POST', '/v1/requests', readmeBody(key, { payload: { amount: 9999 } }));
    assert.deepEqual([other.status, other.body.code, passes(other)], [409, 'request_id_conflict', false]);
  });

  test(`${name}: what expires, and what a rule rejects, does not pass`, async () => {
    const expired = await step('POST', '/v1/requests', readmeBody(newKey(), { action: 'short.refund' }));
    assert.deepEqual([expired.body.status, passes(expired)], ['expired', false]);
    const refused = await step('POST', '/v1/requests', readmeBody(newKey(), { action: 'data.delete' }));
    assert.deepEqual([refused.body.status, passes(refused)], ['rejected', false]);
  });

  test(`${name}: a wrong key, no key, a client that must sign, and broken JSON are errors that do not pass`, async () => {
    const body = readmeBody(newKey());
    for (const [headers, status, code] of [
      [{ authorization: 'Bearer zap.whsec_wrong' }, 401, 'invalid_signature'],
      [{ authorization: `Bearer nobody.${gate.secret('zap')}` }, 401, 'unknown_client'],
      [{}, 401, 'invalid_signature'],
      [{ authorization: `Bearer zapier.${gate.secret('zapier')}` }, 403, 'forbidden'],
    ] as const) {
      const answer = await step('POST', '/v1/requests', body, headers);
      assert.deepEqual([answer.status, answer.body.code, passes(answer)], [status, code, false]);
    }
    const broken = await step('POST', '/v1/requests', body.replace('"summary":"', '"summary":"an unescaped " in '));
    assert.deepEqual([broken.status, broken.body.code, passes(broken)], [422, 'invalid_request', false]);
  });

  test(`${name}: a second request redeems the token, once`, async () => {
    const key = newKey();
    const asked = await step('POST', '/v1/requests', readmeBody(key, { wait_seconds: 0 }));
    const { token } = await gate.decide(asked.body.approval_id, 'approve');
    const { payload } = JSON.parse(readmeBody(key));
    const redeem = (redeemed_by: string) => step('POST', '/v1/tokens/redeem', JSON.stringify({ token, payload, redeemed_by }));
    assert.deepEqual([(await redeem('run-1')).body.first, (await redeem('run-1')).body.first], [true, false]);
    assert.equal((await redeem('run-2')).status, 409);
  });
}
