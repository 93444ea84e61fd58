// One approval, one run: Request Approval uses it up under the run's own name, and every other run is stopped.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { Gate, type Json, Receiver } from './gate.js';
import { PausingStep, connect, failure, posted, run } from './platform.js';

let gate: Gate;
let receiver: Receiver;
let joins: boolean;

before(async () => {
  gate = await Gate.start();
  receiver = await Receiver.start();
  joins = await gate.joins();
});
after(async () => { await Promise.all([gate?.stop(), receiver?.stop()]); });

const QUESTION = { summary: 'Refund order 1001 to Ada.', action: 'refund.large', details: { to: 'ada@example.com', order: '1001' }, numbers: { amount: '250' } };

function step(inputData: Record<string, unknown> = {}, client = 'zapier'): PausingStep {
  return new PausingStep(connect(gate, client), { ...QUESTION, request_key: `order-${randomUUID()}`, ...inputData }, receiver.callbackUrl());
}

async function paused(asking: PausingStep): Promise<Json> {
  const { results, status } = await asking.perform();
  assert.deepEqual([status, results.status], ['CALLBACK', 'pending']);
  return results;
}

async function woken(asking: PausingStep, waiting: Json): Promise<Json> {
  return asking.resume(waiting, posted(await receiver.waitAt(asking.callbackUrl)));
}

async function approved(asking: PausingStep): Promise<{ waiting: Json; output: Json }> {
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  return { waiting, output: await woken(asking, waiting) };
}

const redeem = (inputData: Record<string, unknown>, client = 'zapier') =>
  run('creates.redeem_decision_token.operation.perform', { authData: connect(gate, client), inputData }).then(({ results }) => results);

for (const client of ['zapier', 'executor', 'other']) {
  test(`the step uses the approval up, under the name of its run, for client ${client}`, async () => {
    const asking = step({}, client);
    const { output } = await approved(asking);
    const name = `zap-run-${createHash('sha256').update(asking.callbackUrl).digest('hex').slice(0, 32)}`;
    assert.deepEqual([output.run, output.token_first_use], [name, true]);
    const { status, body } = await gate.call(client, 'POST', '/v1/tokens/redeem', { token: output.token, redeemed_by: 'somebody else' });
    assert.deepEqual([status, body.code, body.redeemed_by], [409, 'already_redeemed', name]);
  });
}

test('a later step of the same run may redeem by the field Run, for the same details only', async () => {
  const { output } = await approved(step());
  const again = await redeem({ token: output.token, used_by: output.run, details: QUESTION.details, numbers: QUESTION.numbers });
  assert.deepEqual([again.approved, again.token_first_use, again.run], [true, false, output.run]);
  const { message } = await failure(redeem({ token: output.token, used_by: output.run, details: QUESTION.details, numbers: { amount: '251' } }));
  assert.match(message, /something else was approved/u);
});

test('another run with the same key is stopped after the first has used the approval, in either mode', async () => {
  for (const mode of ['stop', 'continue']) {
    const first = step({ if_not_approved: mode });
    const { output } = await approved(first);
    for (const another of [first.inAnotherRun(receiver.callbackUrl()), first.inAnotherRun(receiver.callbackUrl())]) {
      const { name, message } = await failure(another.perform());
      assert.equal(name, 'HaltedError');
      assert.match(message, new RegExp(`^This approval has been used already, by "${output.run}"\\. One approval is good for one run\\.`, 'u'));
    }
  }
});

test('of ten runs that find an approval that nobody used, one goes on', async () => {
  const asked = step();
  const waiting = await paused(asked);
  await gate.decide(waiting.approval_id, 'approve');
  const runs = await Promise.allSettled(Array.from({ length: 10 }, () => asked.inAnotherRun(receiver.callbackUrl()).perform()));
  assert.equal(runs.filter(({ status }) => status === 'fulfilled').length, 1);
  // The run that asked is the eleventh.
  assert.equal((await failure(woken(asked, waiting))).name, 'HaltedError');
});

test('what a rule approves at once is good for one run, too', async () => {
  const first = step({ action: 'refund.create', numbers: { amount: '5' } });
  const { results } = await first.perform();
  assert.equal((await woken(first, results)).token_first_use, true);
  assert.match((await failure(first.inAnotherRun(receiver.callbackUrl()).perform())).message, /used already/u);
});

