/** Calls of the gate's API, signed, and tried again while the gate is away (`patience.ts`). */

import * as http from 'node:http';
import * as https from 'node:https';

import type { Address } from './address.ts';
import { isObject } from './approval.ts';
import { GateError, Unreachable } from './errors.ts';
import { isTriedAgain, Patience, retryAfter } from './patience.ts';
import { signedHeaders } from './signing.ts';

export const ANSWER_SECONDS = 15;
const ANSWER_BYTES = 4 * 1024 * 1024;

export interface Caller {
  address: Address;
  client: string;
  secrets: readonly string[];
  patienceSeconds: number;
}

export interface CallOptions {
  body?: unknown;
  /** How long the gate was asked to wait, in seconds. */
  waits?: number;
  /** When all must be over, in seconds of `seconds()`. */
  until?: number | undefined;
  patienceSeconds?: number | undefined;
  /** Whether the caller looks again by itself, when the gate says so. */
  looksAgain?: boolean;
  /** False for what anybody may read. */
  signed?: boolean;
  /** Ends the call with its reason. */
  signal?: AbortSignal | undefined;
}

/** A monotonic clock, in seconds. */
export function seconds(): number {
  return performance.now() / 1000;
}

export interface Called {
  status: number;
  json: unknown;
  date: string | undefined;
  /** The header `Retry-After`. */
  retryAfter: string | undefined;
}

/** One call's answer. Trying it again is safe: each call here is idempotent. */
export async function call(caller: Caller, method: string, path: string, options: CallOptions = {}): Promise<Called> {
  const { body, waits = 0, until, signal } = options;
  const raw = body === undefined ? '' : JSON.stringify(body);
  const patience = new Patience(options.patienceSeconds ?? caller.patienceSeconds, until);
  for (;;) {
    signal?.throwIfAborted();
    const left = Math.min(ANSWER_SECONDS + waits, (until ?? Infinity) - seconds());
    if (left <= 0) throw new Unreachable('the time for this was over before the gate could be asked');
    const headers: Record<string, string> =
      options.signed === false ? {} : signedHeaders(caller.client, caller.secrets, Math.floor(Date.now() / 1000), method, path, raw);
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (options.looksAgain) headers['Prefer'] = 'respond-async';
    let trouble: Unreachable | GateError;
    let told: number | undefined;
    try {
      const answer = await send(caller.address, method, path, headers, raw, left, signal);
      if (answer.status >= 200 && answer.status < 300) return { status: answer.status, json: json(answer.text), date: answer.date, retryAfter: answer.retryAfter };
      trouble = refusal(answer);
      if (!isTriedAgain(answer.status)) throw trouble;
      if (answer.status === 429 || answer.status === 503) told = retryAfter(answer.retryAfter, Date.now() / 1000);
    } catch (error) {
      if (!(error instanceof Unreachable) || error.final) throw error;
      trouble = error;
    }
    const pause = patience.pause(seconds(), told);
    if (pause === undefined) throw trouble;
    await sleep(pause, signal);
  }
}

/** Resolves after so many seconds; rejects with the signal's reason. */
export function sleep(pause: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, pause * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
  });
}

interface Answer {
  status: number;
  text: string;
  retryAfter: string | undefined;
  date: string | undefined;
}

async function send(
  address: Address, method: string, path: string, headers: Record<string, string>, raw: string, limit: number, signal: AbortSignal | undefined,
): Promise<Answer> {
  const { secure, host, port, agent } = address;
  // The path as it is signed: a URL would resolve the `..` of a request's name.
  const options = { host, port, agent, method, path: address.prefix + path, headers: { ...headers, 'Content-Length': Buffer.byteLength(raw) } };
  const request = (secure ? https : http).request(options);
  // One limit for all of it, to the last byte.
  const timer = setTimeout(() => request.destroy(new Error('it is too slow')), limit * 1000);
  const stop = (): void => void request.destroy(new Error('stopped'));
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      request.once('response', resolve).on('error', reject);
      request.end(raw);
    });
    const text = await limited(response);
    return { status: response.statusCode ?? 0, text, retryAfter: response.headers['retry-after'], date: response.headers.date };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof Unreachable) throw error;
    throw new Unreachable(`the gate does not answer: ${error instanceof Error ? error.message || error.name : 'no reason given'}`, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

async function limited(response: http.IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > ANSWER_BYTES) throw new Unreachable('the answer is too long: this does not seem to be a gate', { final: true });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Unreachable('the answer is not JSON: this does not seem to be a gate', { final: true });
  }
}

function refusal(answer: Answer): GateError | Unreachable {
  try {
    const problem: unknown = JSON.parse(answer.text);
    if (isObject(problem) && typeof problem['code'] === 'string') return new GateError(answer.status, problem['code'], problem);
  } catch {
    // Said below.
  }
  return new Unreachable(`the answer is ${answer.status}: this does not seem to be a gate`, { final: !isTriedAgain(answer.status) });
}
