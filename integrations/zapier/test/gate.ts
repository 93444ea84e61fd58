// A real gate of its own for a test file, its reviewers, and a web server that the gate calls back.
// It makes no assertion; what must hold is said in the tests.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
const PLACET = resolve(ROOT, process.env['PLACET'] ?? 'target/debug/placet');

const POLICY = `
issuer = "https://gate.example.com"

[[clients]]
id = "zapier"
roles = ["requester"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "executor"
roles = ["requester"]
token = "EdDSA"
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "shared"
roles = ["requester"]
token = "HS256"
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "slow"
roles = ["requester"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 1

[[clients]]
id = "webhooks"
roles = ["requester"]
bearer = true
rate_per_minute = 60000

[[clients]]
id = "watcher"
roles = ["auditor"]
callback_hosts = ["127.0.0.1"]

[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
roles = ["team"]

[[rules]]
name = "small refunds"
when = 'action == "refund.create" && payload.amount <= 20'
decide = "approve"

[[rules]]
name = "never"
when = 'action == "data.delete"'
decide = "reject"

[[rules]]
name = "short wait"
when = 'action.startsWith("short.")'
stages = [{ ask = ["team"], within = "1s" }]

[[rules]]
name = "short approval"
when = 'action.startsWith("brief.")'
stages = [{ ask = ["team"], within = "20d" }]
valid_for = "1s"

[[rules]]
name = "people"
when = 'true'
stages = [{ ask = ["team"], within = "30d" }]
`;

/** Polls until `find` returns something; a folder and a remote state give no other sign of a change. */
export async function until<Found>(what: string, find: () => Found | undefined | Promise<Found | undefined>): Promise<Found> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await wait(25);
  }
}

/** What the gate answers; tests look at its fields. */
export type Json = any;

interface Letter {
  url: string;
  text: string;
  subject: string;
}

export class Gate {
  readonly #secrets = new Map<string, string>();
  #child: ChildProcess;

  private constructor(child: ChildProcess, readonly data: string, readonly policy: string, readonly origin: string) {
    this.#child = child;
  }

