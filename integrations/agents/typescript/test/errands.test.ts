/** An errand (ask, wait, redeem) from its first call to its end: its time limit, its ways out, its patience, its address. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

import { Executor, GateError, InvalidPayload, InvalidToken, NotApproved, Placet, PlacetError, TimedOut, Unreachable, type Approval } from 'placet';
import { canUseTool, gated, preToolUse } from 'placet/claude-agent';
import { answerChatCall } from 'placet/openai';

import { isTriedAgain, Patience, retryAfter } from '../dist/patience.js';
import { actionOf } from '../dist/tools.js';
import { clean, Gate, ISSUER, ROOT, until } from './gate.ts';

const PATIENCE = JSON.parse(readFileSync(join(ROOT, 'tests/fixtures/patience.json'), 'utf8'));

let gate: Gate;
before(async () => {
  gate = await Gate.start();
});
after(() => gate.stop());

type Meddling = 'pass' | 'hang' | 'lose' | 'reset' | 'cut' | 'trickle' | [number, string, Record<string, string>];

/** Stands between a client and the gate, and meddles. */
async function meddled<T>(meddle: (method: string, path: string, headers: IncomingMessage['headers']) => Meddling, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const what = meddle(request.method ?? '', (request.url ?? '').split('?')[0] ?? '', request.headers);
      if (what === 'hang') return;
      if (what === 'reset') return void request.socket.destroy();
      if (what === 'trickle') return void response.write('{');
      if (Array.isArray(what)) return void response.writeHead(what[0], what[2]).end(what[1]);
      const onward = httpRequest(gate.url + request.url, { method: request.method ?? 'GET', headers: request.headers }, (answer) => {
        const body: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => body.push(chunk)).on('end', () => {
          if (what === 'lose') return;
          const whole = Buffer.concat(body);
          if (what === 'cut') {
            response.writeHead(answer.statusCode ?? 0, { 'Content-Length': whole.length });
            response.write(whole.subarray(0, 5), () => request.socket.destroy());
          } else response.writeHead(answer.statusCode ?? 0, answer.headers).end(whole);
        });
      });
      onward.on('error', () => request.socket.destroy()).end(Buffer.concat(chunks));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const statusOf = async (approval: Approval | undefined) => (await gate.client().get(approval?.request_id ?? '')).status;

/** An errand that is stopped once a person has been asked: what was asked. */
async function stopped(run: (notify: (approval: Approval) => void, signal: AbortSignal) => Promise<unknown>): Promise<Approval | undefined> {
  const stop = new AbortController();
  let asked: Approval | undefined;
  await assert.rejects(run((approval) => {
    asked = approval;
    setTimeout(() => stop.abort(new Error('stopped')), 200);
  }, stop.signal), /stopped/);
  return asked;
}

describe('the time limit', () => {
  const cases: [string, Meddling][] = [
    ['/v1/requests', 'hang'], ['/v1/requests', 'lose'], ['GET', 'hang'], ['GET', 'trickle'], ['cancel', 'hang'], ['redeem', 'hang'], ['redeem', 'lose'], ['jwks.json', 'hang'],
  ];
  for (const [place, what] of cases) {
    test(`is for all of it (${place}, ${String(what)})`, async () => {
      const action = place === 'GET' || place === 'cancel' ? 'limit.people' : 'auto.limit';
      const meddle = (method: string, path: string) => (path.endsWith(place) || (place === 'GET' && method === 'GET') ? what : 'pass');
      await meddled(meddle, async (url) => {
        const began = performance.now();
        const client = gate.client('signed', { url, patienceSeconds: 4 });
        await assert.rejects(client.authorize({ action, payload: { n: 1 }, summary: 's', timeoutSeconds: 2 }), (error) => error instanceof Unreachable || error instanceof TimedOut);
        assert.ok(performance.now() - began < 10_000);
      });
    });
  }
});

