// A decision token is checked twice: by the gate's record, and here by its own signature. Both kinds, and what is refused.

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';

import { Gate, type Json } from './gate.js';
import { type Connection, connect, failure, run } from './platform.js';

let gate: Gate;

before(async () => { gate = await Gate.start(); });
after(async () => { await gate?.stop(); });

async function approved(client: string): Promise<string> {
  const { body } = await gate.call(client, 'POST', '/v1/requests', {
    request_id: `order-${randomUUID()}`, action: 'refund.large', summary: 'Refund it.', payload: { to: 'ada' },
  });
  return (await gate.decide(body.approval_id, 'approve')).token;
}

/** The gate, as one meets it whose answers something on the way, or an older gate, has changed. */
async function behind<Result>(change: (path: string, body: Json) => Json, use: (origin: string) => Promise<Result>): Promise<Result> {
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', async () => {
      const { method = 'GET', url = '/', headers } = incoming;
      const passed = Object.fromEntries(Object.entries(headers).filter(([name]) => /^x-|^content-type$/u.test(name)).map(([name, value]) => [name, String(value)]));
      const answer = await fetch(gate.origin + url, { method, headers: passed, body: method === 'GET' ? null : Buffer.concat(chunks) });
      outgoing.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
      outgoing.end(JSON.stringify(change(url, await answer.json())));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  process.env['PLACET_TEST_LOOPBACK_GATE'] = origin;
  try {
    return await use(origin);
  } finally {
    process.env['PLACET_TEST_LOOPBACK_GATE'] = gate.origin;
    server.close();
    server.closeAllConnections();
  }
}

const verified = (authData: Connection, token: string): Promise<Json> =>
  run('creates.verify_decision_token.operation.perform', { authData, inputData: { token, details: { to: 'ada' }, if_not_approved: 'continue' } }).then(({ results }) => results);

/** What the app makes of a token, where the gate calls it good: an older gate did so for some of these. */
function despiteTheGate(client: string, token: string, jwks?: (set: Json) => Json): Promise<Json> {
  const [, claims = ''] = token.split('.');
  const change = (path: string, body: Json) => {
    if (path === '/v1/tokens/verify') return { valid: true, problem: null, claims: JSON.parse(Buffer.from(claims, 'base64url').toString()) };
    return path === '/.well-known/jwks.json' && jwks !== undefined ? jwks(body) : body;
  };
  return behind(change, (origin) => verified({ ...connectTo(origin, client) }, token));
}

function connectTo(origin: string, client: string): Connection {
  const connection = { ...connect(gate, client), gate_url: origin };
  process.env['PLACET_TEST_LOOPBACK_GATE'] = origin;
  return connection;
}

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const parts = (token: string) => token.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>);

/** A token of these parts, signed as the client's own tokens are. */
function signedByClient(header: unknown, claims: unknown): string {
  const signed = `${encoded(header)}.${encoded(claims)}`;
  return `${signed}.${createHmac('sha256', gate.secret('other')).update(signed).digest('base64url')}`;
}

for (const [client, algorithm] of [['executor', 'EdDSA'], ['other', 'HS256']] as const) {
  test(`a token of kind ${algorithm} is good, and not after a change of one bit`, async () => {
    const token = await approved(client);
    assert.equal(parts(token)[0]?.['alg'], algorithm);
    const good = await verified(connect(gate, client), token);
    assert.deepEqual([good.approved, good.token_valid, good.token_problem], [true, true, null]);
    const [head, body, signature = ''] = token.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    const spoiled = await verified(connect(gate, client), [head, body, bytes.toString('base64url')].join('.'));
    assert.deepEqual([spoiled.approved, spoiled.token_problem], [false, 'invalid_signature']);
    // Other claims are refused here, whatever the gate says of them.
    for (const change of [{ action: 'refund.other' }, { approved: 1 }, { exp: 9_999_999_999 }, { sub: 'another' }]) {
      const changed = [head, encoded({ ...parts(token)[1], ...change }), signature].join('.');
      const refused = await despiteTheGate(client, changed);
      assert.deepEqual([refused.approved, refused.token_problem], [false, 'invalid_signature'], JSON.stringify(change));
    }
  });
}

test('keys of the set that are broken, or for something else, are skipped and spoil no other', async () => {
  const token = await approved('executor');
  const kid = parts(token)[0]?.['kid'];
  const other = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const spoiled = [
    null, 'key', 7, [], {}, { kid }, { kid, kty: 'OKP' }, { kid, kty: 'OKP', crv: 'Ed25519' }, { kid, kty: 'OKP', crv: 'Ed25519', x: '' },
    { kid, kty: 'OKP', crv: 'Ed25519', x: 'AAAA' }, { kid, kty: 'OKP', crv: 'Ed25519', x: 7 }, { kid, kty: 'OKP', crv: 'X25519', x: other.x },
    { kid, kty: 'RSA', n: 'AQAB', e: 'AQAB' }, { kid, kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }, { kid, kty: 'oct', k: 'c2VjcmV0' }, { ...other, kid },
  ];
  const good = await despiteTheGate('executor', token, ({ keys }) => ({ keys: [...spoiled, ...keys] }));
  assert.deepEqual([good.approved, good.token_problem], [true, null]);
  // Only with broken ones, or with the right one marked as one for another use, nothing is good.
  for (const jwks of [
    () => ({ keys: spoiled }),
    () => ({ keys: [] }),
    ({ keys }: Json) => ({ keys: keys.map((key: Json) => ({ ...key, use: 'enc' })) }),
    ({ keys }: Json) => ({ keys: keys.map((key: Json) => ({ ...key, alg: 'ES256' })) }),
    ({ keys }: Json) => ({ keys: keys.map((key: Json) => ({ ...key, key_ops: ['sign'] })) }),
    ({ keys }: Json) => ({ keys: keys.map((key: Json) => ({ ...key, kid: 'another' })) }),
  ]) {
    const bad = await despiteTheGate('executor', token, jwks);
    assert.deepEqual([bad.approved, bad.token_problem], [false, 'invalid_signature']);
  }
  const { message } = await failure(despiteTheGate('executor', token, () => ({})));
  assert.match(message, /gave no keys to check its decisions with/u);
});

