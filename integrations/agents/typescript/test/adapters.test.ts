/** The official SDKs drive the adapters, and the official MCP client and inspector the server; only models are played. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { createSdkMcpServer, query, tool as claudeTool } from '@anthropic-ai/claude-agent-sdk';
import Anthropic from '@anthropic-ai/sdk';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Agent, OpenAIResponsesModel, setTracingDisabled, tool } from '@openai/agents';
import OpenAI from 'openai';
import { requireToken } from 'placet';
import { answer, tool as anthropicTool } from 'placet/anthropic';
import { canUseTool } from 'placet/claude-agent';
import { answerChatCall, answerResponsesCall, chatTool, responsesTool } from 'placet/openai';
import { run } from 'placet/openai-agents';
import { z } from 'zod';

import { BINARY, clean, Gate } from './gate.ts';
import { withModel } from './model.ts';

setTracingDisabled(true);

const PAYLOAD = { to: 'acme@example.com', amount: 5000 };

let gate: Gate;
before(async () => {
  gate = await Gate.start();
});
after(() => gate.stop());

const ask = (request_id: string, action: string) => ({ request_id, action, summary: `Send it (${action})`, payload: PAYLOAD });
const call = (name: string, given: object, id: string) => ({
  type: 'function_call', id: `fc_${id}`, call_id: id, name, arguments: JSON.stringify(given), status: 'completed',
});
const words = (text: string) => [
  { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text, annotations: [] }] },
];
const use = (name: string, input: object, id: string) => ({ type: 'tool_use', id, name, input });

function executor(action: string) {
  const sent: object[] = [];
  const send = requireToken(gate.client(), action, (given: typeof PAYLOAD) => {
    sent.push(given);
    return 'sent';
  });
  return { sent, send };
}

describe('OpenAI', () => {
  test('a Responses agent asks, and the executor takes its token', async () => {
    const { sent, send } = executor('ts.responses');
    const answering = gate.answers('ts.responses', ['approve']);
    const script = [
      [call('request_approval', ask('ts-responses', 'ts.responses'), 'c1')],
      [call('send_invoice', { ...PAYLOAD, approval_token: '{{approval_token}}' }, 'c2')],
      words('Done.'),
    ];
    const text = await withModel(script, async (url) => {
      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
      const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'Send it.' }];
      for (;;) {
        const response = await client.responses.create({ model: 'm', input, tools: [responsesTool()] });
        const calls = response.output.filter((item) => item.type === 'function_call');
        if (calls.length === 0) return response.output_text;
        for (const item of calls) {
          input.push(item);
          if (item.name === 'request_approval') input.push(await answerResponsesCall(gate.client(), item));
          else input.push({ type: 'function_call_output', call_id: item.call_id, output: await send(JSON.parse(item.arguments)) });
        }
      }
    });
    await answering;
    assert.deepEqual([text, sent], ['Done.', [PAYLOAD]]);
  });

  test('a Chat agent is told no with the reason, or to call again', async () => {
    const answering = gate.answers('ts.chat', ['reject'], 'bob', 'wrong address');
    const one = { id: 'c1', type: 'function', function: { name: 'request_approval', arguments: JSON.stringify(ask('ts-chat', 'ts.chat')) } };
    await withModel([{ content: null, tool_calls: [one] }, { content: 'Refused.' }], async (url) => {
      const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
      const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Send it.' }];
      const first = (await client.chat.completions.create({ model: 'm', messages, tools: [chatTool()] })).choices[0]?.message;
      const asked = first?.tool_calls?.[0];
      assert.ok(first && asked?.type === 'function');
      const told = await answerChatCall(gate.client(), asked);
      const said = JSON.parse(told.content);
      assert.deepEqual([said.approved, said.status, said.reason, said.approval_token], [false, 'rejected', 'wrong address', undefined]);
      messages.push(first, told);
      const last = await client.chat.completions.create({ model: 'm', messages });
      assert.equal(last.choices[0]?.message.content, 'Refused.');
    });
    await answering;
    const later = await answerChatCall(gate.client(), { id: 'c', function: { arguments: JSON.stringify(ask('ts-later', 'ts.later')) } }, 0);
    assert.equal(JSON.parse(later.content).status, 'pending');
    for (const wrong of ['', '[]', '{}', '{"request_id":"a","request_id":"b"}', JSON.stringify({ ...ask('x', 'a.b'), approved: true })]) {
      const refused = JSON.parse((await answerChatCall(gate.client(), { id: 'c', function: { arguments: wrong } })).content);
      assert.ok(refused.approved === false && refused.error, wrong);
    }
  });

  test('a tool of the Agents SDK that needs approval waits for Placet', async () => {
    const sent: object[] = [];
    const sendInvoice = tool({
      name: 'send_invoice', description: 'Send an invoice', parameters: z.object({ to: z.string(), amount: z.number() }), needsApproval: true,
      execute: async (given) => {
        sent.push(given);
        return 'sent';
      },
    });
    const answering = gate.answers('send_invoice', ['approve', 'reject']);
    const script = [[call('send_invoice', PAYLOAD, 'c1'), call('send_invoice', { ...PAYLOAD, amount: 6000 }, 'c2')], words('x'), words('One was sent.')];
    const output = await withModel(script, async (url) => {
      const model = new OpenAIResponsesModel(new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }), 'm');
      return (await run(new Agent({ name: 'Clerk', model, tools: [sendInvoice] }), 'Send both.', gate.client())).finalOutput;
    });
    const [approved] = await answering;
    assert.equal(output, 'One was sent.');
    assert.equal(sent.length, 1);
    assert.ok(approved?.approved);
  });

  test('a call id that comes again runs nothing that nobody approved', async () => {
    const sent: object[] = [];
    const pay = tool({
      name: 'pay_again', description: 'Pay', parameters: z.object({ to: z.string(), amount: z.number() }), needsApproval: true,
      execute: async (given) => {
        sent.push(given);
        return 'paid';
      },
    });
    const answering = gate.answers('pay_again', ['approve']);
    const script = [[call('pay_again', PAYLOAD, 'c0')], [call('pay_again', { ...PAYLOAD, amount: 999_999 }, 'c0')], words('Done.')];
    await withModel(script, async (url) => {
      const model = new OpenAIResponsesModel(new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }), 'm');
      // The SDK may take it for what it is: a fault of the model.
      await run(new Agent({ name: 'Clerk', model, tools: [pay] }), 'Pay.', gate.client(), { timeoutSeconds: 2 }).catch(() => undefined);
    });
    await answering;
    assert.deepEqual(sent, [PAYLOAD]);
  });

  test('a tool of the Agents SDK is rejected where nobody answers, or its arguments have two readings', async () => {
    const sendInvoice = tool({
      name: 'send_invoice', description: 'Send an invoice', parameters: z.object({ to: z.string(), amount: z.number() }), needsApproval: true,
      execute: async (): Promise<string> => assert.fail('nobody has approved this'),
    });
    const twice = { ...call('send_invoice', {}, 'c1'), arguments: '{"to":"a","amount":1,"amount":1000000}' };
    for (const first of [twice, call('send_invoice', PAYLOAD, 'c1')]) {
      const output = await withModel([[first], words('Refused.')], async (url) => {
        const model = new OpenAIResponsesModel(new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 }), 'm');
        const agent = new Agent({ name: 'Clerk', model, tools: [sendInvoice] });
        return (await run(agent, 'Send it.', gate.client(), { timeoutSeconds: 1 })).finalOutput;
      });
      assert.equal(output, 'Refused.');
    }
  });
});

describe('Claude', () => {
  test('a Messages agent asks, and the executor takes its token', async () => {
    const { sent, send } = executor('ts.messages');
    const answering = gate.answers('ts.messages', ['approve']);
    const script = [
      [use('request_approval', ask('ts-messages', 'ts.messages'), 'toolu_1')],
      [use('send_invoice', { ...PAYLOAD, approval_token: '{{approval_token}}' }, 'toolu_2')],
      [{ type: 'text', text: 'Done.' }],
    ];
    const last = await withModel(script, async (url) => {
      const client = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 });
      const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Send it.' }];
      for (;;) {
        const message = await client.messages.create({ model: 'm', max_tokens: 99, messages, tools: [anthropicTool()] });
        const block = message.content.find((one) => one.type === 'tool_use');
        if (block === undefined) return message.content;
        const result =
          block.name === 'request_approval'
            ? await answer(gate.client(), block)
            : { type: 'tool_result' as const, tool_use_id: block.id, content: await send(block.input as never) };
        messages.push({ role: 'assistant', content: message.content }, { role: 'user', content: [result] });
      }
    });
    await answering;
    assert.deepEqual([last[0]?.type === 'text' && last[0].text, sent], ['Done.', [PAYLOAD]]);
    const wrong = await answer(gate.client(), { id: 't', input: { approved: true } });
    assert.ok('is_error' in wrong && wrong.is_error);
  });

  test('the permission callback of the Agent SDK waits for Placet', async () => {
    const sent: object[] = [];
    const sendInvoice = claudeTool('send_invoice', 'Send an invoice', { to: z.string(), amount: z.number() }, async (given) => {
      sent.push(given);
      return { content: [{ type: 'text', text: 'sent' }] };
    });
    const home = join(gate.folder, 'home');
    mkdirSync(home);
    const answering = gate.answers('mcp__mail__send_invoice', ['approve', 'reject']);
    const name = 'mcp__mail__send_invoice';
    const script = [[use(name, PAYLOAD, 'toolu_t1')], [use(name, { ...PAYLOAD, amount: 6000 }, 'toolu_t2')], [{ type: 'text', text: 'One was sent.' }]];
    const said = await withModel(script, async (url) => {
      const env = {
        ...clean(), ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'none', HOME: home, CLAUDE_CONFIG_DIR: join(home, '.claude'),
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1', DISABLE_TELEMETRY: '1',
      };
      async function* prompt() {
        yield { type: 'user' as const, message: { role: 'user' as const, content: 'Send both.' }, parent_tool_use_id: null, session_id: '' };
      }
      const mcpServers = { mail: createSdkMcpServer({ name: 'mail', tools: [sendInvoice] }) };
      const options = { canUseTool: canUseTool(gate.client()), mcpServers, env, cwd: home, settingSources: [], maxTurns: 5 };
      for await (const message of query({ prompt: prompt(), options })) {
        if (message.type === 'result') return message.subtype === 'success' ? message.result : message.subtype;
      }
      return 'no result';
    });
    await answering;
    assert.deepEqual([said, sent], ['One was sent.', [PAYLOAD]]);
  });
});

describe('MCP', () => {
  const stdio = () => ({ command: BINARY, args: ['mcp', '--data', gate.data, '--client', 'agent'] });
  const bearer = () => `Bearer mcp.${gate.secret('mcp')}`;
  const transports = {
    stdio: () => new StdioClientTransport(stdio()),
    http: () => new StreamableHTTPClientTransport(new URL(`${gate.url}/mcp`), { requestInit: { headers: { Authorization: bearer() } } }),
  };
  for (const [kind, transport] of Object.entries(transports)) {
    test(`the official client asks, waits with progress, and verifies (${kind})`, async () => {
      const client = new Client({ name: 'test', version: '1' });
      await client.connect(transport() as Parameters<Client['connect']>[0]);
      try {
        const names = (await client.listTools()).tools.map((one) => one.name).sort();
        assert.deepEqual(names, ['request_approval', 'verify_token', 'wait_for_approval']);
        const action = `ts.mcp.${kind}`;
        const asked = await client.callTool({ name: 'request_approval', arguments: ask(`ts-mcp-${kind}`, action) });
        assert.equal((asked.structuredContent as { status: string }).status, 'pending');
        const heard: number[] = [];
        const wait = { name: 'wait_for_approval', arguments: { request_id: `ts-mcp-${kind}`, wait_seconds: 6 } };
        await client.callTool(wait, undefined, { onprogress: ({ progress }) => heard.push(progress) });
        assert.ok(heard.length > 0);
        const answering = gate.answers(action, ['approve']);
        wait.arguments.wait_seconds = 45;
        const ended = (await client.callTool(wait)).structuredContent as { approved: boolean; token: string };
        await answering;
        assert.equal(ended.approved, true);
        const verdict = await client.callTool({ name: 'verify_token', arguments: { token: ended.token, payload: PAYLOAD } });
        assert.equal((verdict.structuredContent as { valid: boolean }).valid, true);
      } finally {
        await client.close();
      }
    });
  }

  test('the inspector lists the tools and calls one, over both transports', async () => {
    const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json');
    const inspector = join(dirname(manifest), 'clients/launcher/build/index.js');
    const { command, args } = stdio();
    const targets = [
      [command, ...args],
      [`${gate.url}/mcp`, '--transport', 'http', '--header', `Authorization: ${bearer()}`],
    ];
    for (const target of targets) {
      const inspect = async (...rest: string[]) => {
        const ran = await promisify(execFile)(process.execPath, [inspector, '--cli', ...target, ...rest], { timeout: 120_000, env: clean() });
        return JSON.parse(ran.stdout);
      };
      const listed = await inspect('--method', 'tools/list');
      assert.equal(listed.tools.length, 3);
      const called = await inspect('--method', 'tools/call', '--tool-name', 'verify_token', '--tool-arg', 'token=approved');
      assert.equal(called.structuredContent.problem, 'malformed');
    }
  });
});