test('a replay while the first run waits asks nobody; it joins, and one of the two goes on', async () => {
  const first = step();
  const waiting = await paused(first);
  // Another run has other words, another time and other labels for the same thing.
  const second = new PausingStep(first.authData, { ...first.inputData, summary: 'The same, in other words.', wait_limit_minutes: '60', labels: { run: 'second' } }, receiver.callbackUrl());
  if (!joins) {
    // This gate calls only the first run back, so the second must not wait.
    const { name, message } = await failure(second.perform());
    assert.equal(name, 'HaltedError');
    assert.match(message, /already waiting for a decision/u);
    return;
  }
  const joined = await paused(second);
  assert.equal(joined.approval_id, waiting.approval_id);
  assert.notEqual(joined.run, waiting.run);
  await gate.decide(waiting.approval_id, 'approve');
  assert.equal(gate.letters(waiting.approval_id).length, 1);
  const both = await Promise.allSettled([woken(first, waiting), woken(second, joined)]);
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

test('where a later step redeems, this one does not; only that word says so', async () => {
  const later = step({ use_approval: 'later' });
  const { output } = await approved(later);
  assert.deepEqual([output.approved, output.token_first_use], [true, null]);
  assert.equal((await redeem({ token: output.token, used_by: output.run })).token_first_use, true);
  const other = later.inAnotherRun(receiver.callbackUrl());
  const found = (await other.perform()).results;
  assert.notEqual(found.run, output.run);
  assert.match((await failure(redeem({ token: found.token, used_by: found.run }))).message, /used already/u);

  for (const word of ['Later', 'no', '', null]) {
    const { output: used } = await approved(step({ use_approval: word }));
    assert.equal(used.token_first_use, true, String(word));
  }
});

test('a rejected, expired or cancelled question uses nothing up', async () => {
  const asking = step({ if_not_approved: 'continue' });
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'reject');
  const output = await woken(asking, waiting);
  assert.deepEqual([output.approved, output.token_first_use], [false, null]);
});

test('an order number as Used By lets no second run through', async () => {
  const order = `1${Math.floor(Math.random() * 1e9)}`;
  const key = `refund-${order}`;
  const asking = step({ request_key: key, use_approval: 'later', details: { order, to: 'ada@example.com' } });
  const { output } = await approved(asking);
  const use = (usedBy: string) => redeem({ token: output.token, used_by: usedBy, details: { order, to: 'ada@example.com' }, numbers: QUESTION.numbers });
  assert.equal((await use(key)).token_first_use, true);
  const second = await failure(use(key));
  assert.equal(second.name, 'HaltedError');
  assert.match(second.message, /every run for it has the same: fill in the field Run/u);

  for (const name of [order, 'ada@example.com', '250', `run for ${key}`]) {
    const asked = step({ request_key: `${key}-${randomUUID()}`, use_approval: 'later', details: { order, to: 'ada@example.com' } });
    const { output: another } = await approved(asked);
    const by = name.startsWith('run for') ? `run for ${another.request_id}` : name;
    const again = () => redeem({ token: another.token, used_by: by, details: { order, to: 'ada@example.com' }, numbers: QUESTION.numbers });
    assert.equal((await again()).token_first_use, true);
    assert.match((await failure(again())).message, /names what was approved/u, by);
  }
});

test('Used By must be a name that the gate takes, counted in characters', async () => {
  const { output } = await approved(step({ use_approval: 'later' }));
  assert.match((await failure(redeem({ token: output.token, used_by: '🎉'.repeat(201) }))).message, /Used By must have 1 to 200 characters/u);
  assert.match((await failure(redeem({ token: output.token, used_by: ' ' }))).message, /Used By must have 1 to 200 characters/u);
  assert.equal((await redeem({ token: output.token, used_by: '🎉'.repeat(200) })).token_first_use, true);
});

test('a use whose answer is lost is found again under the same name', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  const callback = posted(await receiver.waitAt(asking.callbackUrl));
  let uses = 0;
  // A line that breaks after the gate has answered the first use.
  const line = createServer((incoming, outgoing) => {
    const onward = send(gate.origin + (incoming.url ?? ''), { method: incoming.method, headers: incoming.headers }, (answer) => {
      if (incoming.url === '/v1/tokens/redeem' && (uses += 1) === 1) {
        answer.resume().on('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  line.listen(0, '127.0.0.1');
  await once(line, 'listening');
  const origin = `http://127.0.0.1:${(line.address() as AddressInfo).port}`;
  process.env['PLACET_TEST_LOOPBACK_GATE'] = origin;
  try {
    const overTheLine = new PausingStep({ ...asking.authData, gate_url: origin }, asking.inputData, asking.callbackUrl);
    const output = await overTheLine.resume(waiting, callback);
    assert.deepEqual([output.approved, output.run, uses], [true, waiting.run, 2]);
  } finally {
    connect(gate);
    line.close();
    line.closeAllConnections();
  }
});

test('a run that was paused by an older version of the app uses the approval under a name of its own', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  const { run: _, ...stored } = waiting;
  for (const forged of [stored, { ...stored, run: waiting.request_id }, { ...stored, run: 7 }]) {
    const outcome = await asking.resume(forged, posted(await receiver.waitAt(asking.callbackUrl))).catch((error: Error) => error);
    if (forged === stored) assert.match((outcome as Json).run, /^zap-run-[0-9a-f]{32}$/u);
    else assert.equal((outcome as Error).name, 'HaltedError');
  }
});

test('a Zap that begins with a decision redeems under the Run of its trigger; the same decision, told twice, lets one through', async () => {
  const targetUrl = receiver.callbackUrl();
  const authData = connect(gate);
  const subscribeData = (await run('triggers.approval_decided.operation.performSubscribe', { authData, targetUrl })).results;
  const created = (await run('creates.create_approval_request.operation.perform', { authData, inputData: { ...QUESTION, request_key: `order-${randomUUID()}` } })).results;
  assert.equal(created.run, null);
  await gate.decide(created.approval_id, 'approve');
  const told = posted(await receiver.waitAt(targetUrl));
  const trigger = async () => (await run('triggers.approval_decided.operation.perform', { authData, ...told })).results[0];
  const [one, two] = [await trigger(), await trigger()];
  assert.notEqual(one.run, two.run);
  assert.equal((await redeem({ token: one.token, used_by: one.run })).token_first_use, true);
  assert.equal((await redeem({ token: one.token, used_by: one.run })).token_first_use, false);
  assert.equal((await failure(redeem({ token: two.token, used_by: two.run }))).name, 'HaltedError');
  const found = (await run('searches.find_approval.operation.perform', { authData, inputData: { request_key: created.request_id } })).results[0];
  assert.match(found.run, /^zap-run-/u);
  assert.equal((await failure(redeem({ token: found.token, used_by: found.run }))).name, 'HaltedError');
  await run('triggers.approval_decided.operation.performUnsubscribe', { authData, subscribeData });
});

const EXECUTORS = `
[[clients]]
id = "agent"
roles = ["requester"]
executors = ["zapier"]

[[clients]]
id = "zapier"
roles = ["executor"]

[[reviewers]]
id = "bob"
roles = ["team"]

[[rules]]
name = "people"
when = 'true'
stages = [{ ask = ["team"], within = "1h" }]
`;

test('a connection that only executes redeems what another client asked, once, and asks nothing itself', async () => {
  const own = await Gate.start(EXECUTORS);
  try {
    const { body } = await own.call('agent', 'POST', '/v1/requests', { request_id: 'r1', action: 'refund.large', summary: 'Refund it.', payload: { to: 'ada' } });
    const { token } = await own.decide(body.approval_id, 'approve');
    const authData = connect(own);
    const act = (step: string, inputData: Record<string, unknown>) => run(`creates.${step}.operation.perform`, { authData, inputData }).then(({ results }) => results);
    const verified = await act('verify_decision_token', { token, details: { to: 'ada' } });
    assert.deepEqual([verified.approved, verified.client, verified.request_id, verified.approval_id, verified.token_valid], [true, 'agent', 'r1', body.approval_id, true]);
    const used = await act('redeem_decision_token', { token, used_by: verified.run, details: { to: 'ada' } });
    assert.deepEqual([used.approved, used.token_first_use], [true, true]);
    assert.equal((await failure(act('redeem_decision_token', { token, used_by: 'another' }))).name, 'HaltedError');
    assert.equal((await failure(act('create_approval_request', { ...QUESTION, request_key: 'x' }))).code, 'forbidden');
  } finally {
    await own.stop();
    connect(gate);
  }
});
