// The steps that do not wait: create, cancel, find, verify, redeem.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import zapier from 'zapier-platform-core';

import { Gate, type Json } from './gate.js';
import { META, app, connect, failure, run } from './platform.js';

let gate: Gate;

before(async () => { gate = await Gate.start(); });
after(async () => { await gate?.stop(); });

const newKey = () => `order-${randomUUID()}`;

async function step(key: string, inputData: Record<string, unknown>, client = 'zapier'): Promise<Json> {
  const kind = key === 'find_approval' ? 'searches' : 'creates';
  const { results, status } = await run(`${kind}.${key}.operation.perform`, { authData: connect(gate, client), inputData });
  assert.equal(status, 'SUCCESS');
  return results;
}

const QUESTION = { summary: 'Refund it.', action: 'refund.large', details: { to: 'ada' }, numbers: { amount: '250' } };

async function decided(decision: 'approve' | 'reject', inputData: Record<string, unknown> = {}, client = 'zapier'): Promise<Json> {
  const asked = await step('create_approval_request', { request_key: newKey(), ...QUESTION, ...inputData }, client);
  return gate.decide(asked.approval_id, decision);
}

test('Create Approval Request asks and goes on; its retry asks once', async () => {
  const inputData = { request_key: newKey(), ...QUESTION, labels: { team: 'support' } };
  const first = await step('create_approval_request', inputData);
  assert.deepEqual([first.status, first.approved, first.metadata], ['pending', false, { team: 'support' }]);
  assert.equal((await step('create_approval_request', inputData)).approval_id, first.approval_id);
  await gate.decide(first.approval_id, 'approve');
  assert.equal((await step('create_approval_request', inputData)).approved, true);
  assert.equal(gate.letters(first.approval_id).length, 1);
  // The summary is no part of the question; the details are.
  assert.equal((await step('create_approval_request', { ...inputData, summary: 'Another.' })).summary, QUESTION.summary);
  assert.equal((await failure(step('create_approval_request', { ...inputData, numbers: { amount: '251' } }))).code, 'other_question');
});

test('the platform\'s tester runs the same step', async () => {
  const tester = zapier.createAppTester(app);
  const bundle = { authData: connect(gate), inputData: { request_key: newKey(), ...QUESTION }, meta: META };
  const asked = (await tester(app.creates.create_approval_request.operation.perform, bundle)) as Json;
  assert.deepEqual([asked.status, asked.request_id], ['pending', bundle.inputData.request_key]);
  assert.equal((await gate.state(asked.request_id)).approval_id, asked.approval_id);
});

test('Cancel Approval withdraws what is pending; its retry finds its own work', async () => {
  const asked = await step('create_approval_request', { request_key: newKey(), ...QUESTION });
  const cancelled = await step('cancel_approval', { request_key: asked.request_id });
  assert.deepEqual([cancelled.status, cancelled.decided_by, cancelled.approval_id], ['cancelled', ['client:zapier'], asked.approval_id]);
  assert.deepEqual(await step('cancel_approval', { request_key: asked.request_id }), cancelled);
  assert.equal((await gate.state(asked.request_id)).status, 'cancelled');
});

test('Cancel Approval does not undo a decision', async () => {
  const approved = await decided('approve');
  const { name, message } = await failure(step('cancel_approval', { request_key: approved.request_id }));
  assert.equal(name, 'HaltedError');
  assert.match(message, /^It is too late to cancel: the request has ended, as approved, at 20/u);
  assert.equal((await failure(step('cancel_approval', { request_key: newKey() }))).code, 'not_found');
});

test('Find Approval finds what there is, says whether it may still be acted on, and finds nothing else', async () => {
  const asked = await step('create_approval_request', { request_key: newKey(), ...QUESTION });
  const find = (requestId: string) => step('find_approval', { request_key: requestId });
  const [pending] = await find(asked.request_id);
  assert.deepEqual([pending.status, pending.token_valid], ['pending', null]);
  const approved = await gate.decide(asked.approval_id, 'approve');
  const [found] = await find(approved.request_id);
  assert.deepEqual([found.status, found.approved, found.token_valid], ['approved', true, true]);
  const rejected = await decided('reject');
  const [refused] = await find(rejected.request_id);
  assert.deepEqual([refused.approved, refused.token_valid, refused.token_problem], [false, false, 'not_approved']);
  assert.deepEqual(await find(newKey()), []);
  assert.deepEqual(await step('find_approval', { request_key: asked.request_id }, 'executor'), [], 'it is another client\'s');
});

