/**
 * When a call is tried again, and for how long. One table for every call; `patience.py` is the same.
 *
 * | what comes back                          | tried again                      | for how long                         |
 * | ---------------------------------------- | -------------------------------- | ------------------------------------ |
 * | no answer: refused, reset, too slow, TLS | after 0.2 s, 0.4 s … 5 s         | `patienceSeconds` from the first one |
 * | 408, 425, 500, 502, 504 and other 5xx    | the same                         | the same                             |
 * | 429, 503 with `Retry-After`              | when it says, and a little later | ten times `patienceSeconds`          |
 * | any other answer                         | never                            |                                      |
 *
 * The time limit of the whole errand is never passed.
 */

const FIRST_PAUSE = 0.2;
const LONGEST_PAUSE = 5;
const BUSY_FACTOR = 10;

/** Whether an answer says that the gate is away or busy, and not that the call is wrong. */
export function isTriedAgain(status: number): boolean {
  return status >= 500 || [408, 425, 429].includes(status);
}

/** The seconds of `Retry-After` (RFC 9110, 10.2.3: seconds, or a date), or none. `now` is in Unix seconds. */
export function retryAfter(text: string | undefined, now: number): number | undefined {
  const told = (text ?? '').trim();
  if (/^\d{1,9}$/.test(told)) return Number(told);
  const at = /[A-Za-z]{3}/.test(told) ? Date.parse(told) : NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at / 1000 - now);
}

/** The pauses of one call. Times are seconds of a monotonic clock. */
export class Patience {
  readonly #seconds: number;
  readonly #until: number;
  #awaySince: number | undefined;
  #since: number | undefined;
  #pause = FIRST_PAUSE;

  constructor(seconds: number, until: number | undefined) {
    this.#seconds = seconds;
    this.#until = until ?? Infinity;
  }

  /** How long to pause before the next try, or none: give up. `told` is what `Retry-After` says. */
  pause(now: number, told: number | undefined): number | undefined {
    this.#since ??= now;
    let pause = this.#pause;
    let end: number;
    if (told === undefined) {
      this.#awaySince ??= now;
      end = this.#awaySince + this.#seconds;
    } else {
      // Whoever says when to come back is there: this is no outage. Not all are to come back at once.
      this.#awaySince = undefined;
      pause = Math.max(told, FIRST_PAUSE) + Math.random() * this.#pause;
      end = this.#since + BUSY_FACTOR * this.#seconds;
    }
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    return now + pause >= Math.min(end, this.#until) ? undefined : pause;
  }
}