describe('the ways out', () => {
  test('a signal withdraws the question, and its reason is thrown', async () => {
    const asked = await stopped((notify, signal) => gate.client().authorize({ action: 'out.signal', payload: {}, summary: 's', notify, signal }));
    assert.equal(await statusOf(asked), 'cancelled');
  });

  test('an error that is printed shows no token', async () => {
    const error = await gate.client().authorize({ action: 'never.pay', payload: {}, summary: 's' }).catch((one: unknown) => one);
    assert.ok(error instanceof NotApproved && error.approval.token !== null && !inspect(error).includes(error.approval.token));
  });

  test('a notice that fails withdraws it', async () => {
    let asked: Approval | undefined;
    const notify = (approval: Approval) => {
      asked = approval;
      throw new Error('no terminal');
    };
    await assert.rejects(gate.client().authorize({ action: 'out.notice', payload: {}, summary: 's', notify }), /no terminal/);
    assert.equal(await statusOf(asked), 'cancelled');
  });

  test('a question that is stopped while it is asked is looked for, and withdrawn', async () => {
    await meddled((_, path) => (path === '/v1/requests' ? 'lose' : 'pass'), async (url) => {
      const stop = new AbortController();
      const errand = gate.client('agent', { url }).authorize({ action: 'out.asking', payload: {}, summary: 's', requestId: 'ts-asking', signal: stop.signal });
      const refused = assert.rejects(errand, /stopped/);
      const sees = async () => (await gate.client().get('ts-asking').catch(() => undefined))?.status;
      while ((await sees()) !== 'pending') await new Promise((resolve) => setTimeout(resolve, 50));
      stop.abort(new Error('stopped'));
      await refused;
      assert.equal(await sees(), 'cancelled');
    });
  });

  test('another question of that name is left alone', async () => {
    const client = gate.client();
    await client.ask({ action: 'out.other', payload: { n: 1 }, summary: 's', requestId: 'ts-other' });
    await meddled((_, path) => (path === '/v1/requests' ? 'hang' : 'pass'), async (url) => {
      const signal = AbortSignal.timeout(500);
      await assert.rejects(gate.client('agent', { url }).authorize({ action: 'out.other', payload: { n: 2 }, summary: 's', requestId: 'ts-other', signal }));
    });
    await assert.rejects(client.authorize({ action: 'out.other', payload: { n: 2 }, summary: 's', requestId: 'ts-other' }), (error) => error instanceof GateError && error.code === 'request_id_conflict');
    assert.equal((await client.cancel('ts-other')).status, 'cancelled');
  });

  const program = `
    import { Placet } from 'placet';
    OWN
    const gate = Placet.fromEnv();
    const notify = () => console.log('asked');
    await Promise.all([1, 2].map((n) => gate.authorize({ action: 'out.program', payload: { n }, summary: 's', requestId: NAME + n, notify })));
  `;
  for (const [signal, own] of [['SIGINT', ''], ['SIGTERM', ''], ['SIGHUP', ''], ['SIGTERM', "process.on('SIGTERM', () => process.exit(7));"]] as const) {
    test(`a program that is ended by ${signal} withdraws its questions${own && ', unless it listens itself'}`, async () => {
      const name = `ts-${signal}-${own.length}-`;
      const env = { ...clean(), PLACET_URL: gate.url, PLACET_CLIENT: 'agent', PLACET_SECRET: gate.secret('agent'), PLACET_TOKEN_ALG: 'HS256' };
      const code = program.replace('NAME', JSON.stringify(name)).replace('OWN', own);
      const cwd = fileURLToPath(new URL('..', import.meta.url));
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], { env, cwd, stdio: ['ignore', 'pipe', 'inherit'] });
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
      const ended = new Promise<unknown[]>((resolve) => child.on('exit', (...end) => resolve(end)));
      await until(() => (out.split('asked').length > 2 ? true : undefined));
      child.kill(signal);
      assert.deepEqual(await ended, own ? [7, null] : [null, signal]);
      for (const n of [1, 2]) {
        assert.equal((await gate.client().get(name + n)).status, own ? 'pending' : 'cancelled');
        await gate.client().cancel(name + n);
      }
    });
  }
});

