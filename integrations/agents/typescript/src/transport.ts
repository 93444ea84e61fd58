/** Signed calls of the gate's API, tried again while the gate is away. */

import { isObject } from './approval.ts';
import { GateError, Unreachable } from './errors.ts';
import { signedHeaders } from './signing.ts';

const ANSWER_SECONDS = 15;
const ANSWER_BYTES = 4 * 1024 * 1024;

export interface Caller {
  url: string;
  client: string;
  secrets: readonly string[];
  patienceSeconds: number;
}

export interface CallOptions {
  body?: unknown;
  /** How long the gate was asked to wait, in seconds. */
  waits?: number;
  /** When to stop trying, in milliseconds of `performance.now()`. */
  until?: number | undefined;
}

/** One call. Trying it again is safe: each call here is idempotent. */
export async function call(caller: Caller, method: string, path: string, options: CallOptions = {}): Promise<unknown> {
  const { body, waits = 0, until } = options;
  const raw = body === undefined ? '' : JSON.stringify(body);
  const giveUp = Math.min(performance.now() + (caller.patienceSeconds + waits) * 1000, until ?? Infinity);
  let pause = 200;
  for (;;) {
    let trouble: Unreachable | GateError;
    let least = 0;
    try {
      const answer = await send(caller, method, path, raw, body !== undefined, waits);
      if (answer.status < 300) return answer.json();
      const refusal = answer.refusal();
      if (answer.status < 500 && answer.status !== 429) throw refusal;
      trouble = refusal;
      least = answer.retryAfter * 1000;
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      trouble = error;
    }
    const wait = Math.max(pause, least);
    if (performance.now() + wait >= giveUp) throw trouble;
    await sleep(wait);
    pause = Math.min(pause * 2, 5000);
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function send(caller: Caller, method: string, path: string, raw: string, hasBody: boolean, waits: number): Promise<Answer> {
  const headers = signedHeaders(caller.client, caller.secrets, Math.floor(Date.now() / 1000), method, path, raw);
  if (hasBody) headers['Content-Type'] = 'application/json';
  const signal = AbortSignal.timeout((ANSWER_SECONDS + waits) * 1000);
  try {
    const response = await fetch(caller.url + path, { method, headers, signal, redirect: 'error', ...(hasBody ? { body: raw } : {}) });
    return new Answer(response.status, await limited(response), response.headers);
  } catch (error) {
    if (error instanceof Unreachable) throw error;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Unreachable(`the gate does not answer: ${cause instanceof Error ? cause.message : 'no reason given'}`, { cause: error });
  }
}

async function limited(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_BYTES) throw new Unreachable('the answer is too long: this does not seem to be a gate');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

class Answer {
  readonly status: number;
  private readonly text: string;
  private readonly headers: Headers;

  constructor(status: number, text: string, headers: Headers) {
    this.status = status;
    this.text = text;
    this.headers = headers;
  }

  json(): unknown {
    try {
      return JSON.parse(this.text);
    } catch {
      throw new Unreachable('the answer is not JSON: this does not seem to be a gate');
    }
  }

  refusal(): GateError | Unreachable {
    try {
      const problem = this.json();
      if (isObject(problem) && typeof problem['code'] === 'string') return new GateError(this.status, problem['code'], problem);
    } catch {
      // Said below.
    }
    return new Unreachable(`the answer is ${this.status}: this does not seem to be a gate`);
  }

  get retryAfter(): number {
    const text = this.headers.get('retry-after') ?? '';
    return /^\d{1,6}$/.test(text) ? Number(text) : 0;
  }
}
