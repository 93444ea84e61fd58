/** The client and the gated functions against a real gate, and the ways round an approval that an executor refuses. */

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';

import { SignJWT } from 'jose';
import {
  digest, Executor, GateError, InvalidPayload, InvalidToken, NotApproved, Placet, PlacetError, readCallback, requireApproval,
  requireToken, TimedOut, Unreachable, type TokenUser,
} from 'placet';

import { Gate, ISSUER, until } from './gate.ts';

const PAYLOAD = { to: 'acme@example.com', amount: 5000 };
type Pay = typeof PAYLOAD;

let gate: Gate;
before(async () => {
  gate = await Gate.start();
});
after(() => gate.stop());

describe('the client', () => {
  test('an approval is asked, waited for, verified and redeemed', async () => {
    const client = gate.client();
    const question = { action: 'ts.pay', payload: PAYLOAD, summary: 'pay it', requestId: 'ts-1', metadata: { run: '17' } };
    const asked = await client.ask(question);
    assert.deepEqual([asked.status, asked.token, asked.payload_sha256], ['pending', null, digest(PAYLOAD)]);
    assert.equal((await client.ask(question)).approval_id, asked.approval_id);
    const answering = gate.answers('ts.pay', ['approve'], 'bob', 'fine');
    const ended = await client.wait('ts-1');
    await answering;
    assert.deepEqual([ended.status, ended.decided_by, ended.reason, ended.metadata], ['approved', ['bob'], 'fine', { run: '17' }]);
    assert.equal((await client.verify(ended.token, PAYLOAD, 'ts.pay')).sub, 'ts-1');
    assert.equal((await client.verifyOnline(ended.token ?? '', PAYLOAD)).valid, true);
    assert.equal(await client.redeem(ended.token ?? '', PAYLOAD, 'run-17'), true);
    assert.equal(await client.redeem(ended.token ?? '', PAYLOAD, 'run-17'), false);
    await assert.rejects(client.redeem(ended.token ?? '', PAYLOAD, 'run-18'), (error) => error instanceof GateError && error.code === 'already_redeemed');
  });

  test('an EdDSA token is verified with the published keys', async () => {
    const client = gate.client('signed');
    const { claims } = await client.authorize({ action: 'auto.do', payload: PAYLOAD, summary: 's' });
    assert.equal(claims.aud, 'signed');
  });

  test('a request is withdrawn, or its outcome told', async () => {
    const client = gate.client();
    const asked = await client.ask({ action: 'ts.back', payload: {}, summary: 's' });
    assert.equal((await client.wait(asked.request_id, 0.5)).status, 'pending');
    assert.equal((await client.cancel(asked.request_id)).status, 'cancelled');
    const done = await client.ask({ action: 'auto.do', payload: {}, summary: 's', waitSeconds: 1 });
    assert.equal((await client.cancel(done.request_id)).status, 'approved');
  });

  test('a refusal has the code of the gate, and a gate that is away is an exception', async () => {
    const client = gate.client();
    await assert.rejects(client.get('never-asked'), (error) => error instanceof GateError && error.code === 'not_found');
    await assert.rejects(client.ask({ action: 'not dotted!', payload: {}, summary: 's' }), (error) => error instanceof GateError && error.status === 422);
    const stranger = gate.client('agent', { secret: `whsec_${'0'.repeat(64)}` });
    await assert.rejects(stranger.get('x'), (error) => error instanceof GateError && error.code === 'invalid_signature');
    const away = gate.client('agent', { url: await nobody(), patienceSeconds: 0.3 });
    await assert.rejects(away.authorize({ action: 'auto.do', payload: {}, summary: 's' }), Unreachable);
    const keyless = new Executor({ url: await nobody(), client: 'signed', once: () => true });
    const { token } = await gate.client('signed').ask({ action: 'auto.do', payload: {}, summary: 's', waitSeconds: 1 });
    await assert.rejects(keyless.verify(token), Unreachable);
  });

  test('what is not plain JSON is refused before anybody is asked', async () => {
    const cycle: Record<string, unknown> = {};
    cycle['cycle'] = cycle;
    for (const payload of [
      { n: 2 ** 53 }, { n: 1e300 }, { n: NaN }, { n: 1n }, { d: new Date() }, { m: new Map() }, { f: () => 1 }, { s: '\ud800' },
      { a: [undefined] }, { s: 'x'.repeat(70_000) }, [1], null, cycle, { toJSON: () => ({ amount: 1 }) },
    ]) {
      await assert.rejects(gate.client().ask({ action: 'auto.do', payload: payload as never, summary: 's' }), InvalidPayload);
    }
  });

  test('settings that cannot be right are refused', () => {
    assert.throws(() => gate.client('agent', { secret: '' }), TypeError);
    assert.throws(() => gate.client('agent', { url: 'gate.example.com' }), TypeError);
    assert.throws(() => gate.client('agent', { algorithm: 'none' as never }), TypeError);
    delete process.env['PLACET_URL'];
    assert.throws(() => Placet.fromEnv(), /PLACET_URL/);
  });

  test('a callback is verified with the secret of the client', () => {
    assert.throws(() => readCallback(gate.secret('agent'), { 'webhook-id': 'x' }, '{"approved":true}'), PlacetError);
  });
});

