// The details of what will be done: the fields of the asking and checking steps, and the JSON text that is made of them.

import type { Bundle, PlainInputField, ZObject } from 'zapier-platform-core';

import { isBlank, pairsOf, textIn, textOf } from './filled_in.js';
import { faultIn, numberFault } from './json.js';
import { isRecord } from './problem.js';
import { secretWithin } from './secrets.js';

/** A decimal with more significant digits may come out of a JSON number as another one. */
const MOST_DIGITS = 15;

/** The fields that take details. */
export const DETAIL_FIELDS: PlainInputField[] = [
  {
    key: 'details',
    label: 'Details',
    dict: true,
    required: false,
    helpText: 'What exactly will be done, as names and texts: `to`, `order`, `currency`, a date. The reviewer sees all of it, and the decision is for exactly this. Fill in no passwords, keys or tokens.',
  },
  {
    key: 'numbers',
    label: 'Numbers',
    dict: true,
    required: false,
    helpText: 'Details that are numbers, such as `amount` and 19.50. The rules of the gate can compare these. Write them with a point and without a currency.',
  },
  {
    key: 'yes_no',
    label: 'Yes or No',
    dict: true,
    required: false,
    helpText: 'Details that are true or false, such as `express` and yes. Write true, false, yes or no.',
  },
  {
    key: 'line_items',
    label: 'Line Items',
    required: false,
    children: [
      { key: 'description', label: 'Description', type: 'string', required: false, helpText: 'The name or the number of the article.' },
      { key: 'quantity', label: 'Quantity', type: 'string', required: false, helpText: 'How many of it: a number, such as 2.' },
      { key: 'price', label: 'Price', type: 'string', required: false, helpText: 'A number, such as 19.50, without a currency.' },
    ],
  },
  {
    key: 'details_json',
    label: 'Details as JSON',
    type: 'text',
    required: false,
    helpText: 'For nested details: one JSON object, in place of the fields above.',
  },
];

/** How the cells of a line item are read. */
const CELLS: Readonly<Record<string, 'text' | 'number'>> = { description: 'text', quantity: 'number', price: 'number' };

/** JSON text of the details; undefined if none are filled in. */
export function readDetails(z: ZObject, bundle: Bundle): string | undefined {
  const refuse = (words: string) => new z.errors.Error(words, 'bad_details');
  const fields: [string, [string, unknown][]][] = [
    ['Details', pairsOf(z, bundle, 'details', 'Details')],
    ['Numbers', pairsOf(z, bundle, 'numbers', 'Numbers').map(([name, value]) => [name, eachOf(value, (one) => readNumber(z, `"${name}" in Numbers`, one))])],
    ['Yes or No', pairsOf(z, bundle, 'yes_no', 'Yes or No').map(([name, value]) => [name, eachOf(value, (one) => readYesOrNo(z, name, one))])],
    ['Line Items', readLineItems(z, bundle.inputData['line_items'])],
  ];
  const filled = fields.flatMap(([label, pairs]) => pairs.map(([name, value]) => ({ label, name, value })));
  const written = textOf(z, bundle, 'details_json', 'Details as JSON');
  if (written.trim() !== '') {
    if (filled.length > 0) throw refuse('Fill in either Details as JSON, or the other fields for details, but not both.');
    return checked(z, jsonObject(z, written));
  }
  for (const [index, { label, name }] of filled.entries()) {
    const earlier = filled.slice(0, index).find((other) => other.name.trim() === name.trim());
    if (earlier !== undefined) throw refuse(`"${name}" is in both ${earlier.label} and ${label}. Keep one of them.`);
  }
  if (filled.length === 0) return undefined;
  return checked(z, JSON.stringify(Object.fromEntries(filled.map(({ name, value }) => [name, value]))));
}

function checked(z: ZObject, json: string): string {
  const fault = faultIn(json, 'Details');
  if (fault !== undefined) throw new z.errors.Error(fault, 'bad_details');
  const secret = secretWithin(JSON.parse(json), 'Details');
  if (secret !== undefined) throw new z.errors.Error(`${secret}. The reviewer would see it. Take it out.`, 'secret_in_details');
  return json;
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

/** Line items come as a list where the platform keeps them apart. */
function eachOf(value: unknown, read: (one: unknown) => unknown): unknown {
  return Array.isArray(value) ? value.map(read) : read(value);
}

function readNumber(z: ZObject, name: string, value: unknown): number {
  const written = textIn(z, value, name).trim();
  const refuse = (words: string) => new z.errors.Error(words, 'bad_number');
  if (written === '') throw refuse(`${name} must be a number such as 19.50, but it came out empty.`);
  if (!/^-?\d+(\.\d+)?$/u.test(written)) throw refuse(`${name} must be a number such as 19.50, not "${written}".`);
  const whole = /^-?\d+(\.0*)?$/u.test(written);
  const digits = written.replace(/^-?0*\.?0*|\./gu, '').length;
  if (numberFault(written) !== undefined || (!whole && digits > MOST_DIGITS)) {
    throw refuse(`${name} has too many digits to stay exact (whole numbers go up to ${Number.MAX_SAFE_INTEGER}). Put it into Details, as a text.`);
  }
  return Number(written);
}

const YES_NO: Readonly<Record<string, boolean>> = { true: true, yes: true, false: false, no: false };

/** Zapier writes a boolean as `true`, `True`, or `yes`, depending on the app that it comes from. */
function readYesOrNo(z: ZObject, name: string, value: unknown): boolean {
  const written = textIn(z, value, name).trim().toLowerCase();
  const read = Object.hasOwn(YES_NO, written) ? YES_NO[written] : undefined;
  if (read === undefined) throw new z.errors.Error(`"${name}" in Yes or No must be true, false, yes or no, not "${written}".`, 'bad_yes_no');
  return read;
}

/**
 * The rows of a field group. Zapier makes them of lists that it lays side by side, and fills the shorter ones with nothing:
 * then a price could stand beside the wrong article, so a row with a gap is refused.
 */
function readLineItems(z: ZObject, value: unknown): [string, unknown][] {
  if (isBlank(value)) return [];
  const refuse = (words: string) => new z.errors.Error(words, 'bad_line_items');
  const rows: unknown[] = Array.isArray(value) ? value : [value];
  if (!rows.every(isRecord)) throw refuse('Line Items must be rows of Description, Quantity and Price.');
  const filled = rows.map((row, index) => ({ row, number: index + 1 })).filter(({ row }) => Object.values(row).some((cell) => !isBlank(cell)));
  if (filled.length === 0) return [];
  const columns = Object.keys(CELLS).filter((column) => filled.some(({ row }) => !isBlank(row[column])));
  const strange = filled.flatMap(({ row }) => Object.keys(row)).find((column) => CELLS[column] === undefined);
  if (strange !== undefined) throw refuse(`Line Items has no field "${strange}".`);
  return [['line_items', filled.map(({ row, number }) => Object.fromEntries(columns.map((column) => {
    const label = `${column.charAt(0).toUpperCase()}${column.slice(1)} in row ${number} of Line Items`;
    if (isBlank(row[column])) throw refuse(`${label} is empty, but other rows have one: the lists that the rows are made of differ in length.`);
    return [column, CELLS[column] === 'number' ? readNumber(z, label, row[column]) : textIn(z, row[column], label)];
  })))]];
}
