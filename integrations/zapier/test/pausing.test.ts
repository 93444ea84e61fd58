// Request Approval: the run pauses, and goes on only after a real yes, whatever is posted, lost or repeated.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Gate, type Json, Receiver } from './gate.js';
import { PausingStep, connect, failure, posted } from './platform.js';

let gate: Gate;
let receiver: Receiver;

before(async () => {
  // One after the other: a receiver that is left behind by a gate that did not start would keep the process alive.
  gate = await Gate.start();
  receiver = await Receiver.start();
});
after(async () => { await Promise.all([gate?.stop(), receiver?.stop()]); });

const newKey = () => `order-${randomUUID()}`;

function step(inputData: Record<string, unknown> = {}, client = 'zapier'): PausingStep {
  const filledIn = {
    request_key: newKey(), summary: 'Refund order 1001 to Ada.', action: 'refund.large',
    details: { to: 'ada@example.com' }, numbers: { amount: '250.00' }, ...inputData,
  };
  return new PausingStep(connect(gate, client), filledIn, receiver.callbackUrl());
}

/** Asks, and returns what the platform stores while it waits. */
async function paused(asking: PausingStep): Promise<Json> {
  const { results, status } = await asking.perform();
  assert.equal(status, 'CALLBACK');
  assert.equal(results.status, 'pending');
  return results;
}

/** Waits for the gate's callback, and wakes the step with it. */
async function woken(asking: PausingStep, waiting: Json): Promise<Json> {
  return asking.resume(waiting, posted(await receiver.waitAt(asking.callbackUrl)));
}

for (const client of ['zapier', 'executor', 'other']) {
  test(`an approval resumes the run, for client ${client}`, async () => {
    const asking = step({}, client);
    const waiting = await paused(asking);
    await gate.decide(waiting.approval_id, 'approve', 'The photo shows it.');
    const output = await woken(asking, waiting);
    assert.deepEqual(
      [output.status, output.approved, output.decided_by, output.reason, output.token_valid],
      ['approved', true, ['bob'], 'The photo shows it.', true],
    );
    const { body } = await gate.call(client, 'POST', '/v1/tokens/verify', {
      token: output.token, payload: { to: 'ada@example.com', amount: 250 },
    });
    assert.equal(body.valid, true);
  });
}

test('a rejection stops the run as safely halted, and says who and why', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'reject', 'Too much.');
  assert.deepEqual(await failure(woken(asking, waiting)), { name: 'HaltedError', message: 'Rejected by bob. Reason: Too much.' });
});

test('a rejection is handed on where the builder wants that', async () => {
  const asking = step({ if_not_approved: 'continue' });
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'reject');
  const { status, approved, token_valid: valid, token_problem: problem } = await woken(asking, waiting);
  assert.deepEqual([status, approved, valid, problem], ['rejected', false, false, 'not_approved']);
});

test('any other word than continue stops the run', async () => {
  const asking = step({ if_not_approved: 'Continue, please' });
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'reject');
  assert.equal((await failure(woken(asking, waiting))).name, 'HaltedError');
});

test('a request that expires calls the run back, and stops it', async () => {
  const asking = step({ action: 'short.refund' });
  const waiting = await paused(asking);
  const { name, message } = await failure(woken(asking, waiting));
  assert.equal(name, 'HaltedError');
  assert.match(message, /^Nobody decided in time \(by 20\d\d-.*\), which is not an approval\.$/u);
});

test('a request that is cancelled calls the run back, and stops it', async () => {
  const asking = step();
  const waiting = await paused(asking);
  assert.equal((await gate.call('zapier', 'POST', `/v1/requests/${waiting.request_id}/cancel`)).status, 200);
  assert.deepEqual(await failure(woken(asking, waiting)), { name: 'HaltedError', message: 'The request was cancelled.' });
});

test('what a rule decides at once calls the run back too', async () => {
  const yes = step({ action: 'refund.create', numbers: { amount: '19.50' } });
  const asked = await yes.perform();
  assert.deepEqual([asked.status, asked.results.status], ['CALLBACK', 'approved']);
  const output = await woken(yes, asked.results);
  assert.deepEqual([output.approved, output.decided_by], [true, ['policy:small refunds']]);

  const no = step({ action: 'data.delete' });
  const refused = await no.perform();
  const { name, message } = await failure(woken(no, refused.results));
  assert.deepEqual([name, message], ['HaltedError', 'Rejected by policy:never.']);
});

test('every request of this app ends within 28 days, also where the rule would wait longer', async () => {
  const days = async (asking: PausingStep) => {
    const { created_at: asked, deadline } = await paused(asking);
    return (Date.parse(deadline) - Date.parse(asked)) / 86_400_000;
  };
  assert.equal(await days(step()), 28);
  assert.equal(await days(step({ wait_limit_minutes: 1440 })), 1);
});

