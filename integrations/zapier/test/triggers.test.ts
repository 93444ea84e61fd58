// The instant triggers: hooks on and off, and posts that are not from the gate.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { Gate, type Json, type Post, Receiver, until } from './gate.js';
import { connect, posted, run } from './platform.js';

let gate: Gate;
let receiver: Receiver;

before(async () => {
  // One after the other: a receiver that is left behind by a gate that did not start would keep the process alive.
  gate = await Gate.start();
  receiver = await Receiver.start();
});
after(async () => { await Promise.all([gate?.stop(), receiver?.stop()]); });

/** A trigger of a Zap: Zapier's URL for it, and what it does with it. */
class Subscription {
  readonly targetUrl = `${receiver.origin}/hooks/standard/${randomUUID()}/`;
  #subscribeData: Json;

  constructor(private readonly trigger: string, private readonly client = 'zapier') {}

  private async method(name: string, bundle: Record<string, unknown> = {}): Promise<Json> {
    const authData = connect(gate, this.client);
    return (await run(`triggers.${this.trigger}.operation.${name}`, { authData, targetUrl: this.targetUrl, ...bundle })).results;
  }

  async turnOn(): Promise<Json> {
    this.#subscribeData = await this.method('performSubscribe');
    return this.#subscribeData;
  }

