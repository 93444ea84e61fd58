// The publishing rules of Zapier that can be decided without asking Zapier.

import type { Json } from './gate.js';

interface Field {
  key: string;
  label?: string;
  helpText?: string;
  type?: string;
  required?: boolean;
  dynamic?: string;
  search?: string;
  default?: string;
  choices?: { value: string; label: string }[];
  children?: Field[];
}

/** Words that stay small inside of a title. */
const SMALL = new Set(['a', 'an', 'and', 'as', 'at', 'by', 'for', 'in', 'of', 'on', 'or', 'the', 'to', 'with']);

/** Every breach of a rule, one sentence each. `app` is the definition with its functions. */
export function faults(app: Json): string[] {
  const steps = ['triggers', 'searches', 'creates'].flatMap((kind) => Object.values(app[kind] as Record<string, Json>).map((step) => ({ kind, step })));
  const labels = steps.map(({ step }) => String(step.display.label));
  return [
    ...labels.filter((label, index) => labels.indexOf(label) !== index).map((label) => `${label}: two steps have this label`),
    ...steps.flatMap(({ kind, step }) => [...stepFaults(kind, step), ...stepFields(step).flatMap((field) => referenceFaults(app, step.key, field))]),
    ...authenticationFaults(app.authentication),
  ];
}

function stepFields(step: Json): Field[] {
  return (step.operation.inputFields ?? []) as Field[];
}

function stepFaults(kind: string, { key, noun, display, operation }: Json): string[] {
  const { label, description } = display as { label: string; description: string };
  const say = (isFault: boolean, words: string) => (isFault ? [`${key}: ${words}`] : []);
  const outputs = operation.outputFields as { key: string; label?: string }[];
  return [
    ...say(!/^[a-z]+(_[a-z]+)*$/u.test(key), 'the key is not in snake_case'),
    ...say(!isTitle(label), `the label "${label}" is not in title case`),
    ...say(!isTitle(noun), `the noun "${noun}" is not in title case`),
    ...say(/zapier|placet/iu.test(`${label} ${noun}`), 'a name says Zapier, or repeats the name of the app'),
    ...say(!/\.$/u.test(description) || description.length > 200, 'the description is not one short text with a full stop'),
    ...say(/zapier/iu.test(description), 'the description says Zapier'),
    ...say(kind === 'triggers' && !/^Triggers when /u.test(description), 'the description does not begin with "Triggers when"'),
    ...say(kind !== 'triggers' && !/^[A-Z][a-z]+s( up)? /u.test(description), 'the description does not begin with what the step does'),
    ...say(operation.type === 'hook' && ['perform', 'performList', 'performSubscribe', 'performUnsubscribe'].some((name) => typeof operation[name] !== 'function'),
      'a hook needs perform, performList, performSubscribe and performUnsubscribe'),
    ...say(Object.keys(operation.sample ?? {}).length === 0, 'there is no sample'),
    ...outputs.flatMap((field) => say(!isTitle(field.label ?? ''), `the output "${field.key}" has no label in title case`)),
    ...outputs.flatMap((field) => say(!((field.key.split('[]')[0] ?? '') in operation.sample), `the output "${field.key}" is not in the sample`)),
    ...say(new Set(outputs.map(({ label: name }) => name)).size !== outputs.length, 'two outputs have one label'),
    ...stepFields({ operation }).flatMap((field) => fieldFaults(key, field)),
  ];
}

function fieldFaults(owner: string, { key, label = '', helpText = '', required, choices, children, default: preset }: Field): string[] {
  const say = (isFault: boolean, words: string) => (isFault ? [`${owner}.${key}: ${words}`] : []);
  return [
    ...say(!isTitle(label), `the label "${label}" is not in title case`),
    ...say(/\bid$/iu.test(label), 'the label ends in ID: say what it is'),
    ...say(required === undefined, 'it is not said whether it is required'),
    // The platform ignores the help text of a group, so its fields must say what it is.
    ...say(children === undefined && (!/[.:]$/u.test(helpText.trim()) || helpText.length < 20), 'the help text is not a sentence'),
    ...(children ?? []).flatMap((child) => fieldFaults(`${owner}.${key}`, child)),
    ...say(helpText.length > 400, 'the help text is too long to be read'),
    ...say(/https?:\/\/\w/u.test(helpText.replace(/\[[^\]]+\]\(https:\/\/[^)\s]+\)/gu, '')), 'a link in the help text is not written as [words](https://…)'),
    ...say(/<[a-z]/iu.test(helpText), 'the help text holds HTML'),
    ...say(choices !== undefined && !choices.some(({ value }) => value === preset), 'the default is not one of the choices'),
    ...say((choices ?? []).some((choice) => choice.label === choice.value), 'a choice has no words of its own'),
  ];
}

/** Drop-downs and searches must lead to something that is there. */
function referenceFaults(app: Json, owner: string, { key, dynamic, search }: Field): string[] {
  const [trigger = '', ...parts] = dynamic?.split('.') ?? [];
  const source = app.triggers[trigger];
  const [searchKey = '', searched = ''] = search?.split('.') ?? [];
  const broken = dynamic !== undefined && (source?.display.hidden !== true || parts.some((part) => !(part in source.operation.sample)));
  const lost = search !== undefined && !(searched in (app.searches[searchKey]?.operation.sample ?? {}));
  return [
    ...(broken ? [`${owner}.${key}: the drop-down has no hidden trigger with these fields`] : []),
    ...(lost ? [`${owner}.${key}: the search does not find this field`] : []),
  ];
}

function authenticationFaults({ fields, test, connectionLabel }: Json): string[] {
  return [
    ...(typeof test === 'function' ? [] : ['authentication: there is no test']),
    ...(typeof connectionLabel === 'function' ? [] : ['authentication: connections have no label']),
    ...(fields as Field[]).flatMap((field) => fieldFaults('authentication', field)),
    ...(fields as Field[]).filter(({ key, type }) => /secret|password|token/u.test(key) && type !== 'password').map(({ key }) => `authentication.${key}: it is shown while it is typed`),
  ];
}

/** Title case: every word but the small ones has a capital, and the first one always. */
function isTitle(label: string): boolean {
  const words = label.split(' ');
  return label !== '' && words.every((word, index) => (index > 0 && SMALL.has(word)) || /^[A-Z][A-Za-z]*$/u.test(word));
}