  static async start(rules = POLICY): Promise<Gate> {
    const data = mkdtempSync(join(tmpdir(), 'placet-zapier-'));
    const policy = join(data, 'placet.toml');
    writeFileSync(policy, rules);
    try {
      const { child, origin } = await serve(data, policy, '127.0.0.1:0');
      return new Gate(child, data, policy, origin);
    } catch (error) {
      rmSync(data, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends the process, as a crash or a deployment would; the data stays. */
  async halt(): Promise<void> {
    await end(this.#child);
  }

  /** Serves again, at the same address. */
  async resume(): Promise<void> {
    ({ child: this.#child } = await serve(this.data, this.policy, new URL(this.origin).host));
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** A client's secret, as the operator pastes it. */
  secret(client: string): string {
    const known = this.#secrets.get(client);
    if (known !== undefined) return known;
    const secret = this.operate('client', 'secret', client).trim().split('\n').at(-1) ?? '';
    this.#secrets.set(client, secret);
    return secret;
  }

  /** What one of the operator's commands prints. */
  operate(...words: string[]): string {
    const run = spawnSync(PLACET, [...words, '--data', this.data], { encoding: 'utf8' });
    if (run.status !== 0) throw new Error(run.stderr);
    return run.stdout;
  }

  /** One signed call, without the app: how tests look at the gate from the side. */
  async call(client: string, method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
    const raw = body === undefined ? '' : JSON.stringify(body);
    const timestamp = String(Math.floor(Date.now() / 1000));
    const digest = createHash('sha256').update(raw).digest('hex');
    const signed = `placet-v1\n${timestamp}\n${method}\n${path}\n${digest}`;
    const signature = createHmac('sha256', this.secret(client)).update(signed).digest('hex');
    const response = await fetch(this.origin + path, {
      method,
      body: raw === '' ? null : raw,
      headers: {
        'content-type': 'application/json',
        'x-placet-client': client,
        'x-placet-timestamp': timestamp,
        'x-signature': `v1=${signature}`,
      },
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  /** Rotates the keys, and waits until the serving gate has the new ones. */
  async rotate(): Promise<void> {
    const keys = async () => (await fetch(`${this.origin}/.well-known/jwks.json`)).text();
    const before = await keys();
    try {
      this.operate('keys', 'rotate');
    } catch {
      // Refused while something of before the last rotation is still open: here that is what is looked at.
      this.operate('keys', 'rotate', '--force');
    }
    this.#secrets.clear();
    await until('the new keys', async () => ((await keys()) === before ? undefined : true));
  }

  async state(requestId: string, client = 'zapier'): Promise<Json> {
    return (await this.call(client, 'GET', `/v1/requests/${requestId}`)).body;
  }

  async requests(client = 'zapier'): Promise<Json[]> {
    return (await this.call(client, 'GET', '/v1/requests?limit=100')).body.requests;
  }

  /** The letters that Bob got about an approval. */
  letters(approvalId: string): Letter[] {
    const folder = join(this.data, 'outbox');
    let names: string[];
    try {
      names = readdirSync(folder);
    } catch {
      return [];
    }
    return names
      .filter((name) => name.startsWith(`${approvalId}.`) && name.endsWith('.json'))
      .flatMap((name) => {
        try {
          return [JSON.parse(readFileSync(join(folder, name), 'utf8')) as Letter];
        } catch {
          return []; // it is being written
        }
      });
  }

  /** The page behind Bob's link. */
  async page(approvalId: string): Promise<{ link: string; html: string }> {
    const letter = await until('the letter to Bob', () => this.letters(approvalId)[0]);
    const link = this.origin + new URL(letter.url).pathname;
    return { link, html: await (await fetch(link)).text() };
  }

  /** Bob opens his link and presses a button. The answer is the approval as its asker sees it, with the token. */
  async decide(approvalId: string, decision: 'approve' | 'reject', reason = ''): Promise<Json> {
    const { link, html } = await this.page(approvalId);
    const nonce = /name="?nonce"? value="?([^">\s]+)/u.exec(html)?.[1];
    if (nonce === undefined) throw new Error(`no form at ${link}`);
    const response = await fetch(link, {
      method: 'POST',
      headers: { accept: 'application/json' },
      body: new URLSearchParams({ decision, nonce, reason }),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    const { client, request_id: requestId } = (await response.json()) as Json;
    return this.state(requestId, client);
  }

  /** Whether the same question from another run joins the first one, and is called back too. Older gates refuse it. */
  async joins(): Promise<boolean> {
    const requestId = `joins-${randomUUID()}`;
    const ask = (callbackUrl: string) => this.call('zapier', 'POST', '/v1/requests', {
      request_id: requestId, action: 'refund.large', summary: 'A look at the gate.', payload: { look: true }, callback_url: callbackUrl,
    });
    await ask('http://127.0.0.1:9/one');
    return (await ask('http://127.0.0.1:9/two')).status === 200;
  }
}

/** The policy that `placet init` writes. */
export function initialPolicy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'placet-zapier-'));
  try {
    const run = spawnSync(PLACET, ['init'], { cwd: folder, encoding: 'utf8' });
    if (run.status !== 0) throw new Error(run.stderr);
    return readFileSync(join(folder, 'placet.toml'), 'utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function serve(data: string, policy: string, listen: string) {
  const words = ['serve', '--data', data, '--listen', listen, '--policy', policy];
  const child = spawn(PLACET, words, { stdio: ['ignore', 'pipe', 'pipe'], cwd: data });
  let log = '';
  child.stderr.on('data', (chunk) => { log += chunk; });
  const ended = once(child, 'exit').then(() => { throw new Error(`the gate ended early:\n${log}`); });
  ended.catch(() => {});
  const ready = new Promise<string>((found) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const url = /^ready (http:\/\/\S+)/u.exec(line)?.[1];
      if (url !== undefined) found(new URL(url).origin);
    });
  });
  return { child, origin: await Promise.race([ready, ended]) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

/** What came in at the receiver. */
export interface Post {
  path: string;
  headers: IncomingHttpHeaders;
  content: string;
}

/** Stands where Zapier takes callbacks and hooks. */
export class Receiver {
  private constructor(private readonly server: Server, readonly origin: string, readonly posts: Post[]) {}

  static async start(): Promise<Receiver> {
    const posts: Post[] = [];
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        posts.push({ path: request.url ?? '', headers: request.headers, content: Buffer.concat(chunks).toString('utf8') });
        response.end('{"status":"success"}');
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Receiver(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, posts);
  }

  /** A URL as Zapier makes one for each run that waits. */
  callbackUrl(): string {
    return `${this.origin}/hooks/callback/${randomUUID()}/`;
  }

  at(url: string): Post[] {
    return this.posts.filter(({ path }) => path === new URL(url).pathname);
  }

  async waitAt(url: string): Promise<Post> {
    return until(`a post to ${url}`, () => this.at(url)[0]);
  }

  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }
}
