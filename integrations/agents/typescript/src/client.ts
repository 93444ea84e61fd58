/** A client of a gate: ask, wait, verify, redeem, and all of it in one call. */

import { randomBytes } from 'node:crypto';

import { createRemoteJWKSet } from 'jose';

import { isObject, readApproval, type Approval, type Claims } from './approval.ts';
import { canonical, decoded, sha256, type Payload } from './canonical.ts';
import { GateError, InvalidPayload, InvalidToken, NotApproved, PlacetError, TimedOut, Unreachable } from './errors.ts';
import { checkClaims, readToken, type Algorithm, type Keys } from './tokens.ts';
import { call, sleep, type CallOptions, type Caller } from './transport.ts';

const POLL_SECONDS = 25;

export interface PlacetOptions {
  /** The gate's address, such as `https://gate.example.com`. */
  url: string;
  client: string;
  /** The client's secret; two while it rotates, the one to keep first. */
  secret: string | readonly string[];
  /** What the policy says for this client; `HS256` if left out. */
  algorithm?: Algorithm;
  /** The gate's name in tokens (`iss`); not checked if left out. */
  issuer?: string;
  /** How long a gate that is away is tried again. */
  patienceSeconds?: number;
}

export interface Question {
  action: string;
  payload: Payload;
  /** What the person is told, in your words. */
  summary: string;
  /** The idempotency key: the same question again finds the same request. A new one if left out. */
  requestId?: string | undefined;
  timeoutSeconds?: number | undefined;
  metadata?: Record<string, string> | undefined;
}

/** What may be done now, once: exactly this payload. */
export interface Authorized<P = Payload> {
  payload: P;
  approval: Approval;
  claims: Claims;
}

export interface Verdict {
  valid: boolean;
  problem: string | null;
  claims: Claims | null;
}

export class Placet {
  readonly client: string;
  readonly #caller: Caller;
  readonly #keys: Keys;
  readonly #issuer: string | undefined;

  constructor(options: PlacetOptions) {
    const secrets = typeof options.secret === 'string' ? [options.secret] : [...options.secret];
    if (secrets.length === 0 || secrets.some((secret) => secret === '')) throw new TypeError("the client's secret is empty");
    const url = options.url.replace(/\/+$/, '');
    if (!/^https?:\/\/./.test(url)) throw new TypeError("url is the gate's address, such as https://gate.example.com");
    this.client = options.client;
    this.#issuer = options.issuer;
    this.#caller = { url, client: options.client, secrets, patienceSeconds: options.patienceSeconds ?? 60 };
    switch (options.algorithm ?? 'HS256') {
      case 'HS256':
        this.#keys = { algorithm: 'HS256', secrets };
        break;
      case 'EdDSA':
        this.#keys = publicKeys(url);
        break;
      default:
        throw new TypeError('algorithm is HS256 or EdDSA, as the policy says for this client');
    }
  }

  /** From `PLACET_URL`, `PLACET_CLIENT`, `PLACET_SECRET` (two, with a comma, while it rotates) and `PLACET_TOKEN_ALG`. */
  static fromEnv(options: Partial<PlacetOptions> = {}): Placet {
    const { PLACET_URL: url, PLACET_CLIENT: client, PLACET_SECRET: secret, PLACET_TOKEN_ALG: algorithm } = process.env;
    if (!url || !client || !secret) throw new PlacetError('PLACET_URL, PLACET_CLIENT and PLACET_SECRET must be set');
    const named = algorithm ? { algorithm: algorithm as Algorithm } : {};
    return new Placet({ url, client, secret: secret.split(',').map((part) => part.trim()), ...named, ...options });
  }

