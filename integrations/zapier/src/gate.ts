// The one way to the gate: every call of this app goes through here, as text that arrives as it was written.

import type { Bundle, HttpResponse, ZObject } from 'zapier-platform-core';

import { type Approval, approvalIn } from './approval.js';
import { addressOf } from './gate_address.js';
import { type Problem, isRecord, problemOf } from './problem.js';

/** What is said of a token. */
export interface TokenAnswer {
  valid: boolean;
  problem: string | null;
  claims: Record<string, unknown> | null;
}

interface Call {
  method: 'GET' | 'POST' | 'DELETE';
  /** With its query. */
  path: string;
  /** JSON. */
  body?: string;
  /** Statuses beyond 2xx that the caller can deal with. */
  expected?: number[];
}

/** Sends a signed request. The middleware signs it, and explains what the gate refuses. */
export async function call(z: ZObject, bundle: Bundle, { method, path, body, expected = [] }: Call): Promise<HttpResponse> {
  try {
    return await z.request({
      url: addressOf(z, bundle) + path,
      method,
      ...(body === undefined ? {} : { body, headers: { 'Content-Type': 'application/json; charset=utf-8' } }),
      middlewareData: { expected },
    });
  } catch (error) {
    if (error instanceof Error && error.name === 'FetchError') {
      const { host } = new URL(addressOf(z, bundle));
      const reason = reasonOf(error);
      const unreachable = new z.errors.Error(
        `The gate at ${host} could not be reached (${reason}). Nothing was approved. ` +
          'Check that it runs, then replay this run: the same Request Key is never asked twice.',
        'unreachable',
      );
      throw Object.assign(unreachable, { unreachable: reason });
    }
    throw error;
  }
}

/** `ECONNREFUSED`, `request-timeout`, `no-redirect` and the like; its message would repeat the whole address. */
function reasonOf(error: Error): string {
  const { code, type } = error as Error & { code?: string; type?: string };
  return code ?? type ?? 'no answer';
}

/**
 * JSON that comes out of the platform as it went in.
 *
 * The platform takes `{{…}}` for its own: it removes it from the values of an object and refuses `{{bundle.…}}` even in a
 * finished text. Two braces in a row can only stand inside a JSON string, where an escape means the same.
 * `payload` is JSON already; it is put in as it is, so that the gate judges what the builder wrote (numbers with too many
 * digits, names given twice), not what a parser made of it.
 */
export function json(fields: Record<string, unknown>, payload?: string): string {
  const text = JSON.stringify(fields);
  const whole = payload === undefined ? text : `${text.slice(0, -1)}${text === '{}' ? '' : ','}"payload":${payload}}`;
  return whole.replaceAll('{{', '{\\u007b');
}

/** The approval of that name; undefined if this client has none. */
export async function find(z: ZObject, bundle: Bundle, requestId: string): Promise<Approval | undefined> {
  const path = `/v1/requests/${encodeURIComponent(requestId)}`;
  const response = await call(z, bundle, { method: 'GET', path, expected: [404] });
  if (response.status === 404) return undefined;
  const approval = approvalIn(z, response.data);
  if (approval.request_id !== requestId) throw new z.errors.Error('The gate answered with another approval.', 'wrong_approval');
  return approval;
}

/** The gate's public keys (RFC 7517), as they came. */
export async function publicKeys(z: ZObject, bundle: Bundle): Promise<unknown[]> {
  const { data } = await call(z, bundle, { method: 'GET', path: '/.well-known/jwks.json' });
  if (!isRecord(data) || !Array.isArray(data['keys'])) throw new z.errors.Error('The gate gave no keys to check its decisions with. Nothing was approved.', 'no_keys');
  return data['keys'];
}

/** What using a token came to: the gate's refusal, or whether it was the first use. */
export type Redemption = { first: boolean; refused?: undefined } | { refused: Problem | undefined };

/** Uses a token, under the name of who uses it. The same name again is no other use. */
export async function redeem(z: ZObject, bundle: Bundle, token: string, redeemedBy: string, payload?: string): Promise<Redemption> {
  const body = json({ token, redeemed_by: redeemedBy }, payload);
  const send = () => call(z, bundle, { method: 'POST', path: '/v1/tokens/redeem', body, expected: [409] });
  let answer: HttpResponse;
  try {
    answer = await send();
  } catch (error) {
    // The answer may have been lost after the gate had noted the use. Once more, under the same name, finds that out;
    // after a time-out there is no time left for it.
    const { unreachable } = error as { unreachable?: string };
    if (unreachable === undefined || /timeout/u.test(unreachable)) throw error;
    answer = await send();
  }
  if (answer.status === 409) return { refused: problemOf(answer.data) };
  const first = isRecord(answer.data) ? answer.data['first'] : undefined;
  if (typeof first !== 'boolean') throw new z.errors.Error('What answered at the Gate URL is not a Placet gate. Nothing was approved.', 'not_a_gate');
  return { first };
}

/** The client's newest approvals. */
export async function list(z: ZObject, bundle: Bundle, limit: number): Promise<Approval[]> {
  const { data } = await call(z, bundle, { method: 'GET', path: `/v1/requests?limit=${limit}` });
  const found: unknown[] = isRecord(data) && Array.isArray(data['requests']) ? data['requests'] : [];
  return found.map((one) => approvalIn(z, one));
}

/** What the gate says of a token, for the payload at hand. It compares with its own record. */
export async function verify(z: ZObject, bundle: Bundle, token: string, payload?: string): Promise<TokenAnswer> {
  const { data } = await call(z, bundle, { method: 'POST', path: '/v1/tokens/verify', body: json({ token }, payload) });
  if (!isRecord(data) || typeof data['valid'] !== 'boolean') {
    throw new z.errors.Error('What answered at the Gate URL is not a Placet gate.', 'not_a_gate');
  }
  return {
    valid: data['valid'],
    problem: typeof data['problem'] === 'string' ? data['problem'] : null,
    claims: isRecord(data['claims']) ? data['claims'] : null,
  };
}
