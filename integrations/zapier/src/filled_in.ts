// Reading what the builder filled in, as Zapier sends it: texts, numbers, booleans, lists, and fields that came out empty.
//
// Zapier puts the values of earlier steps where the builder wrote `{{123__field}}`, and hands on both: `inputData` with the
// values, and `inputDataRaw` as it was written. What decides (who is asked, how long, what happens after) must be written
// in the step itself. Any other value may be a model's, or a stranger's who filled in a form.

import type { Bundle, ZObject } from 'zapier-platform-core';

import { isRecord } from './problem.js';

/** The beginning of a place that Zapier fills with a value of another step; a formula in it may hold braces of its own. */
const PLACE = /\{\{/u;
const PLACES = /\{\{[\s\S]*?\}\}+/gu;

/** What was written in a field, before Zapier put values in; undefined where Zapier does not say. */
function written(bundle: Bundle, key: string): unknown {
  const raw: unknown = bundle.inputDataRaw;
  return isRecord(raw) ? raw[key] : undefined;
}

/** Whether what was written takes a value of another step. */
function takesAnything(raw: unknown): boolean {
  return PLACE.test(typeof raw === 'string' ? raw : (JSON.stringify(raw) ?? ''));
}

/** Refuses a field that takes a value of another step, because it decides. `instead` says what to do. */
export function mustBeWrittenOut(z: ZObject, bundle: Bundle, key: string, label: string, instead: string): void {
  const raw: unknown = isRecord(bundle.inputDataRaw) ? bundle.inputDataRaw : {};
  const fields = Object.entries(raw as Record<string, unknown>).filter(([name]) => name === key || name.startsWith(`${key}__`));
  if (fields.some(([name, value]) => PLACE.test(name) || takesAnything(value))) {
    throw new z.errors.Error(`${label} must be written in this step, and not be taken from another one: what a model or a form wrote must not decide who is asked. ${instead}`, 'not_written_out');
  }
}

/** A text as it was filled in; nothing is trimmed or shortened. A value that has no text of its own is refused. */
export function textIn(z: ZObject, value: unknown, label: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  // A field of text gets line items as their texts with commas, also where Zapier leaves that to the app.
  if (Array.isArray(value) && value.every((one) => typeof one !== 'object')) return value.join(',');
  throw new z.errors.Error(`${label} must be a text. What was filled in is a group of values: choose one of them.`, 'not_a_text');
}

/** The same, of a field of the step; one that was filled in but came out empty is refused. */
export function textOf(z: ZObject, bundle: Bundle, key: string, label: string): string {
  const value = textIn(z, bundle.inputData[key], label);
  const raw = written(bundle, key);
  if (value.trim() === '' && takesAnything(raw)) throw cameOutEmpty(z, label);
  return value;
}

/** A text that names something. One of which a part came out empty would name many things. */
export function nameOf(z: ZObject, bundle: Bundle, key: string, label: string): string {
  const value = textOf(z, bundle, key, label).trim();
  if (value === '') throw new z.errors.Error(`${label} is empty. Fill in a text that is different for each thing to approve.`, 'no_key');
  const raw = written(bundle, key);
  // A long text can only be matched slowly, and is no separator with nothing around it.
  if (typeof raw === 'string' && PLACE.test(raw) && value.length <= 512) {
    const [first = '', ...rest] = raw.trim().split(PLACES).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/gu, '\\$&'));
    const whole = new RegExp(`^${first}${rest.map((part) => `\\s*\\S[\\s\\S]*?${part}`).join('')}$`, 'u');
    if (!whole.test(value)) throw cameOutEmpty(z, `A part of ${label}`);
  }
  if (/[\p{L}\p{N}]/u.test(value) && /^[-_:/=]|[-_:/#=]$/u.test(value)) {
    throw new z.errors.Error(`${label} is "${value}": a part of it seems to be empty, so that it would be the same for many things. Fill in a text that is different for each.`, 'no_key');
  }
  return value;
}

function cameOutEmpty(z: ZObject, label: string): Error {
  return new z.errors.Error(`${label} came out empty: the step that it is taken from gave nothing. Nothing was asked.`, 'came_out_empty');
}

/** Names and values of a field that takes pairs. A row that was left empty is no pair. */
export function pairsOf(z: ZObject, bundle: Bundle, key: string, label: string): [name: string, value: unknown][] {
  const value = bundle.inputData[key];
  const raw = written(bundle, key);
  if (value === undefined || value === null || value === '') {
    if (takesAnything(raw)) throw cameOutEmpty(z, label);
    return [];
  }
  if (!isRecord(value)) throw new z.errors.Error(`${label} must be pairs of a name and a value.`, 'bad_details');
  const pairs = Object.entries(value).filter(([name, one]) => name.trim() !== '' || !isBlank(one));
  if (pairs.some(([name]) => name.trim() === '')) {
    throw new z.errors.Error(`${label} has a value without a name. Give it one.`, 'bad_details');
  }
  const names = pairs.map(([name]) => name.trim());
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new z.errors.Error(`"${twice}" is twice in ${label}. Keep one of them.`, 'bad_details');
  const lost = isRecord(raw) ? Object.keys(raw).find((name) => takesAnything(raw[name]) && !PLACE.test(name) && !(name in value)) : undefined;
  if (lost !== undefined) throw cameOutEmpty(z, `"${lost}" in ${label}`);
  return pairs;
}

/** Whether there is nothing to read. */
export function isBlank(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'string' && value.trim() === '');
}