  /** Asks. */
  async ask(question: Question & { callbackUrl?: string; waitSeconds?: number }): Promise<Approval> {
    const text = canonical(question.payload);
    const waits = question.waitSeconds ?? 0;
    const body = {
      request_id: question.requestId ?? newRequestId(question.action),
      action: question.action,
      summary: question.summary.slice(0, 500),
      payload: decoded(text),
      wait_seconds: waits,
      timeout_seconds: question.timeoutSeconds === undefined ? undefined : Math.max(1, Math.ceil(question.timeoutSeconds)),
      callback_url: question.callbackUrl,
      metadata: question.metadata,
    };
    const approval = readApproval(await this.#call('POST', '/v1/requests', { body, waits }));
    if (approval.payload_sha256 !== sha256(text) || approval.action !== question.action) {
      throw new InvalidPayload('the gate read another payload than was sent');
    }
    return approval;
  }

  /** As it stands, or as soon as it ends, after 25 seconds at most. */
  get(requestId: string, waitSeconds = 0): Promise<Approval> {
    return this.#get(requestId, waitSeconds);
  }

  /** Once it has ended; after so many seconds, as it stands. */
  async wait(requestId: string, seconds?: number): Promise<Approval> {
    const until = seconds === undefined ? undefined : performance.now() + seconds * 1000;
    for (;;) {
      const left = until === undefined ? POLL_SECONDS : (until - performance.now()) / 1000;
      // A remainder under a second is a last look; the gate counts in whole seconds.
      const approval = await this.#get(requestId, Math.max(0, Math.min(POLL_SECONDS, Math.floor(left))), until);
      if (approval.status !== 'pending' || (until !== undefined && performance.now() >= until)) return approval;
      if (left > 0 && left < 1) await sleep(left * 1000);
    }
  }

  /** Withdraws it; where it has ended already, how it ended. */
  async cancel(requestId: string): Promise<Approval> {
    try {
      return readApproval(await this.#call('POST', `/v1/requests/${encodeURIComponent(requestId)}/cancel`, { body: {} }));
    } catch (error) {
      if (error instanceof GateError && error.code === 'already_decided') return readApproval(error.problem['approval']);
      throw error;
    }
  }

  /** Checks a token here: signature, audience, payload, action, outcome, time. Throws `InvalidToken`. */
  async verify(token: unknown, payload?: Payload, action?: string): Promise<Claims> {
    const claims = await readToken(token, this.#keys);
    const text = payload === undefined ? undefined : canonical(payload);
    checkClaims(claims, { audience: this.client, issuer: this.#issuer, payload: text, action, now: Date.now() / 1000 });
    return claims;
  }

  /** What the gate says of it, which also compares with its own record. */
  async verifyOnline(token: string, payload?: Payload): Promise<Verdict> {
    const body = { token, payload: payload === undefined ? undefined : decoded(canonical(payload)) };
    return (await this.#call('POST', '/v1/tokens/verify', { body })) as Verdict;
  }

  /** Uses a token, once. False: this `redeemedBy` had used it before. Another one: `GateError`. */
  async redeem(token: string, payload: Payload | undefined, redeemedBy: string): Promise<boolean> {
    const body = { token, payload: payload === undefined ? undefined : decoded(canonical(payload)), redeemed_by: redeemedBy };
    const answer = await this.#call('POST', '/v1/tokens/redeem', { body });
    if (!isObject(answer) || typeof answer['first'] !== 'boolean') {
      throw new Unreachable('the answer does not say whether it was the first: this does not seem to be a gate');
    }
    return answer['first'];
  }

  /** Verifies and redeems; returns the payload to act on. The executor's whole duty, in one call. */
  async useToken<P = Payload>(token: unknown, payload: Payload, action?: string): Promise<P> {
    return (await this.#use<P>(token, payload, action)).payload;
  }

  /** Asks, waits, verifies and redeems. Returns what may be done now, once; throws a `PlacetError` otherwise. */
  async authorize<P = Payload>(question: Question): Promise<Authorized<P>> {
    const { timeoutSeconds, action } = question;
    const until = timeoutSeconds === undefined ? undefined : performance.now() + timeoutSeconds * 1000;
    const payload = decoded(canonical(question.payload));
    let approval = await this.ask({ ...question, payload });
    if (approval.status === 'pending') {
      const left = until === undefined ? undefined : Math.max(0, until - performance.now()) / 1000;
      approval = await this.wait(approval.request_id, left);
    }
    // Nobody is to approve what nobody will do. If a decision came first, it stands, for both sides.
    if (approval.status === 'pending') approval = await this.cancel(approval.request_id);
    if (!approval.approved || approval.token === null) {
      const stopped = approval.status === 'cancelled' && approval.decided_by.join() === `client:${this.client}`;
      if (approval.status === 'expired' || (stopped && timeoutSeconds !== undefined)) {
        throw new TimedOut(approval, `${approval.request_id}: nobody answered in time (${approval.status})`);
      }
      throw new NotApproved(approval);
    }
    const used = await this.#use<P>(approval.token, payload, action);
    if (used.claims.jti !== approval.approval_id) throw new InvalidToken('unknown_approval');
    return { ...used, approval };
  }

  async #use<P>(token: unknown, payload: Payload, action: string | undefined): Promise<{ payload: P; claims: Claims }> {
    const text = canonical(payload);
    const claims = await this.verify(token, decoded(text), action);
    // A name that no other call has: only this call's own retry is a retry.
    await this.redeem(token as string, decoded(text), `${this.client}-${randomBytes(16).toString('hex')}`);
    return { payload: decoded<P>(text), claims };
  }

  async #get(requestId: string, waits: number, until?: number): Promise<Approval> {
    const path = `/v1/requests/${encodeURIComponent(requestId)}?wait_seconds=${waits}`;
    return readApproval(await this.#call('GET', path, { waits, until }));
  }

  #call(method: string, path: string, options: CallOptions): Promise<unknown> {
    return call(this.#caller, method, path, options);
  }
}

/** The gate's public keys, fetched when they are needed; an unknown `kid` fetches them anew every 30 seconds at most. */
export function publicKeys(url: string): Keys {
  const at = new URL(`${url.replace(/\/+$/, '')}/.well-known/jwks.json`);
  const find = createRemoteJWKSet(at, { cooldownDuration: 30_000, cacheMaxAge: 600_000, timeoutDuration: 15_000 });
  return { algorithm: 'EdDSA', find };
}

function newRequestId(action: string): string {
  return `${action.slice(0, 80).replace(/[^A-Za-z0-9._:-]/g, '-')}-${randomBytes(8).toString('hex')}`;
}
