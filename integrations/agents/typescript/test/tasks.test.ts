/** MCP Tasks: the official client and its tasks package drive the gate's own endpoint, over a restart of the gate. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import type { TaskEnabledSession } from '@modelcontextprotocol/ext-tasks/client';

import { Gate, until } from './gate.ts';
import { CAPABILITIES, INFO, ended, inSession, send } from './task_session.ts';

const PAYLOAD = { to: 'acme@example.com', amount: 5000 };

let gate: Gate;
before(async () => {
  gate = await Gate.start();
});
after(() => gate.stop());

const key = (client = 'mcp') => `Bearer ${client}.${gate.secret(client)}`;
const post = (request: any, authorization = key()) => send(`${gate.url}/mcp`, { Authorization: authorization }, request);
const withSession = <T>(use: (session: TaskEnabledSession) => Promise<T>, left = false) =>
  inSession(`${gate.url}/mcp`, { Authorization: key() }, use, left);

const question = (action: string) => ({ summary: 'pay', action, payload: PAYLOAD });

test('a question is a task under the approval’s id, which outlives its client and the gate', async () => {
  const reference = await withSession(async (session) => {
    const execution = await session.callTool('request_approval', question('ts.task.on'));
    assert.equal(execution.kind, 'task');
    let kept: unknown;
    if (execution.kind === 'task') await execution.handoff((one) => void (kept = one));
    return kept as Parameters<TaskEnabledSession['resumeTask']>[0];
  }, true);
  const asked = await gate.asked('ts.task.on');
  assert.equal(reference.taskId, asked);
  await gate.restart('SIGKILL');
  await withSession(async (session) => {
    const execution = await session.resumeTask(reference);
    const settling = execution.settle();
    const voted = await gate.vote(asked, 'approve');
    assert.ok(voted.ok, `${voted.status}: ${await voted.text()}`);
    const approval = ended(await settling);
    assert.deepEqual([approval.status, approval.approval_id, approval.decided_by], ['approved', asked, ['bob']]);
    assert.deepEqual(await gate.client('mcp').useToken(approval.token, PAYLOAD, 'ts.task.on'), PAYLOAD);
    // What has ended stays as it ended.
    assert.equal(ended(await (await session.resumeTask(reference)).settle()).status, 'approved');
  });
});

test('who says goodbye withdraws what they still wait for, and nothing that they have handed on', async () => {
  let kept: unknown;
  await withSession(async (session) => {
    await session.callTool('request_approval', question('ts.task.bye'));
    const handed = await session.callTool('request_approval', question('ts.task.handed'));
    assert.equal(handed.kind, 'task');
    if (handed.kind === 'task') await handed.handoff((one) => void (kept = one));
    // This session waits for it no more; closed before it has let go, it would withdraw it all the same.
    assert.equal((await handed.result()).status, 'failed');
  });
  const [closed, handed] = [await gate.asked('ts.task.bye'), await gate.asked('ts.task.handed')];
  await withSession(async (session) => {
    // A session cancels while it closes, and does not wait for the answer.
    await until(async () => (await session.task(closed as any).snapshot()).status === 'cancelled' || undefined);
    assert.equal((await gate.vote(closed, 'approve')).ok, false);
    const execution = await session.resumeTask(kept as Parameters<TaskEnabledSession['resumeTask']>[0]);
    const settling = execution.settle();
    const voted = await gate.vote(handed, 'approve');
    assert.ok(voted.ok, `${voted.status}: ${await voted.text()}`);
    assert.equal(ended(await settling).status, 'approved');
  });
});

test('a rejection completes the task, and a cancelled task is withdrawn', async () => {
  await withSession(async (session) => {
    const rejected = await session.callTool('request_approval', question('ts.task.no'));
    const settling = rejected.settle();
    await gate.vote(await gate.asked('ts.task.no'), 'reject', 'bob', 'not today');
    const approval = ended(await settling);
    assert.deepEqual([approval.status, approval.approved, approval.reason], ['rejected', false, 'not today']);
    const stopped = await session.callTool('request_approval', question('ts.task.stop'));
    const asked = await gate.asked('ts.task.stop');
    await stopped.cancel();
    assert.equal((await stopped.settle()).outcome.status, 'cancelled');
    assert.equal((await gate.vote(asked, 'approve')).ok, false);
  });
});

test('what policy decides alone is an answer and no task', async () => {
  await withSession(async (session) => {
    const execution = await session.callTool('request_approval', question('auto.task'));
    assert.equal(execution.kind, 'immediate');
    assert.equal(ended(await execution.settle()).status, 'approved');
  });
});

test('a task belongs to whoever asked, and to clients that know tasks', async () => {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': INFO,
    'io.modelcontextprotocol/clientCapabilities': CAPABILITIES,
  };
  const params = { name: 'request_approval', arguments: question('ts.task.mine'), _meta: meta };
  const created = (await post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })).result;
  assert.deepEqual([created.resultType, created.status], ['task', 'working']);
  const get = (taskId: string, own = meta, authorization = key()) =>
    post({ jsonrpc: '2.0', id: 2, method: 'tasks/get', params: { taskId, _meta: own } }, authorization);
  assert.equal((await get(created.taskId)).result.status, 'working');
  assert.equal((await get(created.taskId, meta, key('mcp2'))).error.code, -32602);
  for (const unknown of ['01ARZ3NDEKTSV4RRFFQ69G5FAV', 'x', '', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ']) {
    assert.equal((await get(unknown)).error.code, -32602, unknown);
  }
  const without = { ...meta, 'io.modelcontextprotocol/clientCapabilities': {} as typeof CAPABILITIES };
  assert.equal((await get(created.taskId, without)).error.code, -32021);
  // Such a client keeps the tools.
  const plain = (await post({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { ...params, _meta: without } })).result;
  assert.deepEqual([plain.resultType, plain.structuredContent.status], ['complete', 'pending']);
  await gate.client('mcp').cancel(plain.structuredContent.request_id);
  await post({ jsonrpc: '2.0', id: 4, method: 'tasks/cancel', params: { taskId: created.taskId, _meta: meta } });
  const status = async () => (await get(created.taskId)).result.status;
  assert.equal(await status(), 'cancelled');
});
