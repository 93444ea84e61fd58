// Draws the steps as the app defines them: `docs/*.svg`, made from definition.json and the example of the README.
//
//   node scripts/pictures.js docs
//
// A test compares the files with what this script draws, so no picture shows a field that is not there.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { README, workedZap } from './readme.js';

const WIDTH = 640;
const MARGIN = 24;
const INNER = WIDTH - 2 * MARGIN;

const escaped = (text) => String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
/** Help texts are Markdown: `code` and [words](link) become their words. */
const unmarked = (text) => text.replaceAll(/`([^`]*)`/gu, '$1').replaceAll(/\[([^\]]+)\]\([^)]*\)/gu, '$1');

/** Lines of at most that many characters. */
function wrapped(text, width) {
  const lines = [''];
  for (const word of unmarked(text).split(' ')) {
    const last = lines[lines.length - 1];
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`;
  }
  return lines;
}

/** A value as the editor shows it: what comes from another step is a pill of its own. */
function valueText(value, x, y, style) {
  const parts = String(value).split(/(\{\{[^}]+\}\})/u).filter((part) => part !== '');
  const spans = parts.map((part) => (part.startsWith('{{') ? `<tspan class="p">${escaped(part.slice(2, -2))}</tspan>` : escaped(part)));
  return `<text x="${x}" y="${y}" class="${style}">${spans.join('')}</text>`;
}

const box = (x, y, width, height = 30) => `<rect x="${x}" y="${y}" width="${width}" height="${height}" class="b"/>`;

/** One field: its SVG, and the height that it takes. */
function field(definition, filledIn, y) {
  const { label, required, helpText, placeholder, choices, dict, children } = definition;
  const parts = [`<text x="${MARGIN}" y="${y + 14}" class="l">${escaped(label)}${required ? ' <tspan class="r">*</tspan>' : ''}</text>`];
  let height = 22;
  if (children !== undefined) {
    const width = (INNER - 8 * (children.length - 1)) / children.length;
    children.forEach((child, index) => {
      const x = MARGIN + index * (width + 8);
      parts.push(box(x, y + height, width), `<text x="${x + 10}" y="${y + height + 20}" class="g">${escaped(child.label)}</text>`);
    });
    height += 36;
  } else if (dict === true) {
    const rows = Object.entries(filledIn ?? {});
    for (const [name, value] of rows.length > 0 ? rows : [[undefined, undefined]]) {
      parts.push(box(MARGIN, y + height, 180), box(MARGIN + 188, y + height, INNER - 188));
      parts.push(name === undefined ? `<text x="${MARGIN + 10}" y="${y + height + 20}" class="g">name</text><text x="${MARGIN + 198}" y="${y + height + 20}" class="g">value</text>`
        : valueText(name, MARGIN + 10, y + height + 20, 'v') + valueText(value, MARGIN + 198, y + height + 20, 'v'));
      height += 36;
    }
  } else {
    const chosen = choices?.find(({ value, label: words }) => value === definition.default && filledIn === undefined || words === filledIn);
    parts.push(box(MARGIN, y + height, INNER));
    if (choices !== undefined) parts.push(valueText(chosen?.label ?? '', MARGIN + 10, y + height + 20, 'v'), `<text x="${WIDTH - MARGIN - 20}" y="${y + height + 20}" class="g">▾</text>`);
    else if (definition.type === 'password') parts.push(`<text x="${MARGIN + 10}" y="${y + height + 20}" class="v">••••••••••••••••</text>`);
    else if (filledIn !== undefined) parts.push(valueText(filledIn, MARGIN + 10, y + height + 20, 'v'));
    else if (placeholder !== undefined) parts.push(valueText(placeholder, MARGIN + 10, y + height + 20, 'g'));
    height += 36;
  }
  const help = helpText ?? (children ?? []).map((child) => `${child.label}: ${child.helpText}`).join(' ');
  for (const line of wrapped(help, 102)) {
    parts.push(`<text x="${MARGIN}" y="${y + height + 10}" class="h">${escaped(line)}</text>`);
    height += 16;
  }
  return { svg: parts.join('\n'), height: height + 16 };
}

function frame(title, about, body, height) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>
text{font-family:'DejaVu Sans',Verdana,Arial,sans-serif;fill:#1f2430}
.t{font-size:17px;font-weight:bold}.a{font-size:11.5px;fill:#4b5262}.l{font-size:13px;font-weight:bold}.h{font-size:10.5px;fill:#5b6272}
.v{font-size:12.5px}.g{font-size:12.5px;fill:#8b91a0}.p{fill:#4a2fc4;font-weight:bold}.r{fill:#c0281c}.b{fill:#fff;stroke:#b9bfcc;rx:5px}
</style>
<rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10" fill="#f7f8fb" stroke="#d5d9e2"/>
<text x="${MARGIN}" y="36" class="t">${escaped(title)}</text>
${about.map((line, index) => `<text x="${MARGIN}" y="${58 + index * 16}" class="a">${escaped(line)}</text>`).join('\n')}
${body}
</svg>
`;
}

/** A step, or the connection, with all of its fields. */
function form(title, description, fields, filledIn) {
  const about = wrapped(description, 94);
  let y = 74 + about.length * 16;
  const drawn = [];
  for (const one of fields) {
    const { svg, height } = field(one, filledIn[one.label], y);
    drawn.push(svg);
    y += height;
  }
  return frame(title, about, drawn.join('\n'), y + 8);
}

/** Every picture: file name → SVG text. */
export function pictures(definition, readme) {
  const zap = workedZap(readme);
  const step = ({ display, operation }) => form(`Placet: ${display.label}`, display.description, operation.inputFields, zap[display.label] ?? {});
  const { request_approval: request, redeem_decision_token: redeem } = definition.creates;
  return {
    'connection.svg': form('Connect Placet', 'The connection of a builder to a gate. The developer hands over the three values; the secret is shown as dots.', definition.authentication.fields, {}),
    'request-approval.svg': step(request),
    'redeem-decision-token.svg': step(redeem),
  };
}

export const DEFINITION = JSON.parse(readFileSync(new URL('../definition.json', import.meta.url), 'utf8'));

const [, script = '', folder] = process.argv;
if (script.endsWith('pictures.js') && folder !== undefined) {
  mkdirSync(folder, { recursive: true });
  for (const [name, svg] of Object.entries(pictures(DEFINITION, README))) writeFileSync(join(folder, name), svg);
}
