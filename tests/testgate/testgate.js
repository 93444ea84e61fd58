// A gate that `placet testgate` runs, steered by JSON lines (README.md), and the policy that the suites share.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export const BINARY = resolve(ROOT, process.env.PLACET ?? 'target/debug/placet');

const BASE = readFileSync(new URL('../fixtures/policy.toml', import.meta.url), 'utf8');

export class TestGate {
  #child;
  #number = 0;
  #answers = new Map();
  #told = new Map();
  #log = '';

  // `text` is installed at the start; `data` and `listen` are those of an earlier gate that goes on.
  static async start({ text, data, listen } = {}) {
    const gate = new TestGate();
    await gate.#start(text, data, listen);
    return gate;
  }

  // The same gate once more after `stop` or `kill`, if its folder was named: what it had told before is kept.
  async restart() {
    await this.#start(undefined, this.data, new URL(this.url).host);
  }

  async #start(text, data, listen) {
    const words = [
      'testgate',
      ...option('--data', data),
      ...option('--listen', listen),
      ...option('--policy', text && '-'),
    ];
    const child = spawn(BINARY, words, { env: clean() });
    this.#child = child;
    child.stderr.on('data', (chunk) => {
      this.#log += chunk;
    });
    child.stdin.on('error', () => {}); // it has died: whoever waits for an answer is told
    if (text) child.stdin.write(`${JSON.stringify({ do: 'policy', text })}\n`);
    const ready = new Promise((found, failed) => {
      createInterface({ input: child.stdout })
        .on('line', (line) => this.#heard(JSON.parse(line), found, failed))
        .on('close', () => this.#ended(failed));
      child.on('error', failed);
    });
    Object.assign(this, await ready);
  }

  #heard(said, found, failed) {
    if (said.event === 'ready') found({ url: said.url, data: said.data, pid: said.pid, secrets: said.secrets });
    else if (said.event === 'failed') failed(new Error(said.message));
    else if (said.event === undefined) this.#answers.get(said.id)?.found(said);
    else this.#told.set(said.message_id ?? Symbol(said.event), said);
  }

  #ended(failed) {
    const error = new Error(`the gate has ended:\n${this.#log}`);
    failed(error);
    for (const answer of this.#answers.values()) answer.failed(error);
  }

  // The answer to a command.
  async ask(command, fields = {}) {
    const id = ++this.#number;
    const answer = await new Promise((found, failed) => {
      this.#answers.set(id, { found, failed });
      this.#child.stdin.write(`${JSON.stringify({ id, do: command, ...fields })}\n`);
    }).finally(() => this.#answers.delete(id));
    if (answer.error) throw new Error(`${command}: ${answer.error.message}`);
    if (answer.secrets) this.secrets = answer.secrets;
    return answer;
  }

  // A client's secret in the current epoch.
  secret(client) {
    const secret = this.secrets[client];
    if (secret === undefined) throw new Error(`no client ${client} is in the policy`);
    return secret;
  }

  // What was told so far of that kind and with those fields: `notified`, `queued`, `alert`.
  told(event, fields = {}) {
    const wanted = Object.entries({ event, ...fields });
    return [...this.#told.values()].filter((said) => wanted.every(([name, value]) => said[name] === value));
  }

  // The message to a reviewer about an approval.
  async message(approvalId, reviewer = 'bob') {
    const fields = { approval_id: approvalId, reviewer };
    return until(`the message to ${reviewer}`, () => this.told('notified', fields)[0]);
  }

  // A reviewer's own link, on the address that this gate listens at.
  async link(approvalId, reviewer = 'bob') {
    return this.here((await this.message(approvalId, reviewer)).url);
  }

  // That URL, on the address that this gate listens at.
  here(url) {
    return this.url + new URL(url).pathname;
  }

  // Posts the review page's form, as a person does.
  async vote(approvalId, decision, reviewer = 'bob', reason = '') {
    const link = await this.link(approvalId, reviewer);
    const page = await (await fetch(link)).text();
    const nonce = /name="?nonce"? value="?([^" >]+)/u.exec(page)?.[1] ?? '';
    const body = new URLSearchParams({ decision, nonce, reason });
    return fetch(link, { method: 'POST', headers: { accept: 'application/json' }, body });
  }

  // Ends it cleanly.
  async stop() {
    await this.#end(() => this.#child.stdin.end());
  }

  // kill -9, by process id.
  async kill() {
    await this.#end(() => this.#child.kill('SIGKILL'));
  }

  async #end(how) {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    how();
    await gone;
  }
}

// The shared policy with a suite's own tables; those of the same id or name take the place of the shared ones.
export function policy(own = '') {
  const [head, ...shared] = tables(BASE);
  const [ownHead, ...added] = tables(own);
  const replaced = new Map(added.map((table) => [key(table), table]));
  const kept = shared.map((table) => {
    const found = replaced.get(key(table)) ?? table;
    replaced.delete(key(table));
    return found;
  });
  return [head, ownHead, ...replaced.values(), ...kept].join('');
}

// What is before the first table, and each table. `split` by a lookahead leaves the brackets where they are.
function tables(text) {
  const parts = text.split(/^(?=\[\[)/mu).map((part) => (part.trim() ? `${part.trimEnd()}\n\n` : ''));
  return parts[0]?.startsWith('[[') ? ['', ...parts] : parts;
}

function key(table) {
  const [, kind, name] = /^\[\[(\w+)\]\]\s+(?:id|name) = "([^"]*)"/u.exec(table);
  return `${kind} ${name}`;
}

function option(name, value) {
  return value ? [name, value] : [];
}

// The environment without what would configure the gate or a client from outside.
export function clean() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PLACET')));
}

// Polls until `find` returns something other than undefined.
export async function until(what, find, seconds = 60) {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s in vain for ${what}`);
    await wait(20);
  }
}