  async turnOff(): Promise<void> {
    await this.method('performUnsubscribe', { subscribeData: this.#subscribeData });
  }

  /** What the Zap is triggered with by a post. */
  async triggeredBy(post: { rawRequest: Json; cleanedRequest: Json }): Promise<Json[]> {
    return this.method('perform', post);
  }

  async samples(): Promise<Json[]> {
    return this.method('performList');
  }

  /** The posts about one approval. */
  about({ approval_id: id }: Json): Post[] {
    return receiver.at(this.targetUrl).filter(({ content }) => JSON.parse(content).data.approval_id === id);
  }

  async waitAbout(approval: Json): Promise<Post> {
    return until('a post', () => this.about(approval)[0]);
  }
}

async function asked(client = 'zapier'): Promise<Json> {
  const { body } = await gate.call(client, 'POST', '/v1/requests', {
    request_id: `order-${randomUUID()}`, action: 'refund.large', summary: 'Refund it.', payload: { to: 'ada' },
  });
  return body;
}

test('each trigger hears its own event, as long as it is on', async () => {
  const requested = new Subscription('new_approval_request');
  const ended = new Subscription('approval_decided');
  await requested.turnOn();
  await ended.turnOn();
  const approval = await asked();
  const [item, ...more] = await requested.triggeredBy(posted(await requested.waitAbout(approval)));
  assert.deepEqual([item.id, item.status, item.summary, more], [approval.approval_id, 'pending', 'Refund it.', []]);
  await gate.decide(approval.approval_id, 'reject', 'No.');
  const [decision] = await ended.triggeredBy(posted(await ended.waitAbout(approval)));
  assert.deepEqual([decision.id, decision.status, decision.approved, decision.reason], [approval.approval_id, 'rejected', false, 'No.']);
  assert.equal(requested.about(approval).length, 1);
  assert.equal(ended.about(approval).length, 1);

  await requested.turnOff();
  const control = new Subscription('new_approval_request');
  await control.turnOn();
  const later = await asked();
  await control.waitAbout(later);
  assert.equal(requested.about(later).length, 0);
  await ended.turnOff();
  await control.turnOff();
});

test('a Zap that is turned on twice hears once, and one that is turned off twice is off', async () => {
  const trigger = new Subscription('new_approval_request');
  assert.deepEqual(await trigger.turnOn(), await trigger.turnOn());
  const other = new Subscription('new_approval_request');
  await other.turnOn();
  const approval = await asked();
  await trigger.waitAbout(approval);
  await other.waitAbout(approval);
  const next = await asked();
  await until('both to hear of the next', () => (trigger.about(next).length > 0 && other.about(next).length > 0 ? true : undefined));
  assert.equal(trigger.about(approval).length, 1);
  await trigger.turnOff();
  await trigger.turnOff();
  await other.turnOff();
});

test('a post that the gate did not make triggers nothing', async () => {
  const trigger = new Subscription('approval_decided');
  const pending = await asked();
  const post = (type: string, data: Json) => {
    const cleanedRequest = { type, timestamp: new Date().toISOString(), data };
    return { cleanedRequest, rawRequest: { method: 'POST', querystring: '', headers: { 'Content-Type': 'application/json' }, content: JSON.stringify(cleanedRequest) } };
  };
  const approved = { ...pending, status: 'approved', approved: true, decided_by: ['bob'] };
  for (const data of [
    approved,
    { ...approved, request_id: 'unheard-of' },
    { ...approved, approval_id: '01KAWWBPK4D4FVV0ASBVFXJR7Q' },
    { ...approved, client: 'executor' },
    { ...approved, approved: false },
    { approved: true },
    'approved',
    null,
  ]) {
    assert.deepEqual(await trigger.triggeredBy(post('approval.decided', data)), []);
  }
  assert.deepEqual(await trigger.triggeredBy(post('approval.requested', pending)), [], 'another event');
  assert.deepEqual(await trigger.triggeredBy({ rawRequest: {}, cleanedRequest: undefined }), []);
});

test('what a post says is replaced by what the gate says', async () => {
  const trigger = new Subscription('approval_decided');
  await trigger.turnOn();
  const approval = await asked();
  await gate.decide(approval.approval_id, 'reject');
  const post = posted(await trigger.waitAbout(approval));
  post.cleanedRequest.data = { ...post.cleanedRequest.data, status: 'approved', approved: true, summary: 'Something else.' };
  const [item] = await trigger.triggeredBy(post);
  assert.deepEqual([item.status, item.approved, item.summary], ['rejected', false, 'Refund it.']);
  await trigger.turnOff();
});

test('an auditor hears of every client\'s requests, by the gate\'s signature alone', async () => {
  const trigger = new Subscription('approval_decided', 'auditor');
  await trigger.turnOn();
  const approval = await asked('executor');
  await gate.decide(approval.approval_id, 'approve');
  const genuine = await trigger.waitAbout(approval);
  const [item] = await trigger.triggeredBy(posted(genuine));
  assert.deepEqual([item.client, item.status, item.token], ['executor', 'approved', null]);

  // Header names without Zapier's prefix are read too.
  const plainly = posted(genuine);
  plainly.rawRequest.headers = genuine.headers;
  assert.equal((await trigger.triggeredBy(plainly)).length, 1);

  const altered = posted(genuine);
  altered.rawRequest.content = altered.rawRequest.content.replace('"refund.large"', '"refund.other"');
  assert.deepEqual(await trigger.triggeredBy(altered), []);
  for (const name of ['Http-Webhook-Signature', 'Http-Webhook-Id', 'Http-Webhook-Timestamp']) {
    const unsigned = posted(genuine);
    unsigned.rawRequest.headers[name] = 'v1,AAAA';
    assert.deepEqual(await trigger.triggeredBy(unsigned), []);
    Reflect.deleteProperty(unsigned.rawRequest.headers, name);
    assert.deepEqual(await trigger.triggeredBy(unsigned), []);
  }
  await trigger.turnOff();
});

test('the editor gets real approvals as samples', async () => {
  const pending = await asked();
  const ended = await asked();
  await gate.decide(ended.approval_id, 'approve');
  const ids = async (trigger: string) => (await new Subscription(trigger).samples()).map(({ id }) => id);
  const [requested, decisions] = [await ids('new_approval_request'), await ids('approval_decided')];
  assert.ok(requested.includes(pending.approval_id) && requested.includes(ended.approval_id));
  assert.ok(!decisions.includes(pending.approval_id) && decisions.includes(ended.approval_id));
});

test('the drop-down lists the newest first, with the key and the words of each', async () => {
  const [older, newer] = [await asked(), await asked()];
  const { results } = await run('triggers.approval_list.operation.perform', { authData: connect(gate), inputData: {} });
  const ids = results.map(({ request_id: id }: Json) => id);
  assert.ok(ids.indexOf(newer.request_id) < ids.indexOf(older.request_id) && ids.includes(newer.request_id));
  assert.equal(results[0].summary, 'Refund it.');
});
