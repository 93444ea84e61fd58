// A real gate of its own for a test file, its reviewers, and a web server that the gate calls back.
// It makes no assertion; what must hold is said in the tests.

import { spawnSync } from 'node:child_process';
import { createHash, createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type * as Testgate from '../../../tests/testgate/testgate.js';

// What is compiled lies one folder deeper than this.
const { BINARY, TestGate, clean, policy, until } = (await import(
  new URL('../../../../tests/testgate/testgate.js', import.meta.url).href
)) as typeof Testgate;

export { until };

const OWN = `
[[clients]]
id = "zapier"
roles = ["requester"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "slow"
roles = ["requester"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 1

[[rules]]
name = "never"
when = 'action == "data.delete"'
decide = "reject"

[[rules]]
name = "short wait"
when = 'action.startsWith("short.")'
stages = [{ ask = ["finance"], within = "1s" }]

[[rules]]
name = "short approval"
when = 'action.startsWith("brief.")'
stages = [{ ask = ["finance"], within = "20d" }]
valid_for = "1s"

[[rules]]
name = "people"
when = 'true'
stages = [{ ask = ["finance"], within = "30d" }]
`;

/** What the gate answers; tests look at its fields. */
export type Json = any;

export class Gate {
  private constructor(private readonly gate: Testgate.TestGate) {}

  static async start(text = policy(OWN)): Promise<Gate> {
    const data = mkdtempSync(join(tmpdir(), 'placet-zapier-'));
    try {
      return new Gate(await TestGate.start({ text, data }));
    } catch (error) {
      rmSync(data, { recursive: true, force: true });
      throw error;
    }
  }

  get origin(): string {
    return this.gate.url;
  }

  /** Ends the process, as a crash or a deployment would; the data stays. */
  async halt(): Promise<void> {
    await this.gate.stop();
  }

  /** Serves again, at the same address. */
  async resume(): Promise<void> {
    await this.gate.restart();
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.gate.data, { recursive: true, force: true });
  }

  /** A client's secret, as the operator pastes it. */
  secret(client: string): string {
    return this.gate.secret(client);
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

  /** Rotates the keys, though what was made before the last rotation may still be open. */
  async rotate(): Promise<void> {
    await this.gate.ask('rotate');
  }

  async state(requestId: string, client = 'zapier'): Promise<Json> {
    return (await this.call(client, 'GET', `/v1/requests/${requestId}`)).body;
  }

  async requests(client = 'zapier'): Promise<Json[]> {
    return (await this.call(client, 'GET', '/v1/requests?limit=100')).body.requests;
  }

  /** The letters that Bob got about an approval. */
  letters(approvalId: string): Testgate.Message[] {
    return this.gate.told('notified', { approval_id: approvalId, reviewer: 'bob' });
  }

  /** The page behind Bob's link. */
  async page(approvalId: string): Promise<{ link: string; html: string }> {
    const link = await this.gate.link(approvalId);
    return { link, html: await (await fetch(link)).text() };
  }

  /** Bob opens his link and presses a button. The answer is the approval as its asker sees it, with the token. */
  async decide(approvalId: string, decision: 'approve' | 'reject', reason = ''): Promise<Json> {
    const response = await this.gate.vote(approvalId, decision, 'bob', reason);
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
    const run = spawnSync(BINARY, ['init'], { cwd: folder, env: clean(), encoding: 'utf8' });
    if (run.status !== 0) throw new Error(run.stderr);
    return readFileSync(join(folder, 'placet.toml'), 'utf8');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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
