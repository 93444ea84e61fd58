// Connecting a gate, and what the builder reads when something is wrong.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type RequestListener, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, mock, test } from 'node:test';
import zapier from 'zapier-platform-core';

import { Gate } from './gate.js';
import { type Failure, META, app, connect, failure, run } from './platform.js';

let gate: Gate;

before(async () => { gate = await Gate.start(); });
after(async () => { await gate?.stop(); });

const testOf = (authData: Record<string, string>) => run('authentication.test', { authData });

async function withServer(answer: RequestListener, use: (origin: string) => Promise<void>): Promise<void> {
  const server = createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** What the builder reads when the gate at that address is connected. */
async function complaintAbout(origin: string): Promise<Failure> {
  const authData = { ...connect(gate), gate_url: origin };
  process.env['PLACET_TEST_LOOPBACK_GATE'] = origin;
  try {
    return await failure(testOf(authData));
  } finally {
    connect(gate);
  }
}

test('a client of any role connects, and the connection says who and where', async () => {
  for (const client of ['zapier', 'executor', 'other', 'auditor']) {
    const authData = connect(gate, client);
    const { results } = await testOf(authData);
    assert.deepEqual(results, { client, gate: new URL(gate.origin).host });
    const label = await run('authentication.connectionLabel', { authData, inputData: results });
    assert.equal(label.results, `${client} at ${new URL(gate.origin).host}`);
  }
});

test('the platform\'s tester connects, and blanks around what was pasted do no harm', async () => {
  const authData = connect(gate);
  const pasted = { gate_url: ` ${authData.gate_url}/ `, client_id: ' zapier ', client_secret: `${authData.client_secret}\n` };
  assert.deepEqual(await zapier.createAppTester(app)(app.authentication.test, { authData: pasted, meta: META }), {
    client: 'zapier', gate: new URL(gate.origin).host,
  });
});

test('a wrong secret and an unknown client ask for a new connection', async () => {
  const good = connect(gate);
  const cases: [Record<string, string>, RegExp][] = [
    [{ client_secret: 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=' }, /does not accept the Client Secret\. Run "placet client secret"/u],
    [{ client_secret: '' }, /does not accept the Client Secret/u],
    [{ client_id: 'nobody' }, /does not know this Client/u],
  ];
  for (const [wrong, words] of cases) {
    const { name, message } = await failure(testOf({ ...good, ...wrong }));
    assert.equal(name, 'ExpiredAuthError');
    assert.match(message, words);
    assert.doesNotMatch(message, /What happened|Console logs/u);
  }
});

test('clocks that differ do not turn the Zap off', async () => {
  const authData = connect(gate);
  const now = Date.now();
  mock.method(Date, 'now', () => now - 3_600_000);
  try {
    const { name, code, message } = await failure(testOf(authData));
    assert.deepEqual([name, code], ['AppError', 'clock_skew']);
    assert.match(message, /clocks of Zapier and of the gate differ too much: .*3[56]\d\d s/u);
  } finally {
    mock.restoreAll();
  }
});

test('what the policy forbids is said in its words', async () => {
  const authData = connect(gate, 'auditor');
  const { name, code, message } = await failure(
    run('creates.create_approval_request.operation.perform', { authData, inputData: { request_key: 'x', summary: 'y', details: { to: 'ada' } } }),
  );
  assert.deepEqual([name, code], ['AppError', 'forbidden']);
  assert.match(message, /does not allow this: this needs a client with the role `requester`/u);
});

for (const [url, words] of [
  ['http://gate.example.com', /must begin with https/u],
  ['http://127.0.0.1:1', /must begin with https/u],
  ['http://localhost:8484', /must begin with https/u],
  ['http://[::1]:8484', /must begin with https/u],
  ['http://169.254.169.254', /must begin with https/u],
  ['ftp://gate.example.com', /must begin with https/u],
  ['javascript:alert(1)', /Gate URL/u],
  ['https://user:secret@gate.example.com', /must not hold a user name/u],
  ['https://gate.example.com/v1', /ends after the host name: write https:\/\/gate\.example\.com\./u],
  ['https://gate.example.com/?x=1', /ends after the host name/u],
  ['gate.example.com', /not a web address/u],
  ['', /not a web address/u],
] as const) {
  test(`"${url}" is not taken for a gate`, async () => {
    const { name, code, message } = await failure(testOf({ ...connect(gate), gate_url: url }));
    assert.deepEqual([name, code], ['AppError', 'bad_gate_url']);
    assert.match(message, words);
  });
}

test('plain http is only for the one gate that the tests name, and not without that', async () => {
  const authData = connect(gate);
  assert.equal((await testOf(authData)).status, 'SUCCESS');
  const allowed = process.env['PLACET_TEST_LOOPBACK_GATE'];
  try {
    for (const value of [undefined, '', '1', 'true', '*', 'http://127.0.0.1', `${gate.origin}0`, 'http://127.0.0.1:1']) {
      if (value === undefined) delete process.env['PLACET_TEST_LOOPBACK_GATE'];
      else process.env['PLACET_TEST_LOOPBACK_GATE'] = value;
      assert.equal((await failure(testOf(authData))).code, 'bad_gate_url', value);
    }
    // Another host is not let in, even by name.
    process.env['PLACET_TEST_LOOPBACK_GATE'] = 'http://gate.example.com';
    assert.equal((await failure(testOf({ ...authData, gate_url: 'http://gate.example.com' }))).code, 'bad_gate_url');
  } finally {
    if (allowed !== undefined) process.env['PLACET_TEST_LOOPBACK_GATE'] = allowed;
  }
});

test('something else than a gate approves nothing', async () => {
  const pages: RequestListener[] = [
    (_, response) => { response.setHeader('content-type', 'text/html'); response.end('<h1>Welcome</h1>'); },
    (_, response) => { response.setHeader('content-type', 'application/json'); response.end('{"approved": true}'); },
    (_, response) => { response.setHeader('content-type', 'application/json'); response.end('null'); },
    (_, response) => { response.writeHead(401, { 'content-type': 'text/html' }); response.end('<h1>Please log in</h1>'); },
    (_, response) => { response.writeHead(502); response.end('Bad Gateway'); },
  ];
  for (const page of pages) {
    await withServer(page, async (origin) => {
      const { name, message } = await complaintAbout(origin);
      assert.equal(name, 'AppError');
      assert.match(message, /is not a Placet gate/u);
    });
  }
});

test('a redirect is not followed, wherever it leads', async () => {
  const reached: string[] = [];
  await withServer((request, response) => { reached.push(request.url ?? ''); response.end('{}'); }, async (elsewhere) => {
    for (const status of [301, 302, 303, 307, 308]) {
      await withServer((_, response) => { response.writeHead(status, { location: `${elsewhere}/stolen` }); response.end(); }, async (origin) => {
        assert.equal((await complaintAbout(origin)).code, 'unreachable');
      });
    }
  });
  assert.deepEqual(reached, []);
});

// A gate under test has a policy and a healthy disk: these answers are the contract's own words.
test('a gate that cannot answer now says so, and is not taken for a broken key', async () => {
  for (const [code, words] of [['no_policy', /has no policy yet/u], ['unavailable', /cannot answer at the moment\. Nothing was approved/u]] as const) {
    const problem = { type: 'about:blank', title: 'Service Unavailable', status: 503, detail: 'x', code };
    await withServer((_, response) => {
      response.writeHead(503, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify(problem));
    }, async (origin) => {
      const complaint = await complaintAbout(origin);
      assert.deepEqual([complaint.name, complaint.code], ['AppError', code]);
      assert.match(complaint.message, words);
    });
  }
});

test('a client that may not ask about tokens connects; another page with that status does not', async () => {
  const answer = (status: number, body: unknown): RequestListener => (_, response) => {
    response.writeHead(status, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify(body));
  };
  const forbidden = { type: 'about:blank', title: 'Forbidden', status: 403, detail: 'this needs a client with the role `executor`', code: 'forbidden' };
  await withServer(answer(403, forbidden), async (origin) => {
    const authData = { ...connect(gate), gate_url: origin };
    process.env['PLACET_TEST_LOOPBACK_GATE'] = origin;
    assert.equal((await testOf(authData)).status, 'SUCCESS');
    connect(gate);
  });
  for (const body of ['Forbidden', {}, { ...forbidden, code: 'blocked' }]) {
    await withServer(answer(403, body), async (origin) => { assert.match((await complaintAbout(origin)).message, /is not a Placet gate/u); });
  }
  // Nothing that is no token is valid.
  await withServer(answer(200, { valid: true, problem: null, claims: null }), async (origin) => { assert.match((await complaintAbout(origin)).message, /is not a Placet gate/u); });
});

test('a gate that is not there says so', async () => {
  const gone = await Gate.start();
  await gone.stop();
  assert.match((await complaintAbout(gone.origin)).message, /could not be reached \(ECONNREFUSED\)\. Nothing was approved/u);
});

test('nothing that is logged holds the secret or a token', async () => {
  const authData = connect(gate);
  const { body } = await gate.call('zapier', 'POST', '/v1/requests', {
    request_id: 'logged', action: 'refund.create', summary: 'Refund it.', payload: { amount: 1 },
  });
  const logged: string[] = [];
  const { handler } = await import('./platform.js');
  for (const [method, inputData] of [
    ['searches.find_approval', { request_key: 'logged' }],
    ['creates.verify_decision_token', { token: body.token }],
    ['creates.redeem_decision_token', { token: body.token, used_by: 'me' }],
    ['creates.request_approval', { request_key: 'logged', action: 'refund.create', summary: 'Refund it.', numbers: { amount: 1 }, use_approval: 'later' }],
  ] as const) {
    await handler({
      command: 'execute', method: `${method}.operation.perform`, isDeveloper: true, zcacheTestObj: {},
      customLogger: (message: string, data: unknown) => logged.push(message, JSON.stringify(data)),
      bundle: { authData, inputData, meta: META },
    });
  }
  const text = logged.join('\n');
  assert.match(text, /v1\/requests\/logged/u);
  assert.ok(!text.includes(authData.client_secret), 'the secret');
  assert.ok(!text.includes(body.token), 'the token');
});
