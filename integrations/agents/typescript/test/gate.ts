/** A real gate for the tests, and its reviewer. */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Placet, type Approval, type PlacetOptions } from 'placet';

export const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
export const BINARY = process.env['PLACET'] ?? join(ROOT, 'target/debug/placet');
export const ISSUER = 'https://gate.example.test';

const POLICY = `issuer = "${ISSUER}"
${['agent', 'other', 'signed', 'mcp']
  .map((id) => `[[clients]]\nid = "${id}"\nroles = ["requester"]\nrate_per_minute = 60000\n${extras(id)}`)
  .join('\n')}
[[reviewers]]
id = "alice"
name = "Alice"
roles = ["finance"]
[[reviewers]]
id = "bob"
name = "Bob"
roles = ["finance"]
[[rules]]
name = "auto yes"
when = 'action.startsWith("auto.")'
decide = "approve"
[[rules]]
name = "auto brief"
when = 'action == "brief.do"'
decide = "approve"
valid_for = "1s"
[[rules]]
name = "auto no"
when = 'action.startsWith("never.")'
decide = "reject"
[[rules]]
name = "people"
when = 'true'
stages = [{ ask = ["finance"], within = "1h" }]
`;

function extras(id: string): string {
  return { agent: 'token = "HS256"\nowner = "alice"', other: 'token = "HS256"', signed: 'token = "EdDSA"', mcp: 'token = "HS256"\nbearer = true' }[id] ?? '';
}

export class Gate {
  readonly folder = mkdtempSync(join(tmpdir(), 'placet-ts-'));
  readonly data = join(this.folder, 'data');
  url = '';
  #process: ChildProcess | undefined;
  readonly #taken = new Set<string>();

  static async start(): Promise<Gate> {
    const gate = new Gate();
    writeFileSync(join(gate.folder, 'placet.toml'), POLICY);
    await gate.#serve(0);
    return gate;
  }

  /** Ends the gate and, a second later, starts it again at the same address. */
  async restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#process;
    const ended = new Promise((resolve) => child?.on('exit', resolve));
    child?.kill(signal);
    await ended;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await this.#serve(Number(new URL(this.url).port));
  }

  async #serve(port: number): Promise<void> {
    const child = spawn(BINARY, ['serve', '--data', this.data, '--policy', join(this.folder, 'placet.toml'), '--listen', `127.0.0.1:${port}`], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: clean(),
    });
    this.#process = child;
    this.url = await new Promise<string>((resolve, reject) => {
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString();
        const ready = /^ready (http:\S+)/m.exec(out);
        if (ready?.[1]) resolve(ready[1]);
      });
      child.on('exit', (code) => reject(new Error(`the gate ended with ${code}: ${out}`)));
      child.on('error', reject);
    });
  }

  stop(): void {
    this.#process?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  secret(client: string): string {
    const printed = execFileSync(BINARY, ['client', 'secret', client, '--data', this.data], { env: clean() });
    return printed.toString().trim().split('\n').at(-1) ?? '';
  }

  client(id = 'agent', options: Partial<PlacetOptions> = {}): Placet {
    const algorithm = id === 'signed' ? 'EdDSA' : 'HS256';
    return new Placet({ url: this.url, client: id, secret: this.secret(id), algorithm, issuer: ISSUER, ...options });
  }

  /** Posts the review page's form, as a person does, once the message is there. */
  async vote(approvalId: string, decision: 'approve' | 'reject', reviewer = 'bob', reason = ''): Promise<Response> {
    const message = await until(() => this.#message(approvalId, reviewer));
    const path = new URL(message.url).pathname;
    const page = await (await fetch(this.url + path)).text();
    const nonce = /name="?nonce"? value="?([^" >]+)/.exec(page)?.[1] ?? '';
    return fetch(this.url + path, {
      method: 'POST',
      headers: { Accept: 'application/json' },
      body: new URLSearchParams({ decision, nonce, reason }),
    });
  }

  /** Answers the next requests for an action, one a decision. */
  async answers(action: string, decisions: ('approve' | 'reject')[], reviewer = 'bob', reason = ''): Promise<Approval[]> {
    const answered: Approval[] = [];
    for (const decision of decisions) {
      const id = await until(() => this.#waiting(action));
      const response = await this.vote(id, decision, reviewer, reason);
      if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
      answered.push((await response.json()) as Approval);
    }
    return answered;
  }

  /** A request for the action that no call of this has returned before. */
  #waiting(action: string): string | undefined {
    const name = this.#messages().find((one) => !this.#taken.has(idOf(one)) && this.#read(one).text.includes(action));
    if (name !== undefined) this.#taken.add(idOf(name));
    return name === undefined ? undefined : idOf(name);
  }

  #message(approvalId: string, reviewer: string): { url: string; text: string } | undefined {
    const name = this.#messages().find((one) => one.startsWith(`${approvalId}.`) && one.split('.')[2] === reviewer);
    return name === undefined ? undefined : this.#read(name);
  }

  #messages(): string[] {
    return readdirSync(join(this.data, 'outbox')).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  }

  #read(name: string): { url: string; text: string } {
    return JSON.parse(readFileSync(join(this.data, 'outbox', name), 'utf8')) as { url: string; text: string };
  }
}

function idOf(name: string): string {
  return name.split('.')[0] ?? '';
}

/** The environment without what would configure the gate or a client from outside. */
export function clean(): Record<string, string> {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('PLACET'));
  return Object.fromEntries(kept) as Record<string, string>;
}

export async function until<T>(condition: () => T | undefined, seconds = 60): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const value = condition();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new Error(`waited ${seconds} s in vain`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