test('a forged callback approves nothing', async () => {
  const asking = step({ if_not_approved: 'continue' });
  const waiting = await paused(asking);
  const forged = { type: 'approval.decided', timestamp: new Date().toISOString(), data: { ...waiting, status: 'approved', approved: true, decided_by: ['bob'] } };
  const { name, code } = await failure(asking.resume(waiting, { rawRequest: { method: 'POST', querystring: '', headers: {}, content: JSON.stringify(forged) }, cleanedRequest: forged }));
  assert.deepEqual([name, code], ['AppError', 'forged_callback']);
  // It has not decided anything either.
  assert.equal((await gate.state(waiting.request_id)).status, 'pending');
});

test('a callback that says approved does not change a rejection', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'reject');
  const genuine = posted(await receiver.waitAt(asking.callbackUrl));
  genuine.cleanedRequest.data = { ...genuine.cleanedRequest.data, status: 'approved', approved: true };
  assert.equal((await failure(asking.resume(waiting, genuine))).name, 'HaltedError');
});

test('a callback body that is not JSON is only a hint as well', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  const output = await asking.resume(waiting, { rawRequest: { method: 'GET', querystring: '', headers: {}, content: '' }, cleanedRequest: {} });
  assert.equal(output.approved, true);
});

test('another approval in the stored output approves nothing', async () => {
  const [asking, other] = [step(), step()];
  const [waiting, decided] = [await paused(asking), await paused(other)];
  await gate.decide(decided.approval_id, 'approve');
  const callback = posted(await receiver.waitAt(other.callbackUrl));
  assert.equal((await failure(asking.resume({ ...waiting, approval_id: decided.approval_id }, callback))).code, 'lost');
  assert.equal((await failure(asking.resume({ ...waiting, request_id: 'unheard-of' }, callback))).code, 'lost');
  assert.equal((await failure(asking.resume({}, callback))).code, 'lost');
});

test('an approval of other details than the step now holds approves nothing', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  const callback = posted(await receiver.waitAt(asking.callbackUrl));
  for (const changed of [{ numbers: { amount: '2500.00' } }, { details: { to: 'eve@example.com' } }, { action: 'refund.other' }]) {
    const altered = new PausingStep(asking.authData, { ...asking.inputData, ...changed }, asking.callbackUrl);
    assert.equal((await failure(altered.resume(waiting, callback))).code, 'other_question');
  }
});

test('an approval that is acted on too late stops the run in either mode', async () => {
  for (const mode of ['stop', 'continue']) {
    const asking = step({ action: 'brief.refund', if_not_approved: mode });
    const waiting = await paused(asking);
    const { token } = await gate.decide(waiting.approval_id, 'approve');
    await receiver.waitAt(asking.callbackUrl);
    while ((await gate.call('zapier', 'POST', '/v1/tokens/verify', { token })).body.valid) await new Promise((next) => setTimeout(next, 50));
    const { name, message } = await failure(woken(asking, waiting));
    assert.equal(name, 'HaltedError');
    assert.match(message, /valid for some time, and that is over/u);
  }
});

test('a gate that is down at the resume approves nothing, and a replay finds the decision', async () => {
  const asking = step({ if_not_approved: 'continue' });
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  const callback = posted(await receiver.waitAt(asking.callbackUrl));
  await gate.halt();
  try {
    const { name, code, message } = await failure(asking.resume(waiting, callback));
    assert.deepEqual([name, code], ['AppError', 'unreachable']);
    // Refused, or reset where a kept connection has not heard yet that the gate has gone.
    assert.match(message, /could not be reached \(ECONN(REFUSED|RESET)\)\. Nothing was approved\./u);
  } finally {
    await gate.resume();
  }
  const replay = asking.inAnotherRun(receiver.callbackUrl());
  const { results, status } = await replay.perform();
  assert.deepEqual([status, results.approved, results.approval_id], ['SUCCESS', true, waiting.approval_id]);
});

test('a gate that is down when the step asks is an error, and the retry asks once', async () => {
  const asking = step();
  await gate.halt();
  try {
    assert.equal((await failure(asking.perform())).code, 'unreachable');
  } finally {
    await gate.resume();
  }
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  assert.equal((await woken(asking, waiting)).approved, true);
});

test('a callback that comes twice gives the same answer twice', async () => {
  const asking = step();
  const waiting = await paused(asking);
  await gate.decide(waiting.approval_id, 'approve');
  const callback = posted(await receiver.waitAt(asking.callbackUrl));
  assert.deepEqual(await asking.resume(waiting, callback), await asking.resume(waiting, callback));
});

