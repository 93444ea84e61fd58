/** The TypeScript verifier against tests/fixtures, which the gate's own and the Python one are held to as well. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { createLocalJWKSet } from 'jose';
import {
  canonical, digest, InvalidCallback, InvalidPayload, InvalidReceipt, InvalidToken, readCallback, Unreachable, verifyReceipt,
} from 'placet';

import { strictObject, wellFormed } from '../dist/canonical.js';
import { KeyCache } from '../dist/jwks.js';
import { signature } from '../dist/signing.js';
import { checkClaims, readToken } from '../dist/tokens.js';
import { ROOT } from './gate.ts';

const read = (name: string) => JSON.parse(readFileSync(join(ROOT, `tests/fixtures/${name}.json`), 'utf8'));
const keys = read('keyring');

for (const row of [...read('tokens').tokens, ...read('jose').tokens]) {
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

for (const row of read('numbers').accepted) {
  test(`a number has one canonical text: ${row.text}`, () => {
    assert.equal(canonical(strictObject(`{"n":${row.text}}`)), `{"n":${row.canonical}}`);
  });
}

for (const text of read('numbers').refused) {
  test(`a number that programs read differently is refused however it is spelled: ${text.slice(0, 40)}`, () => {
    for (const json of [`{"n":${text}}`, `{"a":[{"n":${text}}]}`, `{"n":[1,${text}]}`]) {
      assert.throws(() => canonical(strictObject(json)), InvalidPayload, json);
    }
  });
}

for (const row of read('jose').documents) {
  test(`of a key document the keys that can be used are taken: ${row.name}`, async () => {
    const cache = new KeyCache();
    await cache.put(row.jwks);
    const kids = new Set<string>(row.jwks.keys.map((key: any) => key?.kid).filter((kid: unknown) => typeof kid === 'string'));
    assert.deepEqual([...kids].filter((kid) => cache.has(kid)).sort(), [...row.usable].sort());
  });
}

test('what is no key document at all is said to be none', async () => {
  for (const document of [null, [], {}, { keys: null }, { keys: {} }, 'keys']) await assert.rejects(new KeyCache().put(document), Unreachable);
});

test('a key that is named twice is refused, be its values equal or not, and however it is spelled', () => {
  for (const json of [
    '{"a":1,"a":1}', '{"a":1,"a":2}', '{"a":"x","a":"x"}', '{"a":null,"a":null}', '{"a":{},"a":{}}', '{"a":1,"\\u0061":1}', '{"b":{"a":[],"a":[]}}',
    '{"b":[{"c":1},{"a":true,"a":true}]}', '{"":1,"":1}', '{"\\"":1,"\\"":1}', '{"a":"{\\"a\\":1","b":1,"a":"{"}', '{"__proto__":1,"__proto__":1}',
  ]) {
    assert.throws(() => strictObject(json), InvalidPayload, json);
  }
  for (const json of ['{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}', '{"a":"a","b":"a"}', '{"a":"\\"a\\":1,\\"a\\":2"}', '{"a":["a","a"],"b":":"}', '{"":{"":1}}']) {
    assert.deepEqual(strictObject(json), JSON.parse(json));
  }
});

test('a text is cut by characters', () => {
  assert.equal(wellFormed('😀'.repeat(600), 500), '😀'.repeat(500));
  assert.equal(wellFormed(`${'x'.repeat(499)}😀y`, 500), `${'x'.repeat(499)}😀`);
  assert.equal(wellFormed('a\ud800b'), 'a\ufffdb');
});

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

for (const row of read('receipts').receipts) {
  test(`a receipt is judged as the gate judges it: ${row.name}`, () => {
    const options = { ...(row.log_key !== null && { logKey: row.log_key }), ...(row.payload !== null && { payload: row.payload }) };
    const judged = () => {
      try {
        const proven = verifyReceipt(row.receipt, options);
        assert.deepEqual([proven.request_id, proven.index, proven.size], ['run:17.a_b-c', 303n, 345n]);
        assert.equal(proven.pinned, row.log_key !== null);
        assert.equal(proven.has_token, (JSON.parse(row.receipt) as { token: unknown }).token !== null);
        return null;
      } catch (error) {
        if (error instanceof InvalidReceipt) return error.problem;
        throw error;
      }
    };
    assert.equal(judged(), row.problem);
  });
}
