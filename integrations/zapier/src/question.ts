// What is asked: the input fields that the asking steps share, and what is read from them.

import type { Bundle, PlainInputField, ZObject } from 'zapier-platform-core';

import { type Approval } from './approval.js';
import { DETAIL_FIELDS, readDetails } from './details.js';
import { mustBeWrittenOut, nameOf, pairsOf, textIn, textOf } from './filled_in.js';
import { characters, payloadDigest, sha256 } from './json.js';
import { secretWithin } from './secrets.js';

/** A callback must reach Zapier within 30 days; the gate tries for a day, and this leaves one more. */
const LONGEST_WAIT_SECONDS = 28 * 24 * 3600;

/** The gate's limit, in characters. */
const LONGEST_SUMMARY = 500;

/** The gate's names of actions. */
const ACTION = /^[A-Za-z0-9_:-]+(\.[A-Za-z0-9_:-]+)*$/u;

/** What a builder asks. Its identity at the gate is `requestId` with `action` and `payload`; the rest may differ. */
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

/** What the asking steps ask the builder for. */
export const QUESTION_FIELDS: PlainInputField[] = [
  KEY_FIELD,
  {
    key: 'summary',
    label: 'Summary',
    type: 'text',
    required: true,
    placeholder: 'Refund order 1001 to Ada, who got a broken cup.',
    helpText: 'One or two sentences for the reviewer: what will happen, and why. Up to 500 characters. The page shows them as your words, beside the details.',
  },
  {
    key: 'action',
    label: 'Action',
    type: 'string',
    required: true,
    placeholder: 'refund.create',
    helpText: 'The kind of thing that will be done, as words with dots. The rules of the gate choose by it who is asked, so type it here: a value of another step is refused.',
  },
  ...DETAIL_FIELDS,
  {
    key: 'wait_limit_minutes',
    label: 'Wait Limit in Minutes',
    type: 'integer',
    required: false,
    helpText: 'After this time without a decision the request expires, which is not an approval. The rules of the gate may end it earlier. If empty: 28 days. Type it here.',
  },
  {
    key: 'labels',
    label: 'Labels',
    dict: true,
    required: false,
    helpText: 'Fixed words of yours, such as `team` and support. The rules of the gate can read them, and they come back with the decision. Type them here; values of other steps belong into Details.',
  },
];

/** Reads the question from what the builder filled in; what cannot be asked is an error that says why. */
export function readQuestion(z: ZObject, bundle: Bundle): Question {
  const summary = textOf(z, bundle, 'summary', 'Summary');
  const question = {
    requestId: readKey(z, bundle),
    summary,
    action: readAction(z, bundle),
    payload: readPayload(z, bundle),
    metadata: readLabels(z, bundle),
    timeoutSeconds: readWaitLimit(z, bundle),
  };
  const shown: [string, string][] = [['Summary', summary], ['Request Key', textIn(z, bundle.inputData['request_key'], 'Request Key')], ...Object.entries(question.metadata).flat().map((text): [string, string] => ['Labels', text])];
  for (const [label, text] of shown) {
    const secret = secretWithin(text, label);
    if (secret !== undefined) throw new z.errors.Error(`${secret}. The reviewer would see it. Take it out.`, 'secret_in_details');
  }
  if (summary.trim() === '') throw new z.errors.Error('Summary is empty. Say in one or two sentences what will happen, and why.', 'bad_summary');
  if (characters(summary) > LONGEST_SUMMARY) {
    throw new z.errors.Error(`Summary has ${characters(summary)} characters. Up to ${LONGEST_SUMMARY} are taken; what is longer belongs into Details.`, 'bad_summary');
  }
  return question;
}

/** Whether an approval answers this question. The words of the summary, and how to wait, are no part of it. */
export function isAnswerTo(approval: Approval, { requestId, action, payload }: Question): boolean {
  return approval.request_id === requestId && approval.action === action && approval.payload_sha256 === payloadDigest(payload);
}

/** The gate's name for a builder's key: the key itself where it can be one, else a digest of it. */
export function readKey(z: ZObject, bundle: Bundle): string {
  return nameFor(nameOf(z, bundle, 'request_key', 'Request Key'));
}

