// JSON that every program reads alike: one meaning for each name, numbers that a double holds, one canonical text.
//
// The gate refuses the rest too. It is refused here first, so that the builder reads it in the words of the Zap editor,
// and already while testing the step.

import { createHash } from 'node:crypto';

import { isRecord } from './problem.js';

/** Deeper nesting than any real details; the gate's reader has a limit of its own. */
const DEEPEST = 100;

const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/uy;
/** Outside of a string, a colon only follows a name. */
const COLON = /\s*:/uy;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/uy;

/** One half of a pair of UTF-16 units, alone. */
const HALF = /\p{Surrogate}/u;

interface Level {
  /** Names so far; undefined in a list. */
  names: Set<string> | undefined;
  /** The name, or the place in the list, of the value that is read next. */
  at: string;
  index: number;
}

/**
 * What is wrong with a JSON text that `JSON.parse` takes; undefined if nothing is.
 *
 * `name` is what the text is called in the sentence. Numbers are judged as they are spelled: `JSON.parse` has already
 * rounded them.
 */
export function faultIn(json: string, name: string): string | undefined {
  const levels: Level[] = [];
  const path = (outer: Level[]) => outer.reduce((whole, { names, at, index }) => whole + (names === undefined ? `[${index}]` : `.${at}`), name);
  let position = 0;
  while (position < json.length) {
    const character = json.charAt(position);
    const level = levels.at(-1);
    if (character === '"') {
      const text = tokenAt(STRING, json, position) ?? '""';
      position += text.length;
      const value = JSON.parse(text) as string;
      const isName = level?.names !== undefined && tokenAt(COLON, json, position) !== undefined;
      if (isName && level.names?.has(value) === true) return `${path(levels.slice(0, -1))}: the key \`${value}\` is defined twice.`;
      if (isName) {
        level.names?.add(value);
        level.at = value;
      }
      if (HALF.test(value)) return `${path(levels)} holds half of a character, which cannot be sent.`;
      continue;
    }
    if (character === '-' || (character >= '0' && character <= '9')) {
      const text = tokenAt(NUMBER, json, position) ?? '0';
      const fault = numberFault(text);
      if (fault !== undefined) return `${path(levels)} ${fault}`;
      position += text.length;
      continue;
    }
    if (character === '{' || character === '[') {
      levels.push({ names: character === '{' ? new Set() : undefined, at: '', index: 0 });
      if (levels.length > DEEPEST) return `${name} is nested too deeply.`;
    }
    if (character === '}' || character === ']') levels.pop();
    if (character === ',' && level !== undefined) level.index += 1;
    position += 1;
  }
  return undefined;
}

function tokenAt(pattern: RegExp, json: string, position: number): string | undefined {
  pattern.lastIndex = position;
  return pattern.exec(json)?.[0];
}

/** Why a number would not arrive as it is written; undefined if it would. Every spelling counts: `1e30` is a whole number. */
export function numberFault(written: string): string | undefined {
  const read = Number(written);
  if (Math.abs(read) > Number.MAX_SAFE_INTEGER) {
    return `is beyond ${Number.MAX_SAFE_INTEGER}, up to which all programs read whole numbers alike. Send it as a text.`;
  }
  if (read === 0 && /[1-9]/u.test(written.replace(/[eE].*$/u, ''))) return 'is so small that it would be read as 0. Send it as a text.';
  return undefined;
}

/** RFC 8785: names sorted by their UTF-16 units, numbers and texts as JavaScript writes them. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isRecord(value)) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/** `payload_sha256` of a JSON text. */
export function payloadDigest(json: string): string {
  return sha256(canonical(JSON.parse(json)));
}

/** Lower-case hex. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The length that a person, and the gate, counts: in characters, not in UTF-16 units. */
export function characters(text: string): number {
  return [...text].length;
}
