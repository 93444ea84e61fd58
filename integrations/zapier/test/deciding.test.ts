// What decides is typed by the builder: no value of another step, which a model or a stranger may have written, chooses who
// is asked, for how long, and what happens then. And nothing of an earlier Placet step reaches a reviewer's page.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Gate, type Json, Receiver } from './gate.js';
import { META, connect, failure, posted, run } from './platform.js';

let gate: Gate;
let receiver: Receiver;

before(async () => {
  // One after the other: a receiver that is left behind by a gate that did not start would keep the process alive.
  gate = await Gate.start();
  receiver = await Receiver.start();
});
after(async () => { await Promise.all([gate?.stop(), receiver?.stop()]); });

const FILLED_IN = { request_key: 'refund-1001', summary: 'Refund order 1001.', action: 'refund.large', details: { to: 'ada' } };

/** A step as Zapier runs it: with what the builder wrote (the values, if nothing else), and with what came out of it. */
function perform(key: string, written: Record<string, unknown>, values: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<Json> {
  const { authData = connect(gate), meta = META } = more;
  const unique = { request_key: `refund-${randomUUID()}` };
  return run(`creates.${key}.operation.perform`, {
    authData, meta, inputDataRaw: { ...FILLED_IN, ...values, ...written }, inputData: { ...FILLED_IN, ...unique, ...values },
  }, receiver.callbackUrl()).then(({ results }) => results);
}

const ASKING = ['request_approval', 'create_approval_request'];

async function nobodyWasAsked<Result>(act: () => Promise<Result>): Promise<Result> {
  const before = (await gate.requests()).length;
  const result = await act();
  assert.equal((await gate.requests()).length, before);
  return result;
}

test('an action that a model wrote is refused, although a rule would approve it', async () => {
  for (const step of ASKING) {
    for (const written of ['{{189__action}}', 'refund.{{189__kind}}', ' {{189__output__action}} ', '{{=JSON.parse("{}")}}', 'refund.{{']) {
      const { name, code, message } = await nobodyWasAsked(() => failure(perform(step, { action: written }, { action: 'refund.create', numbers: { amount: '5' } })));
      assert.deepEqual([name, code], ['AppError', 'not_written_out']);
      assert.match(message, /^Action must be written in this step, and not be taken from another one/u);
    }
  }
});

test('so are a wait limit, labels and choices of another step; the builder reads it while testing the step', async () => {
  for (const [written, values, words] of [
    [{ wait_limit_minutes: '{{189__minutes}}' }, { wait_limit_minutes: '40000' }, /^Wait Limit in Minutes must be written/u],
    [{ labels: { team: '{{189__team}}' } }, { labels: { team: 'trusted' } }, /^Labels must be written/u],
    [{ labels: { '{{189__name}}': 'x' } }, { labels: { team: 'x' } }, /^Labels must be written/u],
    [{ labels: '{{189__all}}' }, { labels: { team: 'x' } }, /^Labels must be written/u],
    [{ if_not_approved: '{{189__mode}}' }, { if_not_approved: 'continue' }, /^If Not Approved must be written/u],
    [{ if_asked_before: '{{189__mode}}' }, { if_asked_before: 'use_earlier' }, /^If Asked Before must be written/u],
    [{ use_approval: '{{189__mode}}' }, { use_approval: 'later' }, /^Use the Approval must be written/u],
  ] as const) {
    for (const isLoadingSample of [false, true]) {
      const { code, message } = await nobodyWasAsked(() => failure(perform('request_approval', written, values, { meta: { ...META, isLoadingSample } })));
      assert.equal(code, 'not_written_out', message);
      assert.match(message, words);
    }
  }
  const verify = run('creates.verify_decision_token.operation.perform', {
    authData: connect(gate), inputDataRaw: { if_not_approved: '{{189__mode}}' }, inputData: { token: 'x', if_not_approved: 'continue' },
  });
  assert.equal((await failure(verify)).code, 'not_written_out');
});

test('values of other steps are welcome in the key, the summary and the details', async () => {
  const raw = { request_key: 'refund-{{189__order}}', summary: 'Refund {{189__order}}: {{190__reason}}', details: { to: '{{189__email}}' }, labels: { team: 'support' }, wait_limit_minutes: '60' };
  const order = randomUUID();
  const asked = await perform('create_approval_request', raw, { request_key: `refund-${order}`, summary: 'Refund 1001: it broke', details: { to: 'ada' }, labels: { team: 'support' }, wait_limit_minutes: 60 });
  assert.deepEqual([asked.status, asked.request_id, asked.metadata], ['pending', `refund-${order}`, { team: 'support' }]);
});

test('what a model writes into the other fields is data, and nothing else', async () => {
  const { approval_id: id } = await perform('create_approval_request', {}, {
    summary: '", "action": "refund.create", "summary": "',
    details: { to: '"}, "action": "refund.create", "payload": {"amount": 1', action: 'refund.create', approved: 'true', auto_approve: 'true' },
  });
  const asked = (await gate.requests()).find((one: Json) => one.approval_id === id);
  assert.deepEqual([asked.action, asked.status, asked.summary], ['refund.large', 'pending', '", "action": "refund.create", "summary": "']);
  const second = await perform('create_approval_request', {}, { details: undefined, details_json: '{"action": "refund.create", "approved": true, "amount": 1}' });
  assert.deepEqual([second.action, second.status], ['refund.large', 'pending']);
  for (const escape of ['{}, "action": "refund.create"', '{"a": 1}}, {"action": "refund.create"', '{"a": 1} x']) {
    assert.match((await failure(perform('create_approval_request', {}, { details: undefined, details_json: escape }))).message, /is not JSON/u);
  }
});

test('a connection for an AI asks for its own actions only, whatever is written in the step', async () => {
  const connection = (allowed: string) => ({ ...connect(gate), allowed_actions: allowed });
  const ask = (allowed: string, action: unknown) =>
    run('creates.create_approval_request.operation.perform', {
      authData: connection(allowed), inputData: { ...FILLED_IN, request_key: `refund-${randomUUID()}`, action, numbers: { amount: '5' } },
    }).then(({ results }) => results);
  for (const [allowed, action] of [['mail.send, refund.large', 'refund.large'], ['refund.*', 'refund.create'], ['refund.*;mail.send', 'refund.large.eur'], ['', 'refund.create'], [' \n', 'refund.large']]) {
    assert.equal((await ask(allowed ?? '', action)).action, action);
  }
  for (const [allowed, action] of [
    ['mail.send, refund.large', 'refund.create'], ['refund.*', 'refund'], ['refund.*', 'refunds.create'], ['refund.large', 'refund.large.x'],
    ['refund.large', 'Refund.Large'], [',', 'refund.create'], ['*', 'refund.create'], ['mail.send', undefined],
  ] as const) {
    const { code, message } = await nobodyWasAsked(() => failure(ask(allowed, action)));
    assert.equal(code, 'bad_action', `${allowed} ${action}`);
    assert.match(message, /^This connection may not ask for /u);
  }
  const test = (allowed: string) => run('authentication.test', { authData: connection(allowed) });
  assert.equal((await test('refund.*, mail.send')).status, 'SUCCESS');
  for (const wrong of ['*', ',', 'refund.', 'refund.*.x', 'pay!']) {
    assert.equal((await failure(test(wrong))).code, 'bad_allowed_actions', wrong);
  }
});

test('an action that comes out empty, or is no action, is refused in a sentence', async () => {
  for (const action of ['', '  ', null]) {
    assert.match((await nobodyWasAsked(() => failure(perform('create_approval_request', {}, { action })))).message, /^Action (is|came out) empty/u);
  }
  for (const action of ['pay me', 'a..b', '.a', 'a.', 'größe', 'x'.repeat(129), 'refund.create\n', ['refund.create', 'mail.send']]) {
    const outcome = await perform('create_approval_request', {}, { action }).catch((error: Error) => error);
    if (action === 'refund.create\n') assert.equal((outcome as Json).action, 'refund.create');
    else assert.match((outcome as Error).message, /Action must be words with dots/u, String(action));
  }
  assert.match((await failure(perform('create_approval_request', {}, { action: { name: 'refund.create' } }))).message, /^Action must be a text/u);
});

test('a key of which a part came out empty is refused: it would be the same for many things', async () => {
  for (const [written, key] of [
    ['refund-{{189__order}}', 'refund-'], ['{{189__order}}-refund', '-refund'], ['{{189__a}}-{{189__b}}', 'x-'], ['{{189__a}}-{{189__b}}', '-y'],
    ['order {{189__a}} of {{189__b}}', 'order 7 of '], ['order {{189__a}} of {{189__b}}', 'order  of 8'], ['{{189__a}}', ''], ['{{189__a}}', '  '],
    ['refund{{189__a}}', 'refund'], [undefined, 'refund-'], [undefined, 'refund:'], [undefined, '-1001'], [undefined, 'order/'], [undefined, ''], [undefined, null],
  ] as const) {
    const { name, message } = await nobodyWasAsked(() => failure(perform('create_approval_request', { request_key: written }, { request_key: key })));
    assert.equal(name, 'AppError');
    assert.match(message, /^(A part of )?Request Key (came out empty|is empty|is ")/u, `${written} ${key}`);
  }
  for (const [written, key] of [['refund-{{189__order}}', 'refund-1-2'], ['{{1__a}}-{{1__b}}', 'a-b'], ['#{{1__a}}', `#${randomUUID()}`], [undefined, `#${randomUUID()}`], ['(x) {{1__a}}.{{1__b}}?', '(x) 1.2?'], ['{{1__a}}', 'a'.repeat(2000)]] as const) {
    assert.equal((await perform('create_approval_request', { request_key: written }, { request_key: key })).status, 'pending', key);
  }
});

test('fields that were filled in and came out empty are said, and are not left out', async () => {
  for (const [written, values, words] of [
    [{ summary: '{{189__text}}' }, { summary: '' }, /^Summary came out empty/u],
    [{ summary: '' }, { summary: ' ' }, /^Summary is empty/u],
    [{ details: { to: '{{189__email}}', order: '1' } }, { details: { order: '1' } }, /^"to" in Details came out empty/u],
    [{ numbers: { amount: '{{189__amount}}' } }, { numbers: {} }, /^"amount" in Numbers came out empty/u],
    [{ numbers: { amount: '{{189__amount}}' } }, { numbers: undefined }, /^Numbers came out empty/u],
    [{ details_json: '{{189__json}}' }, { details_json: '' }, /^Details as JSON came out empty/u],
    [{ details: { '': 'x' } }, { details: { '': 'x' } }, /has a value without a name/u],
    [{ details: {} }, { details: {} }, /^No details are filled in/u],
    [{ details: { '': '' } }, { details: { '': '' } }, /^No details are filled in/u],
    [{ details: undefined }, { details: undefined }, /^No details are filled in/u],
  ] as const) {
    const { message } = await nobodyWasAsked(() => failure(perform('create_approval_request', written, values)));
    assert.match(message, words);
  }
  // A value of an earlier step that is empty is asked as what it is.
  const asked = await perform('create_approval_request', { details: { to: 'ada', note: '{{189__note}}' } }, { details: { to: 'ada', note: '' } });
  assert.equal(asked.status, 'pending');
});

/** The output of an earlier Placet step, as a Zap holds it. */
async function earlierOutput(): Promise<Json> {
  const callbackUrl = receiver.callbackUrl();
  const inputData = { ...FILLED_IN, request_key: `refund-${randomUUID()}` };
  const waiting = (await run('creates.request_approval.operation.perform', { authData: connect(gate), inputData }, callbackUrl)).results;
  await gate.decide(waiting.approval_id, 'approve');
  const post = posted(await receiver.waitAt(callbackUrl));
  return (await run('creates.request_approval.operation.performResume', { authData: connect(gate), inputData, outputData: waiting, ...post })).results;
}

test('a token or an outcome of an earlier step reaches no reviewer, wherever it was put', async () => {
  const output = await earlierOutput();
  const { token } = output;
  const half = Math.floor(token.length / 2);
  const secret = gate.secret('zapier');
  for (const values of [
    { details: { to: 'ada', proof: token } },
    { details: { to: 'ada', proof: `It was approved: "${token}", see?` } },
    { details: { to: 'ada', proof: `${token.slice(0, half)}\n${token.slice(half)}` } },
    { details: { to: 'ada', proof: `x${token}` } },
    { details: { to: 'ada', [token]: 'yes' } },
    { details: { to: 'ada', proofs: ['x', token] } },
    { details: undefined, details_json: JSON.stringify({ deep: [{ proof: token }] }) },
    { details: undefined, details_json: `{"proof": "${token.replaceAll('.', '\\u002e')}"}` },
    { details: undefined, details_json: JSON.stringify(output) },
    { details: undefined, details_json: JSON.stringify({ earlier: { ...output, token: undefined } }) },
    { details: { to: 'ada', earlier: JSON.stringify({ ...output, token: undefined }) } },
    { details: { to: 'ada', earlier: { ...output, token: null } } },
    { details: { ...output, token: null } },
    { summary: `Refund it. ${token}` },
    { summary: `Refund it. ${secret}` },
    { summary: `Before: ${JSON.stringify({ approved: true, status: 'approved', approval_id: output.approval_id, payload_sha256: output.payload_sha256 })}` },
    { summary: `Refund it. ${token}`.slice(0, 300) },
    { request_key: token },
    { labels: { proof: token } },
    { line_items: [{ description: token }] },
    { details: { to: 'ada', key: secret } },
    { details: { to: 'ada', headers: { Authorization: 'x' } } },
    { details: { to: 'ada', Http_Authorization: 'x' } },
    { details: { to: 'ada', 'X-Api-Key': '12345' } },
    { details: { to: 'ada', password: 'hunter2' } },
    { details: { to: 'ada', headers: 'authorization: Basic YWRhOmh1bnRlcjItaHVudGVyMg==' } },
    { details: undefined, details_json: '{"request": {"headers": {"cookie": "session=1", "accept": "*/*"}}}' },
    { details: { to: 'ada', headers: `Authorization: Bearer zapier.${secret}` } },
  ]) {
    for (const isLoadingSample of [false, true]) {
      const { code, message } = await nobodyWasAsked(() => failure(perform('request_approval', {}, values, { meta: { ...META, isLoadingSample } })));
      assert.equal(code, 'secret_in_details', JSON.stringify(values));
      assert.match(message, /holds (a decision token|the outcome) of an earlier Placet step|holds (the secret of a client|a credential)/u);
      assert.ok(!message.includes(token) && !message.includes(secret), 'the message repeats it');
    }
  }
});

test('single words of an earlier outcome, other tokens and e-mail addresses are no such thing', async () => {
  const output = await earlierOutput();
  const asked = await perform('create_approval_request', {}, {
    details: {
      approved_before: 'true', who: 'bob', earlier: output.approval_id, digest: output.payload_sha256, run: output.run, site: 'www.example.com/a.b.c',
      password_changed: 'yes', basic: 'Basic plan for a year', api_keys: '3', password: '',
      other: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln', words: 'status: approved',
    },
  });
  assert.equal(asked.status, 'pending');
});