describe('patience', () => {
  test('a gate that holds no calls is looked at when it says', async () => {
    const times: number[] = [];
    const preferred = new Set<unknown>();
    let real: Approval | undefined;
    const pending = async () => JSON.stringify({ ...(real as Approval), status: 'pending', approved: false, token: null });
    real = await gate.client('agent').ask({ action: 'auto.paced', payload: {}, summary: 's' });
    const answer = await pending();
    await meddled(
      (method, _path, headers) => {
        if (method !== 'GET') return 'pass';
        times.push(performance.now());
        preferred.add(headers['prefer']);
        return times.length < 3 ? [200, answer, { 'Retry-After': '1' }] : 'pass';
      },
      async (url) => {
        const ended = await new Placet({ url, client: 'agent', secret: gate.secret('agent'), algorithm: 'HS256' }).wait(real.request_id);
        assert.equal(ended.status, 'approved');
      },
    );
    assert.equal(times.length, 3);
    // A timer is never early by more than its resolution.
    assert.ok(times.every((at, index) => index === 0 || at - (times[index - 1] as number) > 990), String(times));
    assert.deepEqual([...preferred], ['respond-async']);
  });

  test('one table says what is tried again', () => {
    assert.ok(PATIENCE.tried_again.every(isTriedAgain) && !PATIENCE.final.some(isTriedAgain));
    for (const row of PATIENCE.retry_after) assert.equal(retryAfter(row.text, PATIENCE.now) ?? null, row.seconds, row.text);
    const pauses = (told: number | undefined, most: number) => {
      const patience = new Patience(60, undefined);
      const found: number[] = [];
      for (let now = 0; now < most; now += found.at(-1) ?? 0) {
        const pause = patience.pause(now, told);
        if (pause === undefined) return [found, now] as const;
        found.push(pause);
      }
      return assert.fail('no end');
    };
    const [away, end] = pauses(undefined, 100);
    assert.deepEqual(away.slice(0, 6), [0.2, 0.4, 0.8, 1.6, 3.2, 5]);
    assert.ok(end > 54 && end < 60);
    const [busy, last] = pauses(30, 1000);
    assert.ok(busy.every((pause) => pause >= 30 && pause <= 35.1) && last > 500 && last < 600);
    assert.equal(new Patience(60, 1).pause(0.9, undefined), undefined);
  });

  const troubles: Meddling[] = [
    [503, '{"code":"unavailable"}', { 'Retry-After': '1' }], [429, '{"code":"rate_limited"}', { 'Retry-After': '1' }], [502, '<html>', {}], 'reset', 'cut',
  ];
  for (const trouble of troubles) {
    test(`each call is tried again (${JSON.stringify(trouble)})`, async () => {
      const met = new Map<string, number>();
      const meddle = (method: string, path: string): Meddling => {
        const count = (met.get(method + path) ?? 0) + 1;
        met.set(method + path, count);
        return count <= 2 ? trouble : 'pass';
      };
      const done = await meddled(meddle, (url) => gate.client('signed', { url }).authorize({ action: 'auto.again', payload: { n: 1 }, summary: 's', timeoutSeconds: 60 }));
      assert.deepEqual([done.payload, new Set(met.values())], [{ n: 1 }, new Set([3])]);
    });
  }

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`a gate that is restarted under a wait is waited for (${signal})`, async () => {
      const own = await Gate.start();
      try {
        let asked: Approval | undefined;
        const errand = own.client().authorize({ action: 'be.patient', payload: {}, summary: 's', timeoutSeconds: 120, notify: (approval) => (asked = approval) });
        await until(() => asked);
        await new Promise((resolve) => setTimeout(resolve, 500));
        await own.restart(signal);
        assert.equal((await own.vote(asked?.approval_id ?? '', 'approve')).status, 200);
        assert.equal((await errand).approval.status, 'approved');
      } finally {
        own.stop();
      }
    });
  }
});

