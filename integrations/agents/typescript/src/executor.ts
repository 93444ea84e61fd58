/** An executor that holds no secret: it verifies with the gate's public keys, and remembers what it has used. */

import type { Claims } from './approval.ts';
import { canonical, decoded, type Payload } from './canonical.ts';
import { publicKeys } from './client.ts';
import { InvalidToken } from './errors.ts';
import { checkClaims, readToken, type Keys } from './tokens.ts';

export interface ExecutorOptions {
  url: string;
  /** The client whose approvals are acted on; its policy entry must say `token = "EdDSA"`. */
  client: string;
  /**
   * Records the id for good, at least until that Unix time, and says whether it was new: an `INSERT` with a unique
   * key, in the database that the deed itself is written to.
   */
  once: (approvalId: string, expiresAt: number) => boolean | Promise<boolean>;
  issuer?: string;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #keys: Keys;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#keys = publicKeys(options.url);
  }

  /** What the token says, if it allows this; throws `InvalidToken` otherwise. */
  async verify(token: unknown, payload?: Payload, action?: string): Promise<Claims> {
    const claims = await readToken(token, this.#keys);
    const { client: audience, issuer } = this.#options;
    const text = payload === undefined ? undefined : canonical(payload);
    checkClaims(claims, { audience, issuer, payload: text, action, now: Date.now() / 1000 });
    return claims;
  }

  /** Verifies, uses the token up, and returns the payload to act on. */
  async useToken<P = Payload>(token: unknown, payload: Payload, action?: string): Promise<P> {
    const text = canonical(payload);
    const claims = await this.verify(token, decoded(text), action);
    if ((await this.#options.once(claims.jti, claims.exp)) !== true) throw new InvalidToken('already_redeemed');
    return decoded<P>(text);
  }
}