describe('requireApproval', () => {
  test('the function runs with exactly what was approved, whatever became of the argument', async () => {
    const ran: unknown[] = [];
    const books = { open: true };
    const pay = requireApproval(
      gate.client(),
      { action: 'ts.gated', summary: (call: { to: string[]; cc?: string }) => `Pay ${call.to.join()}` },
      (call, session: typeof books) => ran.push([call, session]),
    );
    const call = { to: ['acme'] };
    const running = pay(call, books);
    const client = gate.client();
    const answering = gate.answers('ts.gated', ['approve']);
    call.to.push('everybody');
    const [approval] = await answering;
    await running;
    assert.deepEqual(ran, [[{ to: ['acme'] }, books]]);
    assert.equal(approval?.payload_sha256, digest({ to: ['acme'] }));
    assert.equal((await client.get(approval?.request_id ?? '')).summary, 'Pay acme');
  });

  test('a rejection runs nothing, not even the fallback', async () => {
    const ran: unknown[] = [];
    const note = (call: Pay) => ran.push(call);
    const pay = requireApproval(gate.client(), { action: 'ts.rejected', timeoutSeconds: 600, fallback: note }, note);
    const answering = gate.answers('ts.rejected', ['reject'], 'bob', 'not this month');
    await assert.rejects(pay(PAYLOAD), (error) => error instanceof NotApproved && !(error instanceof TimedOut) && /not this month/.test(error.message));
    await answering;
    assert.deepEqual(ran, []);
  });

  test('after the time the request is withdrawn and the fallback runs', async () => {
    const run = (): string => assert.fail('nobody has approved this');
    const options = { action: 'ts.late', timeoutSeconds: 1, requestId: 'ts-late' };
    const pay = requireApproval(gate.client(), { ...options, fallback: (call: Pay) => `later: ${call.to}` }, run);
    assert.equal(await pay(PAYLOAD), 'later: acme@example.com');
    assert.ok(['expired', 'cancelled'].includes((await gate.client().get('ts-late')).status));
    await assert.rejects(requireApproval<Pay, [], string>(gate.client(), { ...options, requestId: 'ts-later' }, run)(PAYLOAD), TimedOut);
    const away = gate.client('agent', { url: await nobody(), patienceSeconds: 0.3 });
    await assert.rejects(requireApproval<Pay, [], string>(away, { action: 'ts.away' }, run)(PAYLOAD), Unreachable);
  });

  test('a failure of the function itself is its own, and takes no fallback', async () => {
    const pay = requireApproval<Pay, [], string>(gate.client(), { action: 'auto.do', fallback: () => 'fallen back' }, () => {
      throw new Unreachable('the bank is away');
    });
    await assert.rejects(pay(PAYLOAD), /the bank is away/);
  });

  test('one deed under one name runs once', async () => {
    let ran = 0;
    const pay = requireApproval<Pay, [], number>(gate.client(), { action: 'auto.once', requestId: 'ts-once' }, () => ++ran);
    assert.equal(await pay(PAYLOAD), 1);
    await assert.rejects(pay(PAYLOAD), /already_redeemed/);
    await assert.rejects(pay({ ...PAYLOAD, amount: 1 }), /request_id_conflict/);
    assert.equal(ran, 1);
  });
});

