// What happens to every request to the gate and to every answer: signed on the way out, put into plain words on the way back.

import { createHash, createHmac } from 'node:crypto';
import type { AfterResponseMiddleware, BeforeRequestMiddleware, HttpResponse, ZObject } from 'zapier-platform-core';

import { addressOf } from './gate_address.js';
import { type Problem, problemOf } from './problem.js';

/** Zapier gives a step 30 seconds; a gate that is silent for longer than this is down. */
const TIMEOUT_MS = 20_000;

/** Signs what goes to the gate, and lets nothing go anywhere else. */
export const sign: BeforeRequestMiddleware = (request, z, bundle) => {
  const url = new URL(request.url);
  if (url.origin !== addressOf(z, bundle)) throw new z.errors.Error('This app only calls the gate of its connection.', 'wrong_origin');
  // The platform would put these into the address after we have signed it.
  for (const [name, value] of Object.entries(request.params ?? {})) url.searchParams.append(name, String(value));
  request.params = {};
  request.url = url.href;

  const body = request.body ?? '';
  if (typeof body !== 'string') throw new z.errors.Error('A request to the gate must have a text as its body.', 'bad_body');
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signed = ['placet-v1', timestamp, request.method ?? 'GET', url.pathname + url.search, sha256(body)].join('\n');
  const secret = (bundle.authData['client_secret'] ?? '').trim();
  request.headers = {
    ...request.headers,
    Accept: 'application/json',
    'X-Placet-Client': (bundle.authData['client_id'] ?? '').trim(),
    'X-Placet-Timestamp': timestamp,
    'X-Signature': `v1=${createHmac('sha256', secret).update(signed).digest('hex')}`,
  };
  // A redirect could lead the signed request, and what it carries, to another host.
  request.redirect = 'error';
  request.timeout = TIMEOUT_MS;
  return request;
};

/** Turns the gate's refusals into errors that say what to do. Statuses that the caller expects pass. */
export const explain: AfterResponseMiddleware = (response, z) => {
  const expected: unknown = response.request.middlewareData?.['expected'];
  const passes = response.status < 300 || (Array.isArray(expected) && expected.includes(response.status));
  if (passes) {
    response.skipThrowForStatus = true;
    return response;
  }
  throw errorFor(z, response, problemOf(response.data));
};

function errorFor(z: ZObject, response: HttpResponse, problem: Problem | undefined): Error {
  const code = problem?.code;
  const failure = (words: string) => new z.errors.Error(words, code ?? 'not_a_gate', response.status);
  if (response.status === 429) {
    return new z.errors.ThrottledError(
      'The gate takes no more questions of this client for now (rate_per_minute and max_pending in its policy). Zapier tries again later.',
      secondsToWait(response),
    );
  }
  switch (code) {
    // Zapier turns a Zap off on this error, so it is kept for keys that will not work again.
    case 'invalid_signature':
      return plain(new z.errors.ExpiredAuthError(
        'The gate does not accept the Client Secret. Run "placet client secret" for this client, and reconnect the account with what it prints.',
      ));
    case 'unknown_client':
      return plain(new z.errors.ExpiredAuthError(
        'The gate does not know this Client. Check its spelling, or ask who runs the gate to add it to the policy, and reconnect the account.',
      ));
    case 'clock_skew':
      return failure(`The clocks of Zapier and of the gate differ too much: ${problem?.detail ?? ''}. Ask who runs the gate to set its clock.`);
    case 'forbidden':
      return failure(`The gate's policy does not allow this: ${problem?.detail ?? ''}.`);
    case 'invalid_request':
      return failure(`The gate did not take these values. ${problem?.fields.join(' ') || (problem?.detail ?? '')}`);
    case 'payload_too_large':
      return failure('Details are too long: the gate takes up to 64 KiB. Send less, or a link to the rest.');
    case 'no_policy':
      return failure('The gate has no policy yet. Ask who runs it to install one.');
    case 'unavailable':
      return failure('The gate cannot answer at the moment. Nothing was approved. Replay this run later: the same Request Key is never asked twice.');
    case undefined:
      return failure(`What answered at the Gate URL is not a Placet gate, or it is down (status ${response.status}). Nothing was approved.`);
    default:
      return failure(`The gate refused: ${problem?.detail ?? code}.`);
  }
}

function secondsToWait(response: HttpResponse): number {
  const seconds = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return Number.isFinite(seconds) ? Math.max(1, seconds) : 60;
}

/** The platform would add the headers and the beginning of each answer to the words that the builder reads. */
export function plain(error: Error): Error {
  return Object.assign(error, { doNotContextify: true });
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
