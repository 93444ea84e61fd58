/** The TypeScript verifier against tests/fixtures, which the gate's own and the Python one are held to as well. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { createLocalJWKSet } from 'jose';
import { canonical, digest, InvalidCallback, InvalidPayload, InvalidToken, readCallback } from 'placet';

import { strictObject } from '../dist/canonical.js';
import { signature } from '../dist/signing.js';
import { checkClaims, readToken } from '../dist/tokens.js';
import { ROOT } from './gate.ts';

const read = (name: string) => JSON.parse(readFileSync(join(ROOT, `tests/fixtures/${name}.json`), 'utf8'));
const keys = read('keyring');

for (const row of read('tokens').tokens) {
  test(`a token is judged as the gate judges it: ${row.name}`, async () => {
    assert.ok([row.problem].flat().includes(await judged(row)), `${await judged(row)}, not ${row.problem}`);
  });
}

async function judged(row: any): Promise<string | null> {
  const held =
    row.algorithm === 'HS256'
      ? { algorithm: 'HS256' as const, secrets: Object.values<string>(keys.secrets[row.audience]) }
      : { algorithm: 'EdDSA' as const, find: createLocalJWKSet(keys.jwks) };
  try {
    const claims = await readToken(row.token, held);
    const payload = row.payload === null ? undefined : canonical(row.payload);
    checkClaims(claims, { audience: row.audience, now: row.now, issuer: row.issuer, payload });
    return null;
  } catch (error) {
    if (error instanceof InvalidToken) return error.problem;
    throw error;
  }
}

for (const row of read('signatures').requests) {
  test(`a request is signed as the gate expects: ${row.name}`, () => {
    const theirs = row.signature.split(',').map((value: string) => value.trim());
    const signer = Object.entries<string>(keys.secrets.agent).find(([, secret]) =>
      theirs.includes(signature(secret, row.timestamp, row.method, row.path, row.body)),
    );
    const inTime = Math.abs(row.timestamp - keys.now) <= 300;
    assert.equal(inTime ? (signer?.[0] ?? null) : null, row.signed_with);
  });
}

for (const row of read('payloads').good) {
  test(`a payload has one canonical text: ${row.name}`, () => {
    assert.equal(canonical(row.payload), row.canonical);
    assert.equal(digest(row.payload), row.sha256);
  });
}

for (const row of read('payloads').bad) {
  test(`a payload with two readings is refused: ${row.name}`, () => {
    assert.throws(() => canonical(strictObject(row.json)), InvalidPayload);
  });
}

for (const row of read('callbacks').deliveries) {
  test(`a callback is believed only with its signature: ${row.name}`, (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: keys.now * 1000 });
    const secret = keys.secrets.agent.current;
    if (row.valid) {
      const approval = readCallback(secret, row.headers, row.body);
      assert.deepEqual([approval.request_id, approval.status, approval.decided_by], ['invoice-4711', 'approved', ['bob']]);
    } else {
      assert.throws(() => readCallback(secret, row.headers, row.body), InvalidCallback);
    }
  });
}
