/**
 * Receipts: how a request ended, proven without a gate.
 *
 * A receipt holds the request's audit entries up to its end, the proof that the last of them is in the gate's
 * transparency log, and the log's signed head (C2SP `tlog-proof`, `tlog-checkpoint`, `signed-note`).
 */

import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';

import canonicalize from 'canonicalize';

import { isObject } from './approval.ts';
import { digest, strictObject } from './canonical.ts';
import { InvalidPayload, InvalidReceipt } from './errors.ts';

export interface ReceiptOptions {
  /**
   * The log's public key, as `placet audit key` prints it. Without it the receipt's own is used, which proves that the
   * receipt is whole, and not whose log it is from.
   */
  logKey?: string;
  /** The payload that must be what was asked for. */
  payload?: unknown;
}

/** What a good receipt proves. */
export interface VerifiedReceipt {
  request_id: string;
  client: string;
  status: 'approved' | 'rejected' | 'expired' | 'cancelled';
  approved: boolean;
  approved_by: string | null;
  timestamp: string;
  payload_sha256: string;
  /** The place of the request's end in the log, from 0. */
  index: bigint;
  /** How many entries the log had. */
  size: bigint;
  /** The log's name. */
  log: string;
  /** Whether it holds the token. An auditor's receipt does not: it proves the outcome, and nobody can act on it. */
  has_token: boolean;
  /** Whether the log's key came from the caller, and not from the receipt itself. */
  pinned: boolean;
}

type Entry = Record<string, unknown>;

const TYPE = 'placet-receipt/v1';
const ENDS = new Map<unknown, VerifiedReceipt['status']>([
  ['request.approved', 'approved'],
  ['request.rejected', 'rejected'],
  ['request.expired', 'expired'],
  ['request.cancelled', 'cancelled'],
]);

/** Checks a receipt, and says what it proves. Throws `InvalidReceipt`, whose `problem` is the gate's own code. */
export function verifyReceipt(receipt: unknown, options: ReceiptOptions = {}): VerifiedReceipt {
  const fields = read(receipt);
  const entries = chained(fields.entries);
  const end = entries.at(-1) as Entry;
  const status = ENDS.get(end['event']);
  if (status === undefined || end['approved'] !== (status === 'approved')) throw new InvalidReceipt('malformed');
  if (end['request_id'] !== fields.request_id || end['client'] !== fields.client) throw new InvalidReceipt('malformed');
  const { index, path, checkpoint } = readProof(fields.proof);
  const head = open(checkpoint, options.logKey ?? fields.log_key);
  if (!isIn(index, head.size, sha256(Buffer.from([0]), leafOf(end)), path, head.root)) throw new InvalidReceipt('not_in_log');
  if (fields.token !== null) checkToken(fields.token, end, status);
  if (options.payload !== undefined && digest(options.payload) !== end['payload_sha256']) {
    throw new InvalidReceipt('payload_mismatch');
  }
  return {
    request_id: fields.request_id,
    client: fields.client,
    status,
    approved: status === 'approved',
    approved_by: typeof end['approved_by'] === 'string' ? end['approved_by'] : null,
    timestamp: String(end['timestamp']),
    payload_sha256: String(end['payload_sha256']),
    index,
    size: head.size,
    log: head.log,
    has_token: fields.token !== null,
    pinned: options.logKey !== undefined,
  };
}

interface Fields {
  request_id: string;
  client: string;
  token: string | null;
  entries: unknown[];
  proof: string;
  log_key: string;
}

function read(receipt: unknown): Fields {
  const fields = typeof receipt === 'string' ? parsed(receipt) : receipt;
  if (!isObject(fields) || fields['type'] !== TYPE) throw new InvalidReceipt('malformed');
  const { type: _, request_id, client, token = null, entries, proof, log_key, ...unknown } = fields;
  // What stands beside the entries is not proven by them.
  if (Object.keys(unknown).length > 0) throw new InvalidReceipt('malformed');
  const texts = [request_id, client, proof, log_key].every((text) => typeof text === 'string');
  if (!texts || !Array.isArray(entries) || (token !== null && typeof token !== 'string')) throw new InvalidReceipt('malformed');
  return { request_id, client, token, entries, proof, log_key } as Fields;
}

/** A name that stands twice is refused: two readers could believe different ones. */
function parsed(text: string): unknown {
  try {
    return strictObject(text);
  } catch (error) {
    if (error instanceof InvalidPayload) throw new InvalidReceipt('malformed');
    throw error;
  }
}

