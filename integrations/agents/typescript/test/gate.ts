/** A real gate for the tests, and its reviewer. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Placet, type Approval, type PlacetOptions } from 'placet';

import { TestGate, policy, until as poll } from '../../../../tests/testgate/testgate.js';

export { BINARY, clean } from '../../../../tests/testgate/testgate.js';

export const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
export const ISSUER = 'https://gate.example.test';

const OWN = `
[[clients]]
id = "signed"
roles = ["requester"]
token = "EdDSA"
rate_per_minute = 60000

[[clients]]
id = "mcp"
roles = ["requester"]
token = "HS256"
bearer = true
rate_per_minute = 60000

[[clients]]
id = "mcp2"
roles = ["requester"]
bearer = true

[[reviewers]]
id = "alice"
name = "Alice"
roles = ["finance"]
`;

export class Gate {
  readonly folder: string;
  readonly #gate: TestGate;
  readonly #taken = new Set<string>();

  private constructor(folder: string, gate: TestGate) {
    this.folder = folder;
    this.#gate = gate;
  }

  static async start(): Promise<Gate> {
    const folder = mkdtempSync(join(tmpdir(), 'placet-ts-'));
    return new Gate(folder, await TestGate.start({ text: policy(OWN), data: join(folder, 'data') }));
  }

  get url(): string {
    return this.#gate.url;
  }

  get data(): string {
    return this.#gate.data;
  }

  /** Ends the gate and, a second later, starts it again at the same address. */
  async restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await (signal === 'SIGKILL' ? this.#gate.kill() : this.#gate.stop());
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await this.#gate.restart();
  }

  async stop(): Promise<void> {
    await this.#gate.kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  secret(client: string): string {
    return this.#gate.secret(client);
  }

  client(id = 'agent', options: Partial<PlacetOptions> = {}): Placet {
    const algorithm = id === 'signed' ? 'EdDSA' : 'HS256';
    return new Placet({ url: this.url, client: id, secret: this.secret(id), algorithm, issuer: ISSUER, ...options });
  }

  /** Posts the review page's form, as a person does, once the message is there. */
  async vote(approvalId: string, decision: 'approve' | 'reject', reviewer = 'bob', reason = ''): Promise<Response> {
    return this.#gate.vote(approvalId, decision, reviewer, reason);
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

  /** The approval that a new request for an action asks for, once its reviewer was told. */
  asked(action: string): Promise<string> {
    return until(() => this.#waiting(action));
  }

  /** A request for the action that no call of this has returned before. */
  #waiting(action: string): string | undefined {
    // The gate writes dots of what looks like an address as `[.]`, so that no program makes a link of it.
    const names = (text: string) => text.replaceAll('[.]', '.').includes(action);
    const found = this.#gate.told('notified').find((one) => !this.#taken.has(one.approval_id) && names(one.text));
    if (found !== undefined) this.#taken.add(found.approval_id);
    return found?.approval_id;
  }
}

export async function until<T>(condition: () => T | undefined, seconds = 60): Promise<T> {
  return poll('the condition', condition, seconds);
}