describe('an executor refuses', () => {
  const used = new Set<string>();
  const once = (id: string) => !used.has(id) && used.add(id) !== undefined;
  const kinds: [string, string, () => TokenUser][] = [
    ['with HS256', 'agent', () => gate.client()],
    ['without a secret', 'signed', () => new Executor({ url: gate.url, client: 'signed', once, issuer: ISSUER })],
  ];
  for (const [kind, asker, user] of kinds) {
    const attacked = (action = 'auto.pay') => {
      const done: Pay[] = [];
      const pay = requireToken(user(), action, (call: Pay) => done.push(call));
      const refuses = async (token: unknown, problems?: string[], payload: object = PAYLOAD) => {
        const before = done.length;
        await assert.rejects(pay({ ...(payload as Pay), approval_token: token as string }), (error) => {
          assert.ok(error instanceof PlacetError, String(error));
          if (problems) assert.ok(error instanceof InvalidToken && problems.includes(error.problem), `${error.message}`);
          return true;
        });
        assert.equal(done.length, before);
      };
      return { done, pay, refuses };
    };
    const token = async (action = 'auto.pay', client = asker, payload: Pay = PAYLOAD) =>
      (await gate.client(client).ask({ action, payload, summary: 's', waitSeconds: 1 })).token ?? '';

    test(`nothing about an honest token, the first time (${kind})`, async () => {
      const { done, pay, refuses } = attacked();
      const honest = await token();
      await pay({ ...PAYLOAD, approval_token: honest });
      await refuses(honest);
      assert.deepEqual(done, [PAYLOAD]);
    });

    test(`a missing token and words for one (${kind})`, async () => {
      const { refuses } = attacked();
      for (const nothing of [undefined, null, '', 'approved', true, { approved: true }, '{"approved":true}', ['x']]) {
        await refuses(nothing, ['missing', 'malformed']);
      }
    });

    test(`approved: true in the input (${kind})`, async () => {
      const { refuses } = attacked();
      await refuses(await token(), ['payload_mismatch'], { ...PAYLOAD, approved: true });
    });

    test(`a changed parameter, and another action (${kind})`, async () => {
      const { refuses } = attacked();
      for (const change of [{ amount: 50000 }, { amount: '5000' }, { to: 'evil@example.com' }, { to: ['acme@example.com'] }]) {
        await refuses(await token(), ['payload_mismatch'], { ...PAYLOAD, ...change });
      }
      await refuses(await token('auto.look'), ['wrong_action']);
    });

    test(`an expired token (${kind})`, async () => {
      const { refuses } = attacked('brief.do');
      const brief = await token('brief.do');
      const { exp } = JSON.parse(Buffer.from(brief.split('.')[1] ?? '', 'base64url').toString()) as { exp: number };
      await until(() => (Date.now() / 1000 >= exp ? true : undefined));
      await refuses(brief, ['token_expired']);
    });

    test(`another client's token, a rejection, and a cancelled request (${kind})`, async () => {
      const { refuses } = attacked();
      for (const other of ['agent', 'other', 'signed', 'mcp'].filter((id) => id !== asker)) {
        await refuses(await token('auto.pay', other), ['wrong_audience', 'wrong_algorithm', 'invalid_signature']);
      }
      await attacked('never.pay').refuses(await token('never.pay'), ['not_approved']);
      const pending = await gate.client(asker).ask({ action: 'people.pay', payload: PAYLOAD, summary: 's' });
      await attacked('people.pay').refuses((await gate.client(asker).cancel(pending.request_id)).token, ['not_approved']);
    });

    test(`forged and downgraded tokens (${kind})`, async () => {
      const { done, refuses } = attacked();
      const [head = '', body = '', signature = ''] = (await token()).split('.');
      const header = JSON.parse(Buffer.from(head, 'base64url').toString());
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
      const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const mac = (key: string | Buffer, change: object) => {
        const signed = `${part({ ...header, ...change })}.${body}`;
        return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
      };
      const jwks = (await (await fetch(`${gate.url}/.well-known/jwks.json`)).json()) as { keys: { x: string }[] };
      const x = jwks.keys[0]?.x ?? '';
      const stranger = generateKeyPairSync('ed25519').privateKey;
      const foreign = await new SignJWT(claims).setProtectedHeader({ typ: 'placet+jwt', alg: 'EdDSA', kid: header.kid ?? 'placet-1' }).sign(stranger);
      const forged = [
        `${head}.${part({ ...claims, exp: 2 ** 31 })}.${signature}`, `${head}.${body}.`, `${head}.${body}`, `${head}.${body}.${signature}=`,
        ...['none', 'None', '', 'RS256', 'HS512', asker === 'agent' ? 'EdDSA' : 'HS256'].map((alg) => `${part({ ...header, alg })}.${body}.${signature}`),
        mac('guess', { alg: 'HS256' }), mac(x, { alg: 'HS256' }), mac(Buffer.from(x, 'base64url'), { alg: 'HS256' }),
        mac(gate.secret('agent'), { alg: 'HS256', typ: 'JWT' }), foreign,
      ];
      for (const one of forged) await refuses(one);
      assert.deepEqual(done, []);
    });
  }

  test('the owner of the client, who approves what it asks', async () => {
    let ran = 0;
    const pay = requireApproval<Pay, [], number>(gate.client(), { action: 'ts.self', timeoutSeconds: 600, requestId: 'ts-self' }, () => ++ran);
    const running = assert.rejects(pay(PAYLOAD), NotApproved);
    const { approval_id: id } = await gate.client().ask({ action: 'ts.self', payload: PAYLOAD, summary: 'ts.self', requestId: 'ts-self', timeoutSeconds: 600 });
    assert.equal((await gate.vote(id, 'approve', 'alice')).status, 403);
    assert.equal((await gate.vote(id, 'reject', 'alice')).status, 200);
    await running;
    assert.equal(ran, 0);
  });

  test('what the holder of a secret mints itself', async () => {
    const pending = await gate.client().ask({ action: 'people.pay', payload: PAYLOAD, summary: 's' });
    const now = Math.floor(Date.now() / 1000);
    const minted = await new SignJWT({
      iss: ISSUER, sub: pending.request_id, aud: 'agent', jti: pending.approval_id, iat: now, exp: now + 600, status: 'approved', approved: true,
      action: 'people.pay', payload_sha256: digest(PAYLOAD), decided_by: ['bob'], rule: 'people',
    }).setProtectedHeader({ typ: 'placet+jwt', alg: 'HS256' }).sign(new TextEncoder().encode(gate.secret('agent')));
    await assert.rejects(gate.client().useToken(minted, PAYLOAD, 'people.pay'), GateError);
    await gate.client().cancel(pending.request_id);
  });

  test('a gate that lies', async () => {
    const honest = await gate.client().ask({ action: 'auto.pay', payload: PAYLOAD, summary: 's', waitSeconds: 1 });
    const other = await gate.client().ask({ action: 'auto.pay', payload: { ...PAYLOAD, amount: 1 }, summary: 's', waitSeconds: 1 });
    let lie: unknown;
    const server = createServer((request, response) => {
      request.resume().on('end', () => response.end(JSON.stringify(request.url === '/v1/requests' ? lie : { first: true })));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const run = (): never => assert.fail('a lie was believed');
      const pay = requireApproval<Pay, [], never>(gate.client('agent', { url, patienceSeconds: 0.1 }), { action: 'auto.pay' }, run);
      for (lie of [
        { ...honest, token: null }, { ...honest, token: other.token }, { ...honest, status: 'rejected' }, { ...honest, approved: 'true' },
        { ...honest, action: 'auto.x' }, { ...honest, payload_sha256: '0'.repeat(64) }, { approved: true }, [], 'approved', null,
      ]) {
        await assert.rejects(pay(PAYLOAD), PlacetError);
      }
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

/** An address that nobody answers at. */
async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}