function sha256(...parts: (Buffer | string)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** An entry's canonical JSON without its own hash: what its hash and its leaf are made of. */
function leafOf(entry: Entry): Buffer {
  const { hash: _, ...rest } = entry;
  const text = canonicalize(rest);
  if (text === undefined) throw new InvalidReceipt('malformed');
  return Buffer.from(text);
}

/** The entries, where each is what its hash was made of and follows the one before it. */
function chained(entries: unknown[]): Entry[] {
  if (entries.length === 0) throw new InvalidReceipt('malformed');
  let before: unknown = '0'.repeat(64);
  let subject: unknown;
  for (const [place, entry] of entries.entries()) {
    if (!isObject(entry) || sha256(leafOf(entry)).toString('hex') !== entry['hash']) throw new InvalidReceipt('entry_changed');
    const follows = entry['prev_hash'] === before && entry['seq'] === place + 1;
    if (!follows || (subject !== undefined && entry['subject'] !== subject)) throw new InvalidReceipt('chain_broken');
    before = entry['hash'];
    subject = entry['subject'];
  }
  return entries as Entry[];
}

function number(text: string): bigint {
  if (!/^(0|[1-9][0-9]{0,19})$/.test(text)) throw new InvalidReceipt('malformed');
  return BigInt(text);
}

function bytes(text: string, problem = 'malformed'): Buffer {
  const raw = Buffer.from(text, 'base64');
  if (raw.toString('base64') !== text) throw new InvalidReceipt(problem);
  return raw;
}

/** Index, path and checkpoint of a `tlog-proof`. */
function readProof(text: string): { index: bigint; path: Buffer[]; checkpoint: string } {
  const gap = text.indexOf('\n\n');
  const [first, ...lines] = text.slice(0, Math.max(gap, 0)).split('\n');
  if (lines[0]?.startsWith('extra ') === true) bytes((lines.shift() ?? '').slice('extra '.length));
  const index = lines.shift();
  if (first !== 'c2sp.org/tlog-proof@v1' || index?.startsWith('index ') !== true) throw new InvalidReceipt('malformed');
  const path = lines.map((line) => bytes(line));
  if (path.length > 64 || path.some((node) => node.length !== 32)) throw new InvalidReceipt('malformed');
  return { index: number(index.slice('index '.length)), path, checkpoint: text.slice(gap + 2) };
}

/** Name, size and root of a checkpoint that the key has signed. */
function open(note: string, vkey: string): { log: string; size: bigint; root: Buffer } {
  const { name, id, key } = readKey(vkey);
  const gap = note.lastIndexOf('\n\n');
  // eslint-disable-next-line no-control-regex -- a note has no other control characters than the line's end
  if (gap < 0 || !note.endsWith('\n') || /[\u0000-\u0009\u000b-\u001f\u007f]/.test(note)) throw new InvalidReceipt('wrong_checkpoint');
  const text = note.slice(0, gap + 1);
  let isSigned = false;
  for (const line of note.slice(gap + 2, -1).split('\n')) {
    const [dash, signer, encoded, ...more] = line.split(' ');
    if (dash !== '\u2014' || signer === undefined || encoded === undefined || more.length > 0) {
      throw new InvalidReceipt('wrong_checkpoint');
    }
    const raw = bytes(encoded, 'wrong_checkpoint');
    if (signer === name && raw.subarray(0, 4).equals(id)) {
      if (!verify(null, Buffer.from(text), key, raw.subarray(4))) throw new InvalidReceipt('wrong_checkpoint');
      isSigned = true;
    }
  }
  const [log, size, root] = text.split('\n');
  if (!isSigned || log !== name || size === undefined || root === undefined) throw new InvalidReceipt('wrong_checkpoint');
  return { log: name, size: number(size), root: bytes(root) };
}

function readKey(vkey: string): { name: string; id: Buffer; key: KeyObject } {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey);
  if (parts === null) throw new InvalidReceipt('malformed');
  const [, name = '', id = '', encoded = ''] = parts;
  const raw = bytes(encoded);
  const expected = sha256(`${name}\n`, raw).subarray(0, 4);
  if (raw.length !== 33 || raw[0] !== 1 || expected.toString('hex') !== id) throw new InvalidReceipt('malformed');
  const x = raw.subarray(1).toString('base64url');
  return { name, id: expected, key: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }) };
}

/** RFC 9162, section 2.1.3.2. */
function isIn(index: bigint, size: bigint, leaf: Buffer, path: Buffer[], root: Buffer): boolean {
  if (index >= size) return false;
  let [place, last, node] = [index, size - 1n, leaf];
  const one = Buffer.from([1]);
  for (const other of path) {
    if (last === 0n) return false;
    if ((place & 1n) === 1n || place === last) {
      node = sha256(one, other, node);
      while ((place & 1n) === 0n && place !== 0n) [place, last] = [place >> 1n, last >> 1n];
    } else node = sha256(one, node, other);
    [place, last] = [place >> 1n, last >> 1n];
  }
  return last === 0n && node.equals(root);
}

/** The token is the one that the entry names, and says what the entry says. */
function checkToken(token: string, end: Entry, status: string): void {
  const names = { sub: 'request_id', aud: 'client', jti: 'subject', action: 'action', payload_sha256: 'payload_sha256', approved: 'approved' };
  let claims: unknown;
  try {
    claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  } catch {
    throw new InvalidReceipt('token_mismatch');
  }
  const agrees = isObject(claims) && Object.entries(names).every(([claim, field]) => claims[claim] === end[field]);
  const isNamed = sha256(token).toString('hex') === end['token_hash'];
  if (!isNamed || !agrees || !isObject(claims) || claims['status'] !== status) throw new InvalidReceipt('token_mismatch');
}
