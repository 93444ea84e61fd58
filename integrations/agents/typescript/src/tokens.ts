/** Reading a decision token. The algorithm belongs to the key that is held, never to what the token's header says. */

import { timingSafeEqual } from 'node:crypto';

import { compactVerify, errors, type CompactVerifyGetKey } from 'jose';

import { isObject, readClaims, type Claims } from './approval.ts';
import { sha256 } from './canonical.ts';
import { GateError, InvalidToken, Unreachable } from './errors.ts';

export type Algorithm = 'HS256' | 'EdDSA';

/** The client's secrets, or where its gate's public keys are found. */
export type Keys = { algorithm: 'HS256'; secrets: readonly string[] } | { algorithm: 'EdDSA'; find: CompactVerifyGetKey };

export interface Expected {
  /** The client that asked, or one of these. */
  audience: string | ReadonlySet<string>;
  /** Unix seconds. */
  now: number;
  issuer?: string | undefined;
  /** The canonical text of the payload that is about to be used. */
  payload?: string | undefined;
  action?: string | undefined;
}

const TYPE = 'placet+jwt';
const MAX_BYTES = 16 * 1024;

/** The claims of a token that one of the keys signed. Time, audience and payload are not looked at yet. */
export async function readToken(unverified: unknown, keys: Keys): Promise<Claims> {
  const token = wellFormed(unverified, keys.algorithm);
  const tries: (Uint8Array | CompactVerifyGetKey)[] =
    keys.algorithm === 'HS256' ? keys.secrets.map((secret) => new TextEncoder().encode(secret)) : [keys.find];
  for (const key of tries) {
    const body = await signedBody(token, key, keys.algorithm);
    if (body !== undefined) return readClaims(body);
  }
  throw new InvalidToken('invalid_signature');
}

/** Audience, issuer, payload, action, outcome and time, in that order, as the gate itself checks them. */
export function checkClaims(claims: Claims, expected: Expected): void {
  const { audience } = expected;
  if (typeof audience === 'string' ? claims.aud !== audience : !audience.has(claims.aud)) throw new InvalidToken('wrong_audience');
  if (expected.issuer !== undefined && claims.iss !== expected.issuer) throw new InvalidToken('wrong_issuer');
  if (expected.payload !== undefined && !same(sha256(expected.payload), claims.payload_sha256)) {
    throw new InvalidToken('payload_mismatch');
  }
  if (expected.action !== undefined && claims.action !== expected.action) throw new InvalidToken('wrong_action');
  if (!claims.approved || claims.status !== 'approved') throw new InvalidToken('not_approved');
  if (expected.now >= claims.exp) throw new InvalidToken('token_expired');
  if (claims.nbf !== undefined && !(expected.now >= claims.nbf)) throw new InvalidToken('token_not_yet_valid');
}

async function signedBody(token: string, key: Uint8Array | CompactVerifyGetKey, algorithm: Algorithm): Promise<unknown> {
  try {
    const options = { algorithms: [algorithm] };
    const { payload } = typeof key === 'function' ? await compactVerify(token, key, options) : await compactVerify(token, key, options);
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch (error) {
    const notSigned = [errors.JWSSignatureVerificationFailed, errors.JWKSNoMatchingKey, errors.JWKSMultipleMatchingKeys];
    if (notSigned.some((kind) => error instanceof kind)) return undefined;
    if (error instanceof Unreachable) throw error;
    if (error instanceof GateError) throw new Unreachable("the gate's keys cannot be fetched", { cause: error });
    throw new InvalidToken('malformed');
  }
}

/** A token that could be one of that algorithm; nothing in it is believed. */
function wellFormed(unverified: unknown, algorithm: Algorithm): string {
  if (typeof unverified !== 'string' || unverified.length > MAX_BYTES) throw new InvalidToken('malformed');
  const parts = unverified.split('.');
  // Base64url with one spelling for one value, so that one approval has one token.
  if (parts.length !== 3 || parts.some((part) => Buffer.from(part, 'base64url').toString('base64url') !== part)) {
    throw new InvalidToken('malformed');
  }
  const header = parsed(Buffer.from(parts[0] ?? '', 'base64url'));
  // `crit` names what must be understood (RFC 7515, 4.1.11): nothing here does.
  if (!isObject(header) || header['typ'] !== TYPE || 'crit' in header) throw new InvalidToken('malformed');
  if (header['alg'] !== algorithm) throw new InvalidToken('wrong_algorithm');
  return unverified;
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}

function same(ours: string, theirs: string): boolean {
  const [a, b] = [Buffer.from(ours), Buffer.from(theirs)];
  return a.length === b.length && timingSafeEqual(a, b);
}
