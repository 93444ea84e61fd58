// A real gate of its own for a test file: asks as an agent would, and finds the reviewers' links.
// It makes no assertion; what a page must show is said in the tests.

import { execFile } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { promisify } from 'node:util';

import { BINARY, TestGate, policy, until } from '../testgate/testgate.js';

export { until };

const CLIENT = 'agent';

// Olive owns the client.
const OWN = `
[[clients]]
id = "agent"
roles = ["requester"]
owner = "olive"
rate_per_minute = 6000

[[reviewers]]
id = "olive"
name = "Olive"
email = "olive@example.com"
roles = ["finance"]

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
roles = ["reachable"]

[[reviewers]]
id = "pia"
name = "Pia"
email = "pia@example.com"
roles = ["pushed"]
callback_hosts = ["127.0.0.1"]
channels = ["push", "email"]

[[reviewers]]
id = "nell"
name = "Nell"
email = "nell@example.com"
phone = "+15550101"
roles = ["nudged"]
channels = ["email", "sms"]
nudge = "5s"

[[rules]]
name = "nudged"
when = 'action.startsWith("nell.")'
stages = [{ ask = ["nudged"], within = "10m" }]

[[rules]]
name = "pushed"
when = 'action.startsWith("pia.")'
stages = [{ ask = ["pushed"], within = "10m" }]

[[rules]]
name = "every channel"
when = '"every_channel" in metadata'
stages = [{ ask = ["reachable"], within = "10m" }]

[[rules]]
name = "short first stage"
when = 'action.startsWith("short.")'
stages = [{ ask = ["finance"], within = "2s" }, { ask = ["second"], within = "10m" }]

[[rules]]
name = "Dora alone"
when = 'action.startsWith("dora.")'
stages = [{ ask = ["second"], within = "10m" }]

[[rules]]
name = "people"
when = 'true'
stages = [{ ask = ["finance"], within = "10m" }]
`;

export async function startGate() {
  return new Gate(await TestGate.start({ text: policy(OWN) }));
}

class Gate {
  #gate;
  #asked = 0;

  constructor(gate) {
    this.#gate = gate;
    this.origin = gate.url;
  }

  // One signed call; the answer's JSON.
  async call(method, path, body) {
    const raw = body === undefined ? '' : JSON.stringify(body);
    const timestamp = String(Math.floor(Date.now() / 1000));
    const digest = createHash('sha256').update(raw).digest('hex');
    const signed = `placet-v1\n${timestamp}\n${method}\n${path}\n${digest}`;
    const signature = createHmac('sha256', this.#gate.secret(CLIENT)).update(signed).digest('hex');
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

  // The message that the gate sent to a reviewer.
  async message(approval, reviewer) {
    return this.#gate.message(approval.approval_id, reviewer);
  }

  // Every message about an approval, once there are as many.
  async messages(approval, count) {
    return until(`${count} messages`, () => {
      const told = this.#gate.told('notified', { approval_id: approval.approval_id });
      return told.length < count ? undefined : told;
    });
  }

  // A reviewer's own link, on the address that this gate listens at.
  async link(approval, reviewer) {
    return this.#gate.link(approval.approval_id, reviewer);
  }

  // The report of the last seven days with today: until midnight, so that today is in it.
  async report() {
    const until_day = Math.floor(Date.now() / 86_400_000) + 1;
    return this.#gate.here((await this.#gate.ask('report_link', { until_day })).report);
  }

  // A reviewer's link to a practice round.
  async practice(reviewer) {
    return this.#gate.here((await this.#gate.ask('practice_link', { reviewer })).practice);
  }

  // The link to the operator's page, as the command prints it for this gate's folder.
  async operator(...options) {
    const words = ['admin', 'link', '--data', this.#gate.data, ...options];
    const { stdout } = await promisify(execFile)(BINARY, words);
    return this.#gate.here(stdout.trim());
  }

  // The reviewer's inbox link: a capability of its own, which only the operator gets.
  async inbox(approval, reviewer) {
    await this.message(approval, reviewer);
    return this.#gate.here((await this.#gate.ask('inbox_link', { reviewer })).inbox);
  }

  async stop() {
    await this.#gate.stop();
  }
}
