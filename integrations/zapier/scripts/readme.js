// The examples of README.md, as the tests run them and as the pictures show them.

import { readFileSync } from 'node:fs';

/** The text of one section: from its heading to the next one of the same rank. */
export function section(readme, heading) {
  const rank = /^#+/u.exec(heading)[0];
  const start = readme.indexOf(`\n${heading}\n`);
  if (start === -1) throw new Error(`README.md has no section "${heading}"`);
  const rest = readme.slice(start + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${rank.length}} `, 'mu'));
  return end === -1 ? rest : rest.slice(0, end);
}

/** The blocks of a language in a text, in order. */
export function blocks(text, language) {
  return [...text.matchAll(new RegExp(`^ *\`\`\`${language}\\n([\\s\\S]+?)^ *\`\`\``, 'gmu'))].map(([, block]) => block.replaceAll(/^ {3}/gmu, ''));
}

/**
 * What the examples fill in: step label → field label → what the builder writes there. Pairs are objects. A value of an
 * earlier step is written as `{{1. Order}}`.
 */
export function workedZap(readme) {
  const steps = {};
  for (const [, label, table] of section(readme, '## Build a Zap').matchAll(/^(?:\d+\. )?\*\*Placet: ([^*]+)\*\*[\s\S]*?\n((?: *\|.*\n)+)/gmu)) {
    const rows = [...table.matchAll(/^ *\| \*([^*]+)\* \| (.+) \|$/gmu)];
    steps[label] = Object.fromEntries(rows.map(([, field, cell]) => {
      const pairs = [...cell.matchAll(/`([^`]+)` = `([^`]+)`/gu)].map(([, name, value]) => [name, value]);
      return [field, pairs.length > 0 ? Object.fromEntries(pairs) : /`([^`]+)`|(.+)/u.exec(cell).slice(1).find((one) => one !== undefined)];
    }));
  }
  return steps;
}

export const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
