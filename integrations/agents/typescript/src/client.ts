/** A client of a gate: ask, wait, verify, redeem, and all of it in one call. */

import { randomBytes } from 'node:crypto';

import { gateAddress } from './address.ts';
import { isObject, readApproval, type Approval, type Claims } from './approval.ts';
import { canonical, decoded, sha256, wellFormed, type Payload } from './canonical.ts';
import { whileOpen } from './endings.ts';
import { GateError, InvalidPayload, InvalidToken, NotApproved, PlacetError, TimedOut, Unreachable } from './errors.ts';
import { KeyCache } from './jwks.ts';
import { checkClaims, readToken, type Algorithm, type Keys } from './tokens.ts';
import { retryAfter } from './patience.ts';
import { call, seconds, sleep, type CallOptions, type Caller } from './transport.ts';

const POLL_SECONDS = 25;
// Hooks that ask about one use at once may hear of its end so much later than each other.
const ONE_USE_SECONDS = 20;
// Withdrawing, when this program is on its way out: whoever stops it does not wait for long.
const LAST_WORDS_SECONDS = 5;

export interface PlacetOptions {
  /** The gate's address, such as `https://gate.example.com`; `http://` on this machine alone. */
  url: string;
  client: string;
  /** The client's secret; two while it rotates, the one to keep first. */
  secret: string | readonly string[];
  /** What the policy says for this client's tokens; `EdDSA`, the gate's default, if left out. */
  algorithm?: Algorithm;
  /** For an executor: the client (or clients) whose tokens it takes, where that is not this client itself. */
  audience?: string | readonly string[];
  /** The gate's name in tokens (`iss`); not checked if left out. */
  issuer?: string;
  /** How long a gate that is away is tried again (`patience.ts`). */
  patienceSeconds?: number;
}

export interface Question {
  action: string;
  payload: Payload;
  /** What the person is told, in your words. */
  summary: string;
  /** The idempotency key: the same action and payload again joins the same request. A new one if left out. */
  requestId?: string | undefined;
  timeoutSeconds?: number | undefined;
  metadata?: Record<string, string> | undefined;
}

export interface Errand {
  /** Called with the pending approval, once a person has to decide. */
  notify?: ((approval: Approval) => void) | undefined;
  /** Stops it, with its reason: the question is withdrawn. */
  signal?: AbortSignal | undefined;
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

/** A question as it is asked, and for how long its answer is listened for. */
interface Asked extends Errand {
  name: string;
  action: string;
  /** The payload's canonical text. */
  text: string;
  summary: string;
  timeoutSeconds?: number | undefined;
  metadata?: Record<string, string> | undefined;
  /** When all must be over, in seconds of `seconds()`. */
  until?: number | undefined;
  /** How long to listen; what is pending then stays so, or is withdrawn. */
  listenSeconds?: number | undefined;
  leaveOpen?: boolean;
  /** Whether to take part in a question only while it is open, or has just been answered. */
  onlyOpen?: boolean;
}

/** The name of a use belonged to another question, or to one that had ended before. */
class Joined extends Error {}

export class Placet {
  readonly client: string;
  readonly #caller: Caller;
  readonly #keys: (options: CallOptions) => Keys;
  readonly #issuer: string | undefined;
  readonly #audiences: ReadonlySet<string>;

