/** An executor that holds no secret: it verifies with the gate's public keys, and remembers what it has used. */

import { gateAddress } from './address.ts';
import type { Claims } from './approval.ts';
import { canonical, decoded, type Payload } from './canonical.ts';
import { InvalidToken } from './errors.ts';
import { KeyCache } from './jwks.ts';
import { checkClaims, readToken, type Keys } from './tokens.ts';

export interface ExecutorOptions {
  url: string;
  /**
   * The client that asks: the tokens' audience. An executor with a secret of its own (role `executor` in the policy)
   * redeems at the gate instead: `new Placet({ client: 'payments', secret, audience: 'my-agent', … })`.
   */
  client: string;
  /**
   * Records the id for good, at least until that Unix time, and says whether it was new: an `INSERT` with a unique
   * key, in the database that the deed itself is written to.
   */
  once: (approvalId: string, expiresAt: number) => boolean | Promise<boolean>;
  issuer?: string;
  /** How long a gate that is away is tried again for its keys; 10 if left out. */
  patienceSeconds?: number;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #keys: Keys;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const caller = { address: gateAddress(options.url), client: '', secrets: [], patienceSeconds: options.patienceSeconds ?? 10 };
    this.#keys = { algorithm: 'EdDSA', find: new KeyCache().find(caller) };
  }

  /** What the token says, if it allows this; throws `InvalidToken` otherwise. Only what is given is compared. */
  async verify(token: unknown, payload?: Payload, action?: string): Promise<Claims> {
    const text = payload === undefined ? undefined : canonical(payload);
    const claims = await readToken(token, this.#keys);
    const { client: audience, issuer } = this.#options;
    checkClaims(claims, { audience, issuer, payload: text, action, now: Date.now() / 1000 });
    return claims;
  }

  /** Verifies, uses the token up, and returns the payload to act on. */
  async useToken<P = Payload>(token: unknown, payload: Payload, action: string): Promise<P> {
    if (typeof action !== 'string') throw new TypeError('the action that is about to be done is needed');
    const text = canonical(payload);
    const claims = await this.verify(token, decoded(text), action);
    if ((await this.#options.once(claims.jti, claims.exp)) !== true) throw new InvalidToken('already_redeemed');
    return decoded<P>(text);
  }
}