for (const client of ['zapier', 'executor', 'other']) {
  test(`Verify and Redeem take a real token for these details, for client ${client}`, async () => {
    const { token, approval_id: id } = await decided('approve', {}, client);
    const verified = await step('verify_decision_token', { token, details: QUESTION.details, numbers: QUESTION.numbers }, client);
    assert.deepEqual([verified.approved, verified.token_valid, verified.approval_id], [true, true, id]);
    const redeem = (used_by: string) => step('redeem_decision_token', { token, used_by, details: QUESTION.details, numbers: QUESTION.numbers }, client);
    const first = await redeem('run-1');
    assert.deepEqual([first.approved, first.token_first_use, first.approval_id], [true, true, id]);
    assert.equal((await redeem('run-1')).token_first_use, false);
    assert.deepEqual(await failure(redeem('run-2')), { name: 'HaltedError', message: 'This approval has been used already, by "run-1".' });
  });
}

test('two runs that redeem at once: one goes on', async () => {
  const { token } = await decided('approve');
  const runs = await Promise.allSettled(['one', 'two', 'three'].map((used_by) => step('redeem_decision_token', { token, used_by })));
  assert.equal(runs.filter(({ status }) => status === 'fulfilled').length, 1);
});

test('Verify and Redeem refuse a token of other details, of a rejection, of another client, and what is none', async () => {
  const { token } = await decided('approve');
  const { token: rejection } = await decided('reject');
  const { token: foreign } = await decided('approve', {}, 'executor');
  const [head, claims, signature = ''] = String(token).split('.');
  const forged = [head, Buffer.from(Buffer.from(claims ?? '', 'base64url').toString().replace('refund.large', 'refund.other')).toString('base64url'), signature].join('.');
  // Which of its faults is named first depends on how the two clients' tokens are signed.
  const strange = await step('verify_decision_token', { token: foreign, if_not_approved: 'continue' });
  assert.ok(['wrong_algorithm', 'wrong_audience', 'invalid_signature'].includes(strange.token_problem));
  assert.deepEqual([strange.approved, strange.token_valid], [false, false]);
  assert.equal((await failure(step('redeem_decision_token', { token: foreign, used_by: 'me' }))).name, 'HaltedError');
  for (const [inputData, problem, words] of [
    [{ token, numbers: { amount: '9999' } }, 'payload_mismatch', /something else was approved/u],
    [{ token: rejection }, 'not_approved', /was not approved/u],
    [{ token: forged }, 'invalid_signature', /not signed by this gate/u],
    [{ token: 'nonsense' }, 'malformed', /not a decision token/u],
    [{ token: '' }, 'malformed', /not a decision token/u],
  ] as const) {
    const stopped = await failure(step('verify_decision_token', inputData));
    assert.equal(stopped.name, 'HaltedError');
    assert.match(stopped.message, words);
    const output = await step('verify_decision_token', { ...inputData, if_not_approved: 'continue' });
    assert.deepEqual([output.approved, output.token_valid, output.token_problem, output.status], [false, false, problem, null]);
    assert.ok(['HaltedError', 'AppError'].includes((await failure(step('redeem_decision_token', { ...inputData, used_by: 'me' }))).name));
  }
});

test('a token that was valid once is refused when its time is over', async () => {
  const { token } = await decided('approve', { action: 'brief.refund' });
  while ((await gate.call('zapier', 'POST', '/v1/tokens/verify', { token })).body.valid) await new Promise((next) => setTimeout(next, 50));
  assert.match((await failure(step('verify_decision_token', { token }))).message, /valid for some time only, and that is over/u);
  assert.match((await failure(step('redeem_decision_token', { token, used_by: 'me' }))).message, /that is over/u);
});

test('Used By is needed', async () => {
  const { token } = await decided('approve');
  assert.match((await failure(step('redeem_decision_token', { token }))).message, /Used By/u);
});
