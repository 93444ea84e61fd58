// Checking a decision token here, beside the gate's own word for it.
//
// A token is signed with one of two keys: EdDSA with a key of the gate (published in its JWKS), or HS256 with the client's
// secret. The key says which algorithm it is for, and is used with no other.

import { type KeyObject, createHmac, createPublicKey, timingSafeEqual, verify as verifySignature } from 'node:crypto';
import type { Bundle, ZObject } from 'zapier-platform-core';

import { find, publicKeys, verify } from './gate.js';
import { faultIn } from './json.js';
import { isRecord } from './problem.js';

const TYPE = 'placet+jwt';
const MOST_BYTES = 16 * 1024;

/** What is known of a token: its claims, and what is wrong with it; null where nothing is. */
export interface TokenState {
  problem: string | null;
  claims: Record<string, unknown> | null;
}

/** Why a token may not be used, in words. */
const PROBLEMS: Readonly<Record<string, string>> = {
  malformed: 'this is not a decision token',
  token_not_yet_valid: 'it is only valid later',
  wrong_algorithm: 'it was signed in another way than this client uses',
  invalid_signature: 'it was not signed by this gate',
  wrong_issuer: 'it is of another gate',
  wrong_audience: 'it is for another client',
  token_expired: 'it was valid for some time only, and that is over',
  payload_mismatch: 'something else was approved: the details differ',
  not_approved: 'it says that the request was not approved',
  unknown_approval: 'the gate has no record of this decision',
};

export function inWords(problem: string | null): string {
  return PROBLEMS[problem ?? ''] ?? problem ?? 'the gate does not say why';
}

/** Whether a token may be acted on now: by the gate's record, with the payload at hand, and by its own signature. */
export async function examine(z: ZObject, bundle: Bundle, token: string, payload?: string): Promise<TokenState> {
  const { valid, problem, claims } = await verify(z, bundle, token, payload);
  if (!valid) return { problem: problem ?? 'invalid_signature', claims };
  const ours = await read(z, bundle, token);
  if (ours.problem !== null) return ours;
  // One token, one meaning: what the gate says of it is what is written in it.
  const same = ['sub', 'jti', 'aud', 'status', 'approved', 'action', 'payload_sha256'].every((name) => claims?.[name] === ours.claims?.[name]);
  return same ? ours : { problem: 'invalid_signature', claims: null };
}

/** Reads a token and checks its header, its signature and its start. When it ends, the gate says: its clock counts. */
async function read(z: ZObject, bundle: Bundle, token: string): Promise<TokenState> {
  const refused = (problem: string): TokenState => ({ problem, claims: null });
  const parts = token.split('.');
  const [head = '', body = '', signature = ''] = parts;
  // One spelling for one token: base64url may not be written in two ways.
  if (token.length > MOST_BYTES || parts.length !== 3 || parts.some((part) => Buffer.from(part, 'base64url').toString('base64url') !== part)) return refused('malformed');
  const [header, claims] = [decoded(head), decoded(body)];
  // `crit` names extensions, of which none is known here (RFC 7515, section 4.1.11); `b64` would change what is signed.
  if (header === undefined || claims === undefined || header['typ'] !== TYPE || 'crit' in header || 'b64' in header) return refused('malformed');
  const signed = Buffer.from(`${head}.${body}`);
  const given = Buffer.from(signature, 'base64url');
  switch (header['alg']) {
    case 'EdDSA': {
      const keys = signingKeys(await publicKeys(z, bundle), header['kid']);
      if (!keys.some((key) => verifySignature(null, signed, key, given))) return refused('invalid_signature');
      break;
    }
    case 'HS256': {
      const secret = (bundle.authData['client_secret'] ?? '').trim();
      if (secret === '') return refused('invalid_signature');
      const expected = createHmac('sha256', secret).update(signed).digest();
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return signedAnew(z, bundle, token, claims);
      break;
    }
    default:
      return refused('wrong_algorithm');
  }
  const start = claims['nbf'];
  if (start !== undefined && !(typeof start === 'number' && start * 1000 <= Date.now())) return refused('token_not_yet_valid');
  return { problem: null, claims };
}

/**
 * A token of before a rotation is signed with a secret that this connection no longer has. The gate signs each answer with
 * the secret that the question was signed with, so the same decision is asked for again.
 */
async function signedAnew(z: ZObject, bundle: Bundle, token: string, claims: Record<string, unknown>): Promise<TokenState> {
  const refused: TokenState = { problem: 'invalid_signature', claims: null };
  const requestId = claims['sub'];
  if (typeof requestId !== 'string' || requestId === '') return refused;
  const approval = await find(z, bundle, requestId);
  if (approval?.approval_id !== claims['jti'] || typeof approval?.token !== 'string' || approval.token === token) return refused;
  const [head = '', body, signature] = approval.token.split('.');
  const [, givenBody, givenSignature] = token.split('.');
  // Word for word the same claims, and another signature; so this happens once.
  if (decoded(head)?.['alg'] !== 'HS256' || body !== givenBody || signature === givenSignature) return refused;
  return read(z, bundle, approval.token);
}

/** The keys of a JWKS that can have signed a token of that `kid`. One that cannot be read is skipped, and spoils no other. */
function signingKeys(set: unknown[], kid: unknown): KeyObject[] {
  return set.filter(isRecord).filter((key) => kid !== undefined && key['kid'] === kid).flatMap((key) => {
    const { kty, crv, x, use, alg, key_ops: operations } = key;
    const isForSigning = (use === undefined || use === 'sig') && (operations === undefined || (Array.isArray(operations) && operations.includes('verify')));
    if (kty !== 'OKP' || crv !== 'Ed25519' || typeof x !== 'string' || !isForSigning || (alg !== undefined && alg !== 'EdDSA' && alg !== 'Ed25519')) return [];
    try {
      return [createPublicKey({ key: { kty, crv, x }, format: 'jwk' })];
    } catch {
      return [];
    }
  });
}

/** The JSON object in one of the first two parts, if it can be read in one way only. */
function decoded(part: string): Record<string, unknown> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url'));
    const value: unknown = JSON.parse(text);
    return isRecord(value) && faultIn(text, '') === undefined ? value : undefined;
  } catch {
    return undefined;
  }
}