test('a retried step asks once', async () => {
  const asking = step();
  const first = await paused(asking);
  const again = await paused(asking);
  assert.equal(again.approval_id, first.approval_id);
  await gate.decide(first.approval_id, 'approve');
  assert.equal(gate.letters(first.approval_id).length, 1);
  assert.equal((await woken(asking, again)).approved, true);
  assert.equal((await gate.requests()).filter(({ request_id: id }) => id === first.request_id).length, 1);
});

test('ten retries at once ask once', async () => {
  const asking = step();
  const answers = await Promise.all(Array.from({ length: 10 }, () => asking.perform()));
  assert.equal(new Set(answers.map(({ results }) => results.approval_id)).size, 1);
});

test('a replayed run finds the earlier decision, and does not wait', async () => {
  for (const decision of ['approve', 'reject'] as const) {
    const asking = step();
    const waiting = await paused(asking);
    await gate.decide(waiting.approval_id, decision);
    const replay = asking.inAnotherRun(receiver.callbackUrl());
    if (decision === 'approve') {
      const { results, status } = await replay.perform();
      assert.deepEqual([status, results.approved, results.approval_id], ['SUCCESS', true, waiting.approval_id]);
    } else {
      assert.deepEqual(await failure(replay.perform()), { name: 'HaltedError', message: 'Rejected by bob.' });
    }
    assert.equal(gate.letters(waiting.approval_id).length, 1);
  }
});

test('a builder may have each run ask again, and a retry within a run still asks once', async () => {
  const asking = step({ if_asked_before: 'ask_again' });
  const first = await paused(asking);
  assert.equal((await paused(asking)).approval_id, first.approval_id);
  await gate.decide(first.approval_id, 'approve');
  assert.equal((await woken(asking, first)).approved, true);

  const replay = asking.inAnotherRun(receiver.callbackUrl());
  const second = await paused(replay);
  assert.notEqual(second.approval_id, first.approval_id);
  await gate.decide(second.approval_id, 'reject');
  assert.equal((await failure(woken(replay, second))).name, 'HaltedError');

  // A retry after its own callback has been: it would wait for ever, so it is halted.
  assert.match((await failure(asking.perform())).message, /was decided \(approved\) while the step was being retried/u);
});

test('one key for two questions is an error, decided or not', async () => {
  const asking = step();
  const waiting = await paused(asking);
  const other = new PausingStep(asking.authData, { ...asking.inputData, numbers: { amount: '9999' } }, receiver.callbackUrl());
  assert.equal((await failure(other.perform())).code, 'other_question');
  await gate.decide(waiting.approval_id, 'approve');
  assert.equal((await failure(other.perform())).code, 'other_question');
});

test('a test in the editor shows a sample, asks nobody and does not wait', async () => {
  const asking = step({ labels: { team: 'support' } });
  const { results, status } = await asking.perform({ isLoadingSample: true });
  assert.equal(status, 'SUCCESS');
  assert.deepEqual([results.summary, results.request_id, results.metadata], ['Refund order 1001 to Ada.', asking.inputData['request_key'], { team: 'support' }]);
  assert.equal((await gate.call('zapier', 'GET', `/v1/requests/${results.request_id}`)).status, 404);
});

test('too many questions in a minute are throttled, with the time to wait', async () => {
  const asking = () => failure(step({}, 'slow').perform());
  // One of two may fall into the next minute.
  await step({}, 'slow').perform().catch(() => undefined);
  let throttled = await asking().catch(() => undefined);
  throttled ??= await asking();
  assert.equal(throttled.name, 'ThrottledError');
  assert.ok(Number(throttled.delay) >= 1 && Number(throttled.delay) <= 60, String(throttled.delay));
});

test('a rotation of the keys breaks no run that waits; the one after it asks for the new secret', async () => {
  const own = await Gate.start();
  try {
    const authData = connect(own);
    const asking = new PausingStep(authData, { request_key: newKey(), summary: 'Refund it.', details: { to: 'ada' }, use_approval: 'later' }, receiver.callbackUrl());
    const waiting = await paused(asking);
    await own.rotate();
    await own.decide(waiting.approval_id, 'approve');
    const callback = posted(await receiver.waitAt(asking.callbackUrl));
    assert.equal((await asking.resume(waiting, callback)).approved, true);
    await own.rotate();
    assert.equal((await failure(asking.resume(waiting, callback))).name, 'ExpiredAuthError');
    const replay = new PausingStep(connect(own), asking.inputData, receiver.callbackUrl());
    assert.equal((await replay.perform()).results.approved, true);
  } finally {
    await own.stop();
    connect(gate);
  }
});