describe('the address', () => {
  const make = (url: string) => [() => new Placet({ url, client: 'a', secret: 's' }), () => new Executor({ url, client: 'a', once: () => true })];
  for (const url of [
    'http://gate.example.com', 'http://10.0.0.1:8484', 'http://0.0.0.0:8484', 'http://169.254.169.254', 'http://localhost.example.com', 'http://127.0.0.1.example.com',
    'http://127.0.0.1@example.com', 'http://example.com#127.0.0.1', 'http://example.com\\@127.0.0.1', 'https://user:password@gate.example.com', 'http://[::2]:8484',
    'http://[::ffff:10.0.0.1]', 'HTTP://GATE.EXAMPLE.COM', 'ftp://127.0.0.1', 'gate.example.com', '127.0.0.1:8484', '', 'http://', 'https://', 'https://gate.example.com?x=1',
    'https://gate.example.com#x', 'http://127.0.0.1:99999', 'http://localhost%2eexample.com', 'http://loc\u0430lhost', ' http://127.0.0.1', 'http://127.0.0.1\n.example.com',
  ]) {
    test(`${JSON.stringify(url)} cannot be trusted, and is refused by every client`, () => {
      for (const one of make(url)) assert.throws(one, TypeError);
    });
  }

  test('https and loopback are taken', () => {
    for (const url of ['http://127.0.0.1:8484', 'http://127.1.2.3', 'http://localhost:8484/', 'http://[::1]:8484', 'https://gate.example.com', 'https://gate.example.com/placet/']) {
      for (const one of make(url)) one();
    }
  });

  test('a private authority is trusted where SSL_CERT_FILE names it', async () => {
    const [key, cert] = [join(gate.folder, 'key.pem'), join(gate.folder, 'cert.pem')];
    const subject = ['-subj', '/CN=gate', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
    execFileSync('openssl', ['req', '-x509', ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
      const onward = httpRequest(gate.url + request.url, { method: request.method ?? 'GET', headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      request.pipe(onward);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const question = { action: 'auto.tls', payload: {}, summary: 's' };
      await assert.rejects(gate.client('signed', { url, patienceSeconds: 0 }).authorize(question), /self.signed certificate/);
      process.env['SSL_CERT_FILE'] = cert;
      const { approval } = await gate.client('signed', { url }).authorize(question);
      assert.equal((await new Executor({ url, client: 'signed', once: () => true }).verify(approval.token)).aud, 'signed');
      process.env['SSL_CERT_FILE'] = join(gate.folder, 'nowhere.pem');
      assert.throws(() => gate.client('signed', { url }), /nowhere/);
    } finally {
      delete process.env['SSL_CERT_FILE'];
      server.closeAllConnections();
      server.close();
    }
  });

  test('loopback is never proxied', async () => {
    const code = `
      import { Executor, Placet } from 'placet';
      const { claims, approval } = await Placet.fromEnv({ patienceSeconds: 1 }).authorize({ action: 'auto.proxy', payload: {}, summary: 's' });
      await new Executor({ url: process.env.PLACET_URL, client: 'signed', once: () => true, patienceSeconds: 1 }).verify(approval.token);
      console.log(claims.aud);
    `;
    const dead = 'http://127.0.0.1:1';
    const env = {
      ...clean(), PLACET_URL: gate.url, PLACET_CLIENT: 'signed', PLACET_SECRET: gate.secret('signed'), NODE_USE_ENV_PROXY: '1', HTTP_PROXY: dead, HTTPS_PROXY: dead,
      http_proxy: dead, https_proxy: dead, ALL_PROXY: dead, NO_PROXY: '', no_proxy: '',
    };
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { env, cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    assert.equal(await new Promise((resolve) => child.on('exit', resolve)), 0);
    assert.equal(out.trim(), 'signed');
  });
});

describe('what is compared', () => {
  test('a payload that is null is not one that was left out', async () => {
    const client = gate.client();
    const { token } = await client.ask({ action: 'auto.null', payload: { n: 1 }, summary: 's' });
    assert.equal((await client.verify(token)).action, 'auto.null');
    for (const nothing of [null, [], '', 0, false] as never[]) {
      await assert.rejects(client.verify(token, nothing), InvalidPayload);
      await assert.rejects(client.verifyOnline(token ?? '', nothing), InvalidPayload);
      await assert.rejects((async () => client.redeem(token ?? '', nothing, 'me'))(), InvalidPayload);
      await assert.rejects(client.useToken(token, nothing, 'auto.null'), InvalidPayload);
    }
    assert.equal(await client.redeem(token ?? '', { n: 1 }, 'me'), true);
  });

  test('a token is used for one action, which is named', async () => {
    const { token } = await gate.client().ask({ action: 'auto.look', payload: { n: 1 }, summary: 's' });
    const user = gate.client();
    await assert.rejects(user.useToken(token, { n: 1 }, undefined as never), TypeError);
    await assert.rejects(new Executor({ url: gate.url, client: 'agent', once: () => true }).useToken(token, { n: 1 }, undefined as never), TypeError);
    await assert.rejects(user.useToken(token, { n: 1 }, 'auto.pay'), (error) => error instanceof InvalidToken && error.problem === 'wrong_action');
    assert.deepEqual(await user.useToken(token, { n: 1 }, 'auto.look'), { n: 1 });
  });

  test('an executor takes the tokens of the clients it is told', async () => {
    const { token } = await gate.client('signed').ask({ action: 'auto.pay', payload: { n: 1 }, summary: 's' });
    const executor = (audience?: string | string[]) => new Placet({ url: gate.url, client: 'payments', secret: 'whsec_x', issuer: ISSUER, ...(audience ? { audience } : {}) });
    assert.equal((await executor('signed').verify(token, { n: 1 }, 'auto.pay')).aud, 'signed');
    assert.equal((await executor(['other', 'signed']).verify(token)).aud, 'signed');
    const wrong = (error: unknown) => error instanceof InvalidToken && error.problem === 'wrong_audience';
    await assert.rejects(executor('other').verify(token), wrong);
    await assert.rejects(executor().verify(token), wrong);
    await assert.rejects(executor(['other', 'signed']).verify(token, undefined, undefined, 'other'), wrong);
    assert.throws(() => executor(['']), TypeError);
    assert.throws(() => new Placet({ url: gate.url, client: 'payments', secret: 's', audience: 'agent', algorithm: 'HS256' }), /HS256/);
  });

  test('words are cut by characters and made readable', async () => {
    const summary = `${'😀'.repeat(499)}äzzz`;
    assert.equal((await gate.client().ask({ action: 'auto.words', payload: {}, summary })).summary, `${'😀'.repeat(499)}ä`);
    assert.equal((await gate.client().ask({ action: 'auto.words', payload: {}, summary: 'a\ud800b' })).summary, 'a\ufffdb');
  });

  test('no two tools share an action', () => {
    const names = ['pay', 'pay ', ' pay', 'pay!', 'pay.', 'p\u0430y', '', 'x'.repeat(80), 'x'.repeat(81), 'x'.repeat(82), 'pay-', 'PAY', 'päy', 'auto.pay', 'auto/pay'];
    const actions = names.map((name) => actionOf(name, 'claude.'));
    assert.equal(new Set(actions).size, names.length);
    assert.ok(actions[0] === 'claude.pay' && actions.every((one) => one.length <= 128 && !one.includes('auto.pay')));
  });

  test('a model names no request but its own', async () => {
    const client = gate.client();
    await client.ask({ requestId: 'ts-invoice-77', action: 'label.ts', payload: { n: 1 }, summary: 's' });
    const given = { request_id: 'ts-invoice-77', action: 'label.ts', payload: { n: 2 }, summary: 's' };
    const said = JSON.parse((await answerChatCall(client, { id: 'c', function: { arguments: JSON.stringify(given) } }, 0)).content);
    assert.deepEqual([said.status, said.request_id], ['pending', 'ts-invoice-77']);
    const { request_id: _, ...nameless } = given;
    const first = JSON.parse((await answerChatCall(client, { id: 'c', function: { arguments: JSON.stringify(nameless) } }, 0)).content);
    assert.ok(first.status === 'pending' && first.request_id && first.request_id !== 'ts-invoice-77');
  });
});

describe('the hooks of the Claude Agent SDK', () => {
  const input = (tool: string, id: string) => ({ hook_event_name: 'PreToolUse', tool_name: tool, tool_input: { command: 'make' }, tool_use_id: id, session_id: 's', transcript_path: '', cwd: '' }) as never;
  const hook = (tool: string, id: string, signal = new AbortController().signal) => preToolUse(gate.client(), { timeoutSeconds: 60 })(input(tool, id), id, { signal });

  test('several of one use allow what was approved once', async () => {
    const answering = gate.answers('TwiceTs', ['approve']);
    const both = await Promise.all([hook('TwiceTs', 'toolu_1'), hook('TwiceTs', 'toolu_1')]);
    const later = await hook('TwiceTs', 'toolu_1');
    await answering;
    for (const said of [...both, later]) {
      assert.deepEqual(said, { hookSpecificOutput: { hookEventName: 'PreToolUse', permissionDecision: 'allow', permissionDecisionReason: 'approved', updatedInput: { command: 'make' } } });
    }
  });

  test('one that is stopped withdraws its question, and denies', async () => {
    const stop = new AbortController();
    const saying = hook('StopTs', 'toolu_2', stop.signal);
    const client = gate.client();
    while ((await client.get('claude-toolu_2').catch(() => undefined))?.status !== 'pending') await new Promise((resolve) => setTimeout(resolve, 50));
    stop.abort();
    assert.match(JSON.stringify(await saying), /"permissionDecision":"deny"/);
    assert.equal((await client.get('claude-toolu_2')).status, 'cancelled');
  });

  test('whatever goes wrong is a denial', async () => {
    const broken = { authorizeUse: () => Promise.reject(new RangeError('secret words')) } as unknown as Placet;
    const signal = new AbortController().signal;
    const said = JSON.stringify(await preToolUse(broken, { timeoutSeconds: 5 })(input('Bash', 't'), 't', { signal }));
    assert.ok(said.includes('"deny"') && !said.includes('secret words'), said);
    for (const wrong of [{}, null, { hook_event_name: 'PostToolUse' }, { hook_event_name: 'PreToolUse', tool_name: 'Bash', tool_input: [] }] as never[]) {
      assert.match(JSON.stringify(await preToolUse(gate.client(), { timeoutSeconds: 5 })(wrong, 't', { signal })), /"deny"/);
    }
    const denied = await canUseTool(broken)('Bash', {}, { signal, toolUseID: 't' } as never);
    assert.ok(denied?.behavior === 'deny' && !denied.message.includes('secret words'));
    const matcher = gated(gate.client(), 'Bash', { timeoutSeconds: 20 });
    assert.deepEqual([matcher.onFailure, matcher.timeout], ['block', 80]);
    assert.ok(new PlacetError('x') instanceof Error);
  });
});
