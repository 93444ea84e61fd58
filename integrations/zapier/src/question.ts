// What is asked: the input fields that the asking steps share, and what is read from them.

import { createHash } from 'node:crypto';
import type { Bundle, PlainInputField, ZObject } from 'zapier-platform-core';

import { isRecord } from './problem.js';

/** A callback must reach Zapier within 30 days; the gate tries for a day, and this leaves one more. */
const LONGEST_WAIT_SECONDS = 28 * 24 * 3600;

/** A decimal with more significant digits may come out of a JSON number as another one. */
const MOST_DIGITS = 15;

/** What a builder asks. */
export interface Question {
  requestId: string;
  summary: string;
  action: string;
  /** JSON text of the details. */
  payload: string;
  metadata: Record<string, string>;
  timeoutSeconds: number;
}

/** The field by which an approval is found again. */
export const KEY_FIELD: PlainInputField = {
  key: 'request_key',
  label: 'Request Key',
  type: 'string',
  required: true,
  placeholder: 'refund-1001',
  helpText:
    'A text that is different for each thing to approve, such as `refund-` and the order number. If this step runs again with the same key, the reviewer is not asked again.',
};

/** The details of what will be done, as the token's check takes them too. */
export const PAYLOAD_FIELDS: PlainInputField[] = [
  {
    key: 'details',
    label: 'Details',
    dict: true,
    required: false,
    helpText: 'What exactly will be done, as names and texts: `to`, `order`, `text`. The reviewer sees all of it, and the decision is for exactly this.',
  },
  {
    key: 'numbers',
    label: 'Numbers',
    dict: true,
    required: false,
    helpText: 'Details that are numbers, such as `amount` and 19.50. The rules of the gate can compare these. Write them with a point and without a currency.',
  },
  {
    key: 'details_json',
    label: 'Details as JSON',
    type: 'text',
    required: false,
    helpText: 'For lists and nested details: one JSON object, in place of Details and Numbers.',
  },
];

/** What the asking steps ask the builder for. */
export const QUESTION_FIELDS: PlainInputField[] = [
  KEY_FIELD,
  {
    key: 'summary',
    label: 'Summary',
    type: 'text',
    required: true,
    placeholder: 'Refund order 1001 to Ada, who got a broken cup.',
    helpText: 'One or two sentences for the reviewer: what will happen, and why. Up to 500 characters.',
  },
  {
    key: 'action',
    label: 'Action',
    type: 'string',
    required: false,
    placeholder: 'refund.create',
    helpText: 'The kind of thing that will be done, as words with dots. The rules of the gate choose by it who is asked. [How rules are written](https://cel.dev).',
  },
  ...PAYLOAD_FIELDS,
  {
    key: 'wait_limit_minutes',
    label: 'Wait Limit in Minutes',
    type: 'integer',
    required: false,
    helpText: 'After this time without a decision the request expires, which is not an approval. The rules of the gate may end it earlier. If empty: 28 days.',
  },
  {
    key: 'labels',
    label: 'Labels',
    dict: true,
    required: false,
    helpText: 'Notes of your own that come back with the decision, as names and texts.',
  },
];

/** Reads the question from what the builder filled in; what cannot be asked is an error that says why. */
export function readQuestion(z: ZObject, { inputData }: Bundle): Question {
  const action = text(inputData['action']).trim();
  return {
    requestId: readKey(z, inputData['request_key']),
    summary: text(inputData['summary']),
    action: action === '' ? 'unspecified' : action,
    payload: readPayload(z, inputData) ?? '{}',
    metadata: Object.fromEntries(Object.entries(record(z, inputData['labels'], 'Labels')).map(([name, value]) => [name, text(value)])),
    timeoutSeconds: readWaitLimit(z, inputData['wait_limit_minutes']),
  };
}

/** The gate's name for a builder's key: the key itself where it can be one, else a digest of it. */
export function readKey(z: ZObject, value: unknown): string {
  const key = text(value).trim();
  if (key === '') throw new z.errors.Error('Request Key is empty. Fill in a text that is different for each thing to approve.', 'no_key');
  return nameFor(key);
}

/** The name of a question that is asked anew in each run. Each run has a callback URL of its own, and keeps it when it is retried. */
export function nameInThisRun(requestId: string, callbackUrl: string): string {
  return nameFor(`${requestId}.${digest(callbackUrl).slice(0, 16)}`);
}

function nameFor(key: string): string {
  // In a path, `.` and `..` are not names.
  return /^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$/u.test(key) ? key : `key-${digest(key)}`;
}

function digest(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/** JSON text of the details; undefined if none are filled in. */
export function readPayload(z: ZObject, inputData: Record<string, unknown>): string | undefined {
  const details = record(z, inputData['details'], 'Details');
  const numbers = record(z, inputData['numbers'], 'Numbers');
  const written = text(inputData['details_json']);
  const names = [...Object.keys(details), ...Object.keys(numbers)];
  if (written.trim() !== '') {
    if (names.length > 0) {
      throw new z.errors.Error('Fill in either Details and Numbers, or Details as JSON, but not both.', 'bad_details');
    }
    return jsonObject(z, written);
  }
  if (names.length === 0) return undefined;
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new z.errors.Error(`"${twice}" is in both Details and Numbers. Keep one of them.`, 'bad_details');
  const counted = Object.entries(numbers).map(([name, value]) => [name, readNumber(z, name, value)] as const);
  return JSON.stringify(Object.fromEntries([...Object.entries(details), ...counted]));
}

function jsonObject(z: ZObject, written: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(written);
  } catch (error) {
    throw new z.errors.Error(`Details as JSON is not JSON: ${error instanceof Error ? error.message : ''}.`, 'bad_details');
  }
  if (!isRecord(parsed)) throw new z.errors.Error('Details as JSON must be one object, such as {"order": 1001}.', 'bad_details');
  return written;
}

function readNumber(z: ZObject, name: string, value: unknown): number {
  const written = text(value).trim();
  if (!/^-?\d+(\.\d+)?$/u.test(written)) {
    throw new z.errors.Error(`"${name}" in Numbers must be a number such as 19.50, not "${written}".`, 'bad_number');
  }
  if (written.replace(/^-?0*\.?0*|\./gu, '').length > MOST_DIGITS) {
    throw new z.errors.Error(`"${name}" in Numbers has too many digits to stay exact. Put it into Details, as a text.`, 'bad_number');
  }
  return Number(written);
}

function readWaitLimit(z: ZObject, value: unknown): number {
  const written = text(value).trim();
  if (written === '') return LONGEST_WAIT_SECONDS;
  const seconds = /^\d+$/u.test(written) ? Number(written) * 60 : 0;
  if (seconds < 60 || seconds > LONGEST_WAIT_SECONDS) {
    throw new z.errors.Error(`Wait Limit in Minutes must be a whole number from 1 to ${LONGEST_WAIT_SECONDS / 60} (28 days).`, 'bad_wait_limit');
  }
  return seconds;
}

/** Names and values of a field that takes pairs. */
function record(z: ZObject, value: unknown, label: string): Record<string, unknown> {
  if (value === undefined || value === null || value === '') return {};
  if (!isRecord(value)) throw new z.errors.Error(`${label} must be pairs of a name and a value.`, 'bad_details');
  return value;
}

/** A value as it was filled in; nothing is trimmed or shortened. */
export function text(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : String(value);
}