/** The name of a question that is asked anew in each run. Each run has a callback URL of its own, and keeps it when it is retried. */
export function nameInThisRun(requestId: string, callbackUrl: string): string {
  return nameFor(`${requestId}.${sha256(callbackUrl).slice(0, 16)}`);
}

function nameFor(key: string): string {
  // In a path, `.` and `..` are not names.
  return /^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$/u.test(key) ? key : `key-${sha256(key)}`;
}

/** The action, which the connection may limit: then whatever a model writes there reaches no other rule. */
function readAction(z: ZObject, bundle: Bundle): string {
  const refuse = (words: string) => new z.errors.Error(words, 'bad_action');
  mustBeWrittenOut(z, bundle, 'action', 'Action', 'Where it must differ, use one step for each, after a Path; or put the value into Details, which rules can read too.');
  const filledIn = bundle.inputData['action'];
  const action = textOf(z, bundle, 'action', 'Action').trim();
  if (action === '' && filledIn !== undefined) throw refuse('Action is empty. Write what kind of thing will be done, such as refund.create.');
  if (action !== '' && (!ACTION.test(action) || action.length > 128)) {
    throw refuse(`Action must be words with dots, such as refund.create, of up to 128 letters, digits, "_", ":" and "-", not "${action.slice(0, 128)}".`);
  }
  const asked = action === '' ? 'unspecified' : action;
  const allowed = allowedActions(bundle);
  if (allowed.length > 0 && !allowed.some((one) => covers(one, asked))) {
    throw refuse(`This connection may not ask for "${asked}". Its Allowed Actions are: ${allowed.join(', ')}.`);
  }
  return asked;
}

/** The names in a connection's Allowed Actions. None means any. */
export function allowedActions({ authData }: Pick<Bundle, 'authData'>): string[] {
  const written = (authData['allowed_actions'] ?? '').trim();
  const names = written.split(/[\s,;]+/u).filter((one) => one !== '');
  // A comma alone is no "any".
  return written !== '' && names.length === 0 ? [written] : names;
}

/** Whether a name is one of an action, or of all below one: `refund.*`. */
export function isActionPattern(pattern: string): boolean {
  return ACTION.test(pattern.replace(/\.\*$/u, ''));
}

function covers(pattern: string, action: string): boolean {
  return pattern.endsWith('.*') ? action.startsWith(pattern.slice(0, -1)) : action === pattern;
}

/** A decision without details would be for nothing: any summary would fit it. */
function readPayload(z: ZObject, bundle: Bundle): string {
  const payload = readDetails(z, bundle);
  if (payload !== undefined) return payload;
  throw new z.errors.Error(
    'No details are filled in. Say in Details or Numbers what exactly will be done: the decision is for exactly that. If there really is nothing to say, write {} into Details as JSON.',
    'no_details',
  );
}

function readLabels(z: ZObject, bundle: Bundle): Record<string, string> {
  mustBeWrittenOut(z, bundle, 'labels', 'Labels', 'Put values of other steps into Details, or into the Request Key, which comes back with the decision.');
  return Object.fromEntries(pairsOf(z, bundle, 'labels', 'Labels').map(([name, value]) => [name, textIn(z, value, `"${name}" in Labels`)]));
}

function readWaitLimit(z: ZObject, bundle: Bundle): number {
  mustBeWrittenOut(z, bundle, 'wait_limit_minutes', 'Wait Limit in Minutes', 'The rules of the gate set the time for each kind of question.');
  const written = textOf(z, bundle, 'wait_limit_minutes', 'Wait Limit in Minutes').trim();
  if (written === '') return LONGEST_WAIT_SECONDS;
  const seconds = /^\d+$/u.test(written) ? Number(written) * 60 : 0;
  if (seconds < 60 || seconds > LONGEST_WAIT_SECONDS) {
    throw new z.errors.Error(`Wait Limit in Minutes must be a whole number from 1 to ${LONGEST_WAIT_SECONDS / 60} (28 days).`, 'bad_wait_limit');
  }
  return seconds;
}