test('a header with crit, a start ahead, another type and another algorithm are refused, although the signature is good', async () => {
  const token = await approved('other');
  const [header, claims] = parts(token);
  const now = Math.floor(Date.now() / 1000);
  const control = await despiteTheGate('other', signedByClient(header, claims));
  assert.deepEqual([control.approved, control.token_problem], [true, null], 'the tool that signs is right');
  for (const [head, body, problem] of [
    [{ ...header, crit: ['exp'] }, claims, 'malformed'],
    [{ ...header, crit: [] }, claims, 'malformed'],
    [{ ...header, crit: null }, claims, 'malformed'],
    [{ ...header, b64: false, crit: ['b64'] }, claims, 'malformed'],
    [{ ...header, b64: true }, claims, 'malformed'],
    [header, { ...claims, nbf: now + 3600 }, 'token_not_yet_valid'],
    [header, { ...claims, nbf: 'tomorrow' }, 'token_not_yet_valid'],
    [header, { ...claims, nbf: null }, 'token_not_yet_valid'],
    [{ ...header, typ: 'JWT' }, claims, 'malformed'],
    [{ alg: 'HS256' }, claims, 'malformed'],
    [{ ...header, alg: 'none' }, claims, 'wrong_algorithm'],
    [{ ...header, alg: 'HS512' }, claims, 'wrong_algorithm'],
    [{ ...header, alg: 'EdDSA' }, claims, 'invalid_signature'],
    [[header], claims, 'malformed'],
    [header, [claims], 'malformed'],
  ] as const) {
    const refused = await despiteTheGate('other', signedByClient(head, body));
    assert.deepEqual([refused.approved, refused.token_valid, refused.token_problem], [false, false, problem], JSON.stringify([head, body]));
  }
  const twice = Buffer.from(JSON.stringify(claims).replace('{', '{"approved":false,')).toString('base64url');
  const signed = `${encoded(header)}.${twice}`;
  const signature = createHmac('sha256', gate.secret('other')).update(signed).digest('base64url');
  assert.equal((await despiteTheGate('other', `${signed}.${signature}`)).token_problem, 'malformed', 'a claim that is defined twice');
  const past = await despiteTheGate('other', signedByClient(header, { ...claims, nbf: now - 1 }));
  assert.equal(past.approved, true, 'a start that is over is no fault');
});

test('a public key of the gate is never taken for a shared secret', async () => {
  const token = await approved('executor');
  const [header, claims] = parts(token);
  const { keys } = (await (await fetch(`${gate.origin}/.well-known/jwks.json`)).json()) as Json;
  for (const secret of [keys[0].x, Buffer.from(keys[0].x, 'base64url'), '']) {
    const signed = `${encoded({ ...header, alg: 'HS256' })}.${encoded(claims)}`;
    const forged = `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
    assert.equal((await despiteTheGate('executor', forged)).approved, false);
  }
  // Nor is a key that is not the gate's.
  const { privateKey } = generateKeyPairSync('ed25519');
  const signed = `${encoded(header)}.${encoded(claims)}`;
  assert.equal((await despiteTheGate('executor', `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`)).approved, false);
});

test('a token is spelled in one way', async () => {
  const token = await approved('other');
  const [head = '', body = '', signature = ''] = token.split('.');
  for (const other of [`${token}=`, `${token}.`, `${head}.${body}`, `${head}.${body}.${signature}AA`, ` ${head}.${body} .${signature}`, `${head}.${body}.${signature.slice(0, -1)}${signature.endsWith('B') ? 'C' : 'B'}`]) {
    const refused = await despiteTheGate('other', other).catch((error: Error) => error);
    assert.notEqual((refused as Json).approved, true, other);
  }
});

test('the gate and the token must say the same', async () => {
  const token = await approved('executor');
  const change = (path: string, body: Json) => (path === '/v1/tokens/verify' ? { ...body, claims: { ...body.claims, action: 'refund.other' } } : body);
  const refused = await behind(change, (origin) => verified(connectTo(origin, 'executor'), token));
  assert.deepEqual([refused.approved, refused.token_problem], [false, 'invalid_signature']);
});

test('Redeem refuses what Verify refuses, before anything is used up', async () => {
  const token = await approved('other');
  const [header, claims] = parts(token);
  const bad = signedByClient({ ...header, crit: ['exp'] }, claims);
  const { name, message } = await failure(run('creates.redeem_decision_token.operation.perform', { authData: connect(gate, 'other'), inputData: { token: bad, used_by: 'me' } }));
  assert.equal(name, 'HaltedError');
  assert.match(message, /^The approval cannot be used: /u);
  const { body } = await gate.call('other', 'POST', '/v1/tokens/redeem', { token, redeemed_by: 'another' });
  assert.equal(body.first, true);
});

test('a token of before a rotation stays good for a connection that has the new secret', async () => {
  const own = await Gate.start();
  try {
    const { body } = await own.call('other', 'POST', '/v1/requests', { request_id: 'old', action: 'refund.large', summary: 'Refund it.', payload: { to: 'ada' } });
    const { token } = await own.decide(body.approval_id, 'approve');
    await own.rotate();
    const output = await verified(connect(own, 'other'), token);
    assert.deepEqual([output.approved, output.token_problem], [true, null]);
  } finally {
    await own.stop();
    connect(gate);
  }
});
