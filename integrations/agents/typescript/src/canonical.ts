/** The payload: plain JSON, its RFC 8785 canonical text, and the digest that a token binds. */

import { createHash } from 'node:crypto';

import canonicalize from 'canonicalize';

import { isObject } from './approval.ts';
import { InvalidPayload } from './errors.ts';

export type Payload = Record<string, unknown>;

const MAX_BYTES = 64 * 1024;
const MAX_DEPTH = 100;

/** The canonical text of a payload. What two programs could read differently is refused. */
export function canonical(payload: unknown): string {
  if (!isObject(payload)) throw new InvalidPayload('a payload is a JSON object');
  const text = canonicalize(plain(payload, 'payload', 0));
  if (text === undefined) throw new InvalidPayload('the payload has no canonical JSON');
  if (Buffer.byteLength(text) > MAX_BYTES) throw new InvalidPayload(`the payload is longer than ${MAX_BYTES} bytes`);
  return text;
}

/** The payload again, as a copy that nobody else holds. */
export function decoded<P = Payload>(text: string): P {
  return JSON.parse(text) as P;
}

/** Lower-case hex SHA-256 of the canonical text: the `payload_sha256` of approvals and tokens. */
export function digest(payload: unknown): string {
  return sha256(canonical(payload));
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Reads a JSON object, and refuses one that names a key twice: programs differ in which of the two they believe. */
export function strictObject(text: string): Payload {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidPayload(`not JSON: ${error instanceof Error ? error.message : 'unreadable'}`);
  }
  if (namesAKeyTwice(text)) throw new InvalidPayload('the JSON names a key twice');
  if (!isObject(value)) throw new InvalidPayload('a payload is a JSON object');
  return value;
}

/** Whether an object of a JSON text, which is known to be one, has two members of one name, be they equal or not. */
function namesAKeyTwice(text: string): boolean {
  const objects: (Set<string> | null)[] = [];
  let last: string | undefined;
  // Strings, which may hold any sign, and the signs that structure a text; numbers and words are passed over.
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]/g)) {
    if (token === '{') objects.push(new Set());
    else if (token === '[') objects.push(null);
    else if (token === '}' || token === ']') objects.pop();
    else if (token === ':') {
      const names = objects.at(-1);
      // As the reader compares them: `"\u0061"` is `"a"`.
      const name: unknown = JSON.parse(last ?? '""');
      if (names?.has(name as string)) return true;
      names?.add(name as string);
    } else if (token !== ',') last = token;
  }
  return false;
}

/** A text that every program can read, cut after so many characters. Half a surrogate pair becomes U+FFFD. */
export function wellFormed(text: string, most = Infinity): string {
  // A character has two units at most: what is far too long is not taken apart to its end.
  const start = most === Infinity ? text : text.slice(0, 2 * most);
  return [...start].slice(0, most).join('').toWellFormed();
}

/**
 * A copy of JSON types alone. Class instances are refused: one could print one thing and be another. A member that is
 * `undefined` is left out, as JSON does.
 */
function plain(value: unknown, path: string, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new InvalidPayload(`${path.slice(0, 80)}… is nested too deeply`);
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new InvalidPayload(`${path} is not well-formed text`);
    return value;
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new InvalidPayload(`${path} is not a number that JSON has`);
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw new InvalidPayload(`${path} is a whole number beyond 2^53-1; send it as a string`);
    }
    return value;
  }
  if (Array.isArray(value)) return Array.from(value, (item, index) => plain(item, `${path}[${index}]`, depth + 1));
  if (typeof value === 'object') {
    const prototype: unknown = Object.getPrototypeOf(value);
    if ((prototype === Object.prototype || prototype === null) && Object.getOwnPropertySymbols(value).length === 0) {
      const entries = Object.entries(value).filter(([, item]) => item !== undefined);
      for (const [key] of entries) {
        if (!key.isWellFormed()) throw new InvalidPayload(`${path} has a key that is not well-formed text`);
      }
      return Object.fromEntries(entries.map(([key, item]) => [key, plain(item, `${path}.${key}`, depth + 1)]));
    }
  }
  throw new InvalidPayload(`${path} is not JSON; turn it into text, numbers, lists or objects`);
}
