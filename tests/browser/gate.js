// A real gate of its own for a test file: starts it, asks as an agent would, and finds the reviewers' links.
// It makes no assertion; what a page must show is said in the tests.

import { spawn, spawnSync } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

const PLACET = process.env.PLACET;
const CLIENT = 'agent';

const POLICY = `
issuer = "https://gate.example.com"

[[clients]]
id = "agent"
roles = ["requester"]
owner = "olive"
rate_per_minute = 6000

[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
roles = ["team"]

[[reviewers]]
id = "carol"
name = "Carol"
email = "carol@example.com"
roles = ["team"]

[[reviewers]]
id = "olive"
name = "Olive"
email = "olive@example.com"
roles = ["team"]

[[reviewers]]
id = "dora"
name = "Dora"
email = "dora@example.com"
roles = ["second"]

[[reviewers]]
id = "mia"
name = "Mia"
email = "mia@example.com"
phone = "+15550100"
roles = ["reachable"]

[[reviewers]]
id = "sven"
name = "Sven"
slack = "U012AB3CD"
roles = ["reachable"]

[[rules]]
name = "every channel"
when = '"every_channel" in metadata'
stages = [{ ask = ["reachable"], within = "10m" }]

[[rules]]
name = "two people"
when = 'action.startsWith("two.")'
approvals = 2
stages = [{ ask = ["team"], within = "10m" }]

[[rules]]
name = "short first stage"
when = 'action.startsWith("short.")'
stages = [{ ask = ["team"], within = "2s" }, { ask = ["second"], within = "10m" }]

[[rules]]
name = "one person"
when = 'true'
stages = [{ ask = ["team"], within = "10m" }]
`;

// Polls until `find` returns something other than undefined; the tests have no other way to see a folder change.
export async function until(what, find) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await wait(25);
  }
}

export async function startGate() {
  if (!PLACET) throw new Error('PLACET must name the placet binary');
  const data = mkdtempSync(join(tmpdir(), 'placet-browser-'));
  const policy = join(data, 'placet.toml');
  writeFileSync(policy, POLICY);
  const child = spawn(PLACET, ['serve', '--policy', policy, '--data', data, '--listen', '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk) => {
    log += chunk;
  });
  const ended = once(child, 'exit').then(() => {
    throw new Error(`the gate ended early:\n${log}`);
  });
  ended.catch(() => {});
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise((resolve) => {
    lines.on('line', (line) => {
      const url = /^ready (http:\/\/\S+)/.exec(line)?.[1];
      if (url) resolve(new URL(url).origin);
    });
  });
  const origin = await Promise.race([ready, ended]);
  const gate = new Gate(child, data, policy, origin);
  gate.secret = gate.readSecret();
  return gate;
}

class Gate {
  #asked = 0;

  constructor(child, data, policy, origin) {
    Object.assign(this, { child, data, policy, origin });
  }

  readSecret() {
    return this.run('client', 'secret', CLIENT).trim().split('\n').at(-1);
  }

  // What one of the operator's commands prints.
  run(...words) {
    const run = spawnSync(PLACET, [...words, '--data', this.data], { encoding: 'utf8' });
    if (run.status !== 0) throw new Error(`placet ${words.join(' ')}: ${run.stderr}`);
    return run.stdout;
  }

  // One signed call; the answer's JSON.
  async call(method, path, body) {
    const raw = body === undefined ? '' : JSON.stringify(body);
    const timestamp = String(Math.floor(Date.now() / 1000));
    const digest = createHash('sha256').update(raw).digest('hex');
    const signed = `placet-v1\n${timestamp}\n${method}\n${path}\n${digest}`;
    const signature = createHmac('sha256', this.secret).update(signed).digest('hex');
    const response = await fetch(this.origin + path, {
      method,
      body: raw || undefined,
      headers: {
        'content-type': 'application/json',
        'x-placet-client': CLIENT,
        'x-placet-timestamp': timestamp,
        'x-signature': `v1=${signature}`,
      },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  // Asks, and returns the approval as the gate first answered it.
  async ask({ action = 'payment.send', summary = 'Pay the October invoice.', payload, ...rest } = {}) {
    this.#asked += 1;
    return this.call('POST', '/v1/requests', {
      request_id: `browser-${process.pid}-${this.#asked}`,
      action,
      summary,
      payload: payload ?? { amount: 5000, currency: 'EUR', to: 'acme@example.com' },
      ...rest,
    });
  }

  async state(approval) {
    return this.call('GET', `/v1/requests/${approval.request_id}`);
  }

  async cancel(approval) {
    return this.call('POST', `/v1/requests/${approval.request_id}/cancel`);
  }

  // The message that the gate wrote to a reviewer.
  async message(approval, reviewer) {
    const folder = join(this.data, 'outbox');
    return until(`the message to ${reviewer}`, () => {
      const names = readdirSync(folder, { withFileTypes: true }).map((entry) => entry.name);
      const name = names.find((file) => {
        const [id, , to] = file.split('.');
        return id === approval.approval_id && to === reviewer && file.endsWith('.json');
      });
      if (!name) return undefined;
      try {
        return JSON.parse(readFileSync(join(folder, name), 'utf8'));
      } catch {
        return undefined;
      }
    });
  }

  // Every message about an approval, once there are as many.
  async messages(approval, count) {
    const folder = join(this.data, 'outbox');
    return until(`${count} messages`, () => {
      const names = readdirSync(folder).filter((name) => name.startsWith(approval.approval_id) && name.endsWith('.json'));
      if (names.length < count) return undefined;
      return names.map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')));
    });
  }

  // A reviewer's own link, on the address that this gate listens at.
  async link(approval, reviewer) {
    const { url } = await this.message(approval, reviewer);
    return this.origin + new URL(url).pathname;
  }

  // The reviewer's inbox link: a capability of its own, which only the operator's command prints.
  async inbox(approval, reviewer) {
    await this.message(approval, reviewer);
    const { inbox } = JSON.parse(this.run('inbox', '--reviewer', reviewer, '--json'));
    return this.origin + new URL(inbox).pathname;
  }

  async stop() {
    if (this.child.exitCode === null) {
      const gone = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await gone;
    }
    rmSync(this.data, { recursive: true, force: true });
  }
}