  constructor(options: PlacetOptions) {
    const { client, audience = client } = options;
    const secrets = typeof options.secret === 'string' ? [options.secret] : [...options.secret];
    if (secrets.length === 0 || secrets.some((secret) => secret === '')) throw new TypeError("the client's secret is empty");
    this.client = client;
    this.#audiences = new Set(typeof audience === 'string' ? [audience] : audience);
    if (this.#audiences.size === 0 || this.#audiences.has('')) throw new TypeError('audience is the client whose tokens are taken');
    this.#issuer = options.issuer;
    this.#caller = { address: gateAddress(options.url), client, secrets, patienceSeconds: options.patienceSeconds ?? 60 };
    switch (options.algorithm ?? 'EdDSA') {
      case 'HS256':
        if (this.#audiences.size !== 1 || !this.#audiences.has(client)) {
          throw new TypeError('only a client itself can verify its HS256 tokens: the tokens for an executor are EdDSA');
        }
        this.#keys = () => ({ algorithm: 'HS256', secrets });
        break;
      case 'EdDSA': {
        const cache = new KeyCache();
        this.#keys = (given) => ({ algorithm: 'EdDSA', find: cache.find(this.#caller, given) });
        break;
      }
      default:
        throw new TypeError('algorithm is HS256 or EdDSA, as the policy says for this client');
    }
  }

  /**
   * From `PLACET_URL`, `PLACET_CLIENT`, `PLACET_SECRET` (two, with a comma, while it rotates), and, if they are set,
   * `PLACET_TOKEN_ALG` (EdDSA, HS256) and `PLACET_AUDIENCE` (several, with commas).
   */
  static fromEnv(options: Partial<PlacetOptions> = {}): Placet {
    const { PLACET_URL: url, PLACET_CLIENT: client, PLACET_SECRET: secret, PLACET_TOKEN_ALG: algorithm, PLACET_AUDIENCE: audience } = process.env;
    if (!url || !client || !secret) throw new PlacetError('PLACET_URL, PLACET_CLIENT and PLACET_SECRET must be set');
    const named = { ...(algorithm ? { algorithm: algorithm as Algorithm } : {}), ...(audience ? { audience: listed(audience) } : {}) };
    return new Placet({ url, client, secret: listed(secret), ...named, ...options });
  }

  /** Asks. */
  async ask(question: Question & { callbackUrl?: string; waitSeconds?: number }): Promise<Approval> {
    const { action, summary, timeoutSeconds, metadata, callbackUrl, waitSeconds } = question;
    const text = canonical(question.payload);
    const name = question.requestId ?? newRequestId(action);
    return (await this.#ask({ name, action, text, summary, timeoutSeconds, metadata }, { callbackUrl, waitSeconds })).approval;
  }

  /** As it stands, or as soon as it ends, after 25 seconds at most. */
  get(requestId: string, waitSeconds = 0): Promise<Approval> {
    return this.#get(requestId, waitSeconds, {});
  }

  /** Once it has ended; after so many seconds, as it stands. */
  wait(requestId: string, waitSeconds?: number): Promise<Approval> {
    return this.#wait(requestId, waitSeconds, {});
  }

  /** Withdraws it; where it has ended already, how it ended. */
  cancel(requestId: string): Promise<Approval> {
    return this.#cancel(requestId, {});
  }

  /**
   * Checks a token here: signature, audience, payload, action, outcome, time. Throws `InvalidToken`. Only what is given is
   * compared; a payload that is `null` is not one that was left out: it is refused.
   */
  async verify(token: unknown, payload?: Payload, action?: string, audience?: string): Promise<Claims> {
    return this.#verify(token, payload === undefined ? undefined : canonical(payload), action, audience, {});
  }

  async #verify(token: unknown, text: string | undefined, action: string | undefined, audience: string | undefined, options: CallOptions): Promise<Claims> {
    const claims = await readToken(token, this.#keys(options));
    const expected = { audience: audience ?? this.#audiences, issuer: this.#issuer, payload: text, action, now: Date.now() / 1000 };
    checkClaims(claims, expected);
    return claims;
  }

  /** What the gate says of it, which also compares with its own record. */
  async verifyOnline(token: string, payload?: Payload): Promise<Verdict> {
    const body = { token, payload: payload === undefined ? undefined : decoded(canonical(payload)) };
    const answer = await this.#call('POST', '/v1/tokens/verify', { body });
    if (!isObject(answer)) throw new Unreachable('the answer is not an object: this does not seem to be a gate');
    return answer as unknown as Verdict;
  }

  /** Uses a token, once. False: this `redeemedBy` had used it before. Another one: `GateError`. */
  redeem(token: string, payload: Payload, redeemedBy: string): Promise<boolean> {
    return this.#redeem(token, canonical(payload), redeemedBy, {});
  }

  /**
   * Verifies and redeems; returns the payload to act on. The executor's whole duty, in one call. `audience` is the client
   * that asked, where this client takes the tokens of several.
   */
  async useToken<P = Payload>(token: unknown, payload: Payload, action: string, audience?: string): Promise<P> {
    return (await this.#use<P>(token, canonical(payload), action, audience, {})).payload;
  }

  /**
   * Asks, waits, verifies and redeems. Returns what may be done now, once; throws a `PlacetError` otherwise.
   *
   * `timeoutSeconds` is for all of it. On every other way out (the time is over, `signal`, Ctrl-C, SIGTERM) the question
   * is withdrawn.
   */
  authorize<P = Payload>(question: Question & Errand): Promise<Authorized<P>> {
    return this.#authorize<P>(question, question.requestId ?? newRequestId(question.action), endOf(question), undefined);
  }

  /**
   * As `authorize`, for one use of a tool that several hooks may ask about at once: each of them may let it run.
   *
   * `use` is the host's name for it, and a host may give the same name again to another use. So a hook takes part in a
   * question only while it is open, or has just been answered; what had ended before is asked anew under a new name.
   *
   * @internal
   */
  async authorizeUse<P = Payload>(question: Question & Errand, use: string | undefined, redeemedBy: string): Promise<Authorized<P>> {
    const until = endOf(question);
    if (use !== undefined) {
      try {
        return await this.#authorize<P>(question, use, until, redeemedBy);
      } catch (error) {
        if (!(error instanceof Joined)) throw error;
      }
    }
    return this.#authorize<P>(question, newRequestId(question.action), until, undefined);
  }

  async #authorize<P>(question: Question & Errand, name: string, until: number | undefined, redeemedBy: string | undefined): Promise<Authorized<P>> {
    const { action, timeoutSeconds, signal } = question;
    const text = canonical(question.payload);
    // The last of the time is kept for the end: to redeem, or to withdraw.
    const listenSeconds = timeoutSeconds === undefined ? undefined : timeoutSeconds - Math.min(LAST_WORDS_SECONDS, timeoutSeconds / 4);
    const approval = await this.heard({ ...question, name, text, until, listenSeconds, onlyOpen: redeemedBy !== undefined });
    if (!approval.approved || approval.token === null) {
      const stopped = approval.status === 'cancelled' && approval.decided_by.join() === `client:${this.client}`;
      if (approval.status === 'expired' || (stopped && timeoutSeconds !== undefined)) {
        throw new TimedOut(approval, `${approval.request_id}: nobody answered in time (${approval.status})`);
      }
      throw new NotApproved(approval);
    }
    let used: { payload: P; claims: Claims };
    try {
      used = await this.#use<P>(approval.token, text, action, this.client, { until, signal }, redeemedBy);
    } catch (error) {
      // By another use of that name.
      if (redeemedBy !== undefined && error instanceof GateError && error.code === 'already_redeemed') throw new Joined();
      throw error;
    }
    if (used.claims.jti !== approval.approval_id || used.claims.sub !== approval.request_id) throw new InvalidToken('unknown_approval');
    return { ...used, approval };
  }

  /**
   * Asks and listens: the approval once it has ended, or, with `leaveOpen`, as it stands. Withdraws on every other way out.
   *
   * @internal
   */
  heard(asked: Asked): Promise<Approval> {
    const { name, until, signal } = asked;
    let approval: Approval | undefined;
    const leave = (interrupted: boolean): Promise<void> => this.#withdraw(asked, approval, interrupted);
    return whileOpen(
      () => leave(true),
      async () => {
        try {
          const answer = await this.#ask(asked, {});
          approval = answer.approval;
          if (asked.onlyOpen && approval.status !== 'pending' && !answer.isNew && !(answer.age < ONE_USE_SECONDS)) throw new Joined();
          if (approval.status === 'pending') {
            asked.notify?.(approval);
            approval = await this.#wait(name, asked.listenSeconds, { until, signal });
          }
          // Nobody is to approve what nobody will do. If a decision came first, it stands, for both sides.
          if (approval.status === 'pending' && !asked.leaveOpen) approval = await this.#cancel(name, { until, signal });
          return approval;
        } catch (error) {
          if (error instanceof GateError && approval === undefined) {
            if (asked.onlyOpen && error.code === 'request_id_conflict') throw new Joined();
            throw error; // it was not taken, or is another question's name
          }
          if (approval === undefined || approval.status === 'pending') await leave(!(error instanceof PlacetError));
          if (error instanceof Unreachable && approval !== undefined && until !== undefined && seconds() >= until) {
            throw new TimedOut(approval, `${name}: nobody answered in time, and the gate is away`);
          }
          throw error;
        }
      },
    );
  }

  /** The last words of an errand that ends otherwise than it should. What goes wrong here is not told: something else is. */
  async #withdraw(asked: Asked, approval: Approval | undefined, interrupted: boolean): Promise<void> {
    const until = Math.min(seconds() + LAST_WORDS_SECONDS, asked.until ?? Infinity);
    // Where the gate has just been waited for in vain, one more try is enough.
    const options = { until, patienceSeconds: interrupted ? LAST_WORDS_SECONDS : 0 };
    let known = approval !== undefined;
    try {
      for (let tries = 0; tries < 3; tries += 1) {
        if (known) {
          await this.#cancel(asked.name, options);
          return;
        }
        // No answer came: whether the question arrived is not known, nor whether the name is another question's.
        try {
          const found = await this.#get(asked.name, 0, options);
          if (found.status !== 'pending' || found.action !== asked.action || found.payload_sha256 !== sha256(asked.text)) return;
          known = true;
        } catch (error) {
          if (!(error instanceof GateError) || error.status !== 404 || !interrupted) return;
          await sleep(0.3); // it may still be on its way
        }
      }
    } catch (error) {
      if (!(error instanceof PlacetError)) throw error;
    }
  }

  async #ask(asked: Asked, extra: { callbackUrl?: string | undefined; waitSeconds?: number | undefined }): Promise<{ approval: Approval; isNew: boolean; age: number }> {
    const { action, text, metadata, timeoutSeconds, until, signal } = asked;
    const waits = extra.waitSeconds ?? 0;
    const body = {
      request_id: wellFormed(asked.name),
      action: wellFormed(action),
      summary: wellFormed(asked.summary, 500),
      payload: decoded(text),
      wait_seconds: waits,
      timeout_seconds: timeoutSeconds === undefined ? undefined : Math.max(1, Math.ceil(timeoutSeconds)),
      callback_url: extra.callbackUrl,
      metadata: metadata && Object.fromEntries(Object.entries(metadata).map(([key, value]) => [wellFormed(key), wellFormed(value)])),
    };
    const answer = await call(this.#caller, 'POST', '/v1/requests', { body, waits, until, signal });
    const approval = readApproval(answer.json);
    if (approval.payload_sha256 !== sha256(text) || approval.action !== action) {
      throw new InvalidPayload('the gate read another payload than was sent');
    }
    // Both times by the gate's clock, where its answer is dated.
    const age = (Date.parse(answer.date ?? new Date().toUTCString()) - Date.parse(approval.decided_at ?? '')) / 1000;
    return { approval, isNew: answer.status === 201, age };
  }

  async #wait(requestId: string, waitSeconds: number | undefined, options: CallOptions): Promise<Approval> {
    const listen = waitSeconds === undefined ? undefined : seconds() + waitSeconds;
    const until = options.until ?? (listen === undefined ? undefined : listen + this.#caller.patienceSeconds);
    for (;;) {
      const began = seconds();
      const left = listen === undefined ? POLL_SECONDS : listen - began;
      // A remainder under a second is a last look; the gate counts in whole seconds.
      const asked = Math.max(0, Math.min(POLL_SECONDS, Math.floor(left)));
      const path = `/v1/requests/${encodeURIComponent(requestId)}?wait_seconds=${asked}`;
      const answer = await call(this.#caller, 'GET', path, { ...options, until, waits: asked, looksAgain: true });
      const approval = readApproval(answer.json);
      const now = seconds();
      if (approval.status !== 'pending' || (listen !== undefined && now >= listen)) return approval;
      const told = retryAfter(answer.retryAfter, Date.now() / 1000);
      // A gate that holds no calls says when to look again. The last look is at the end of the wait.
      if (told !== undefined) {
        await sleep(Math.max(0.2, Math.min(told, (listen ?? Infinity) - now, (until ?? Infinity) - now)), options.signal);
      } else if (left > 0 && left < 1) await sleep(left, options.signal);
      // A gate that is about to stop answers at once.
      else if (seconds() - began < asked / 2) await sleep(0.2, options.signal);
    }
  }

  async #cancel(requestId: string, options: CallOptions): Promise<Approval> {
    try {
      return readApproval(await this.#call('POST', `/v1/requests/${encodeURIComponent(requestId)}/cancel`, { ...options, body: {} }));
    } catch (error) {
      if (error instanceof GateError && error.code === 'already_decided') return readApproval(error.problem['approval']);
      throw error;
    }
  }

  async #use<P>(
    token: unknown, text: string, action: string, audience: string | undefined, options: CallOptions, redeemedBy?: string,
  ): Promise<{ payload: P; claims: Claims }> {
    // A token for any action at all would be one for an action that the policy approves alone.
    if (typeof action !== 'string') throw new TypeError('the action that is about to be done is needed');
    const claims = await this.#verify(token, text, action, audience, options);
    // A name that no other call has: only this call's own retry is a retry.
    await this.#redeem(token as string, text, redeemedBy ?? `${this.client}-${randomBytes(16).toString('hex')}`, options);
    return { payload: decoded<P>(text), claims };
  }

  async #redeem(token: string, text: string, redeemedBy: string, options: CallOptions): Promise<boolean> {
    const body = { token, payload: decoded(text), redeemed_by: redeemedBy };
    const answer = await this.#call('POST', '/v1/tokens/redeem', { ...options, body });
    if (!isObject(answer) || typeof answer['first'] !== 'boolean') {
      throw new Unreachable('the answer does not say whether it was the first: this does not seem to be a gate');
    }
    return answer['first'];
  }

  async #get(requestId: string, waits: number, options: CallOptions): Promise<Approval> {
    const path = `/v1/requests/${encodeURIComponent(requestId)}?wait_seconds=${waits}`;
    return readApproval(await this.#call('GET', path, { ...options, waits }));
  }

  async #call(method: string, path: string, options: CallOptions): Promise<unknown> {
    return (await call(this.#caller, method, path, options)).json;
  }
}

function endOf(question: Question): number | undefined {
  return question.timeoutSeconds === undefined ? undefined : seconds() + question.timeoutSeconds;
}

function listed(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

function newRequestId(action: string): string {
  return `${wellFormed(action, 80).replace(/[^A-Za-z0-9._:-]/gu, '-')}-${randomBytes(8).toString('hex')}`;
}
