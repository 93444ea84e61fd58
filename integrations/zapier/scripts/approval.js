// Writes `src/approval_contract.ts`: the shape of an approval, as the gate's OpenAPI document says it.
//
//   node scripts/approval.js ../../crates/http/openapi.json src/approval_contract.ts
//
// A test compares the file with what this script makes of the document, so the app and the gate cannot drift apart.

import { readFileSync, writeFileSync } from 'node:fs';

/**
 * These are not part of the shape that every answer has: they come in the answer to a new request, or where a reviewer has
 * changed what was asked. A Zap does what it asked for or nothing, so a changed approval does not pass its own check.
 */
const ONLY_IN_ANSWERS = /^(?:pending_|payload$|changes$)/u;

/** What a property holds, in the words of this app. */
function kindOf(name, schema) {
  if (schema.$ref?.endsWith('/Status')) return { kind: 'status', nullable: false };
  const types = [schema.type ?? []].flat();
  const nullable = types.includes('null') || (schema.oneOf ?? []).some((one) => one.type === 'null');
  const [type, ...more] = types.filter((one) => one !== 'null');
  const items = schema.items ?? {};
  if (more.length === 0) {
    if (type === 'string') return { kind: schema.format === 'date-time' ? 'datetime' : 'string', nullable };
    if (type === 'boolean' || type === 'integer') return { kind: type, nullable };
    if (type === 'array' && items.type === 'string') return { kind: 'strings', nullable };
    if (type === 'array' && items.$ref?.endsWith('/VoteView')) return { kind: 'votes', nullable };
    if (type === 'object' && schema.additionalProperties?.type === 'string') return { kind: 'labels', nullable };
    if (type === 'object' || (schema.oneOf ?? []).some((one) => one.$ref !== undefined)) return { kind: 'object', nullable };
  }
  throw new Error(`${name}: this script does not know how the app should show ${JSON.stringify(schema)}`);
}

const TYPES = {
  status: 'Status', string: 'string', datetime: 'string', boolean: 'boolean', integer: 'number', strings: 'string[]',
  votes: 'Vote[]', labels: 'Record<string, string>', object: 'Record<string, unknown>',
};

function propertiesOf(schema) {
  return Object.entries(schema.properties)
    .filter(([name]) => !ONLY_IN_ANSWERS.test(name))
    .map(([name, property]) => ({ name, ...kindOf(name, property), description: (property.description ?? '').replaceAll(/\s+/gu, ' ') }));
}

const interfaceOf = (name, description, properties) => [
  `/** ${description} */`,
  `export interface ${name} {`,
  ...properties.flatMap(({ name: key, kind, nullable, description: words }) => [
    ...(words === '' ? [] : [`  /** ${words.replaceAll('*/', '')} */`]),
    `  ${key}: ${TYPES[kind]}${nullable ? ' | null' : ''};`,
  ]),
  '}',
];

const listOf = (name, properties) => [
  `export const ${name}: readonly Property[] = [`,
  ...properties.map(({ name: key, kind, nullable }) => `  { name: '${key}', kind: '${kind}', nullable: ${nullable} },`),
  '];',
];

/** The text of `src/approval_contract.ts` for an OpenAPI document. */
export function contractFrom(document) {
  const { Approval, VoteView, Status } = document.components.schemas;
  const [approval, vote] = [propertiesOf(Approval), propertiesOf(VoteView)];
  return [
    '// Made by scripts/approval.js from crates/http/openapi.json (`npm run approval`). Do not change it by hand.',
    '',
    `export const STATUSES = [${Status.enum.map((one) => `'${one}'`).join(', ')}] as const;`,
    '',
    '/** How a request stands. */',
    'export type Status = (typeof STATUSES)[number];',
    '',
    ...interfaceOf('Vote', 'One reviewer\'s word.', vote),
    '',
    ...interfaceOf('Approval', 'What the gate answers. A property that may be missing in its JSON is null here.', approval),
    '',
    '/** A property, and what it holds. */',
    'export interface Property {',
    '  name: string;',
    `  kind: ${Object.keys(TYPES).map((one) => `'${one}'`).join(' | ')};`,
    '  nullable: boolean;',
    '}',
    '',
    ...listOf('APPROVAL_PROPERTIES', approval),
    '',
    ...listOf('VOTE_PROPERTIES', vote),
    '',
  ].join('\n');
}

const [, script, document, target] = process.argv;
if (script !== undefined && import.meta.url.endsWith('/scripts/approval.js') && script.endsWith('approval.js')) {
  writeFileSync(target, contractFrom(JSON.parse(readFileSync(document, 'utf8'))));
}
