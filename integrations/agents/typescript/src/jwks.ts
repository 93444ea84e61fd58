/** The gate's public keys, fetched when they are needed and kept for a while. */

import { importJWK, errors, type CompactVerifyGetKey, type CryptoKey } from 'jose';

import { isObject } from './approval.ts';
import { Unreachable } from './errors.ts';
import { call, seconds, type Caller, type CallOptions } from './transport.ts';

const LIFESPAN_SECONDS = 600;
// A token can name any `kid`: whoever sends made-up ones must not make this program hammer the gate.
const COOLDOWN_SECONDS = 30;

export class KeyCache {
  #keys = new Map<string, CryptoKey>();
  #fetched: number | undefined;
  #fetching: Promise<void> | undefined;

  /** The key of a token's header, for `readToken`; the keys are fetched when they are missing or old. */
  find(caller: Caller, options: CallOptions = {}): CompactVerifyGetKey {
    return async ({ kid }) => {
      if (this.#wantsFetch(kid)) {
        this.#fetching ??= this.#fetch(caller, options).finally(() => (this.#fetching = undefined));
        await this.#fetching;
      }
      const key = kid === undefined ? undefined : this.#keys.get(kid);
      if (key === undefined) throw new errors.JWKSNoMatchingKey();
      return key;
    };
  }

  /** Takes a fetched JWKS: its Ed25519 keys for signatures. A key that cannot be used is skipped, not the rest. */
  async put(document: unknown): Promise<void> {
    const entries = isObject(document) ? document['keys'] : undefined;
    if (!Array.isArray(entries)) throw new Unreachable("the gate's key document cannot be read", { final: true });
    const keys = new Map<string, CryptoKey>();
    for (const entry of entries as unknown[]) {
      if (!signs(entry)) continue;
      try {
        const key = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: entry.x }, 'EdDSA');
        if (!keys.has(entry.kid) && 'type' in key) keys.set(entry.kid, key);
      } catch {
        // Malformed.
      }
    }
    this.#keys = keys;
    this.#fetched = seconds();
  }

  has(kid: string): boolean {
    return this.#keys.has(kid);
  }

  #wantsFetch(kid: string | undefined): boolean {
    const age = this.#fetched === undefined ? Infinity : seconds() - this.#fetched;
    return age > LIFESPAN_SECONDS || (age > COOLDOWN_SECONDS && !(kid !== undefined && this.#keys.has(kid)));
  }

  async #fetch(caller: Caller, { until, signal }: CallOptions): Promise<void> {
    await this.put((await call(caller, 'GET', '/.well-known/jwks.json', { until, signal, signed: false })).json);
  }
}

/** Whether this is the public key of Ed25519 signatures: not one for encryption, nor of another algorithm (RFC 7517). */
function signs(entry: unknown): entry is { kid: string; x: string } {
  if (!isObject(entry) || typeof entry['kid'] !== 'string' || typeof entry['x'] !== 'string') return false;
  const { kty, crv, use = 'sig', alg = 'EdDSA', key_ops: operations = ['verify'] } = entry;
  return (
    kty === 'OKP' && crv === 'Ed25519' && use === 'sig' && (alg === 'EdDSA' || alg === 'Ed25519') &&
    Array.isArray(operations) && operations.includes('verify') && Buffer.from(entry['x'], 'base64url').toString('base64url') === entry['x']
  );
}
