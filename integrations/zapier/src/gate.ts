// The one way to the gate: every call of this app goes through here, as text that arrives as it was written.

import type { Bundle, HttpResponse, ZObject } from 'zapier-platform-core';

import { type Approval, approvalIn } from './approval.js';
import { addressOf } from './gate_address.js';
import { isRecord } from './problem.js';

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
      throw new z.errors.Error(
        `The gate at ${host} could not be reached (${reasonOf(error)}). Nothing was approved. ` +
          'Check that it runs, then replay this run: the same Request Key is never asked twice.',
        'unreachable',
      );
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
