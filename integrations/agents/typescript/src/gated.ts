/**
 * Functions that run only with an approval of their real argument.
 *
 * The first argument, an object, becomes the payload; its canonical text is what is hashed and shown; and the function
 * gets what that text says: not the object that was passed in, which somebody may have changed while a person was
 * thinking. Further arguments are context (a session, a database): they are handed on, and are no part of what is
 * approved.
 */

import type { Approval } from './approval.ts';
import { canonical, decoded, type Payload } from './canonical.ts';
import type { Errand, Placet, Question } from './client.ts';
import { InvalidToken, TimedOut, Unreachable } from './errors.ts';

export interface ApprovalOptions<A extends object, C extends unknown[], R> {
  action: string;
  summary?: string | ((call: A) => string);
  /** One name for one deed asks once and runs once; a new one for each call if left out. */
  requestId?: string | ((call: A) => string);
  /** After so long without an answer the request is withdrawn, and the fallback called or `TimedOut` thrown. */
  timeoutSeconds?: number;
  /** Not called for a rejection. */
  fallback?: (call: A, ...context: C) => R | Promise<R>;
  /** Called with the pending approval, once a person has to decide. */
  notify?: (approval: Approval) => void;
  /** Stops what waits, with its reason: the question is withdrawn. */
  signal?: AbortSignal;
}

/** Asks, waits, verifies, redeems, and only then runs the function, with exactly the argument that was approved. */
export function requireApproval<A extends object, C extends unknown[], R>(
  gate: Placet,
  options: ApprovalOptions<A, C, R>,
  run: (call: A, ...context: C) => R | Promise<R>,
): (call: A, ...context: C) => Promise<R> {
  return async (call, ...context) => {
    const text = canonical(call);
    let payload: A;
    try {
      payload = (await gate.authorize<A>(question(options, text))).payload;
    } catch (error) {
      if (options.fallback !== undefined && (error instanceof TimedOut || error instanceof Unreachable)) {
        return options.fallback(decoded<A>(text), ...context);
      }
      throw error;
    }
    return run(payload, ...context);
  };
}

/** Whoever can use a token: a client of the gate, or an `Executor` without a secret. */
export interface TokenUser {
  useToken<P>(token: unknown, payload: Payload, action: string): Promise<P>;
}

/**
 * The executor's side, where somebody else asks: the call carries `approval_token` as well, and nothing runs without.
 * The token must be for this action and these very arguments, and is used up before the function runs.
 */
export function requireToken<A extends object, C extends unknown[], R>(
  user: TokenUser,
  action: string,
  run: (call: A, ...context: C) => R | Promise<R>,
): (call: A & { approval_token: string }, ...context: C) => Promise<R> {
  return async ({ approval_token: token, ...call }, ...context) => {
    const text = canonical(call);
    if (token === undefined || token === null) throw new InvalidToken('missing');
    return run(await user.useToken<A>(token, decoded(text), action), ...context);
  };
}

function question<A extends object, C extends unknown[], R>(options: ApprovalOptions<A, C, R>, text: string): Question & Errand {
  const told = (said: string | ((call: A) => string) | undefined) => (typeof said === 'function' ? said(decoded<A>(text)) : said);
  return {
    action: options.action,
    payload: decoded(text),
    summary: told(options.summary) ?? options.action,
    requestId: told(options.requestId),
    timeoutSeconds: options.timeoutSeconds,
    notify: options.notify,
    signal: options.signal,
  };
}
