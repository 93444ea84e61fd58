// What chats and mail programs make links of: nothing that the agent wrote, in any message and on any channel.
// The linkers are the libraries that such programs use, told to link as much as they can.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { LinkifyIt } from 'linkify-it';
import * as linkifyjs from 'linkifyjs';
import 'linkify-plugin-ip';
import 'linkify-plugin-hashtag';
import 'linkify-plugin-mention';
import 'linkify-plugin-ticket';
import { startGate } from './gate.js';

const { lines } = JSON.parse(readFileSync(new URL('../fixtures/unlinked.json', import.meta.url), 'utf8'));

const liberal = new LinkifyIt({ fuzzyIP: true, fuzzyLink: true, fuzzyEmail: true });
for (const scheme of ['tel:', 'sms:', 'javascript:', 'data:', 'file:', 'custom-app:']) {
  liberal.add(scheme, { validate: (text, at) => /^\S+/.exec(text.slice(at))?.[0].length ?? 0 });
}
liberal.tlds('app zip museum now io co ws рф 中国 xn--p1ai'.split(' '), true);

const IN_TEXT = ['url', 'email', 'ip'];

// Everything that some program would make a link of, in a mail or a text.
const links = (text) => [
  ...(liberal.match(text) ?? []).map(({ raw }) => raw),
  ...linkifyjs
    .find(text)
    .filter(({ type }) => IN_TEXT.includes(type))
    .map(({ value }) => value),
];

// In a chat names, tags and tickets are links as well.
const chatLinks = (text) => [...links(text), ...linkifyjs.find(text).map(({ value }) => value)];

test('the linkers do link what is written', () => {
  const missed = lines.filter(({ written }) => chatLinks(written).length === 0).map(({ written }) => written);
  assert.ok(missed.length < lines.length / 4, `${missed.length} of ${lines.length}: ${missed.join(' ')}`);
});

test('no linker finds a link in what the gate makes of it', () => {
  for (const { unlinked, in_chat: inChat } of lines) {
    assert.deepEqual(links(unlinked), [], unlinked);
    assert.deepEqual(chatLinks(inChat), [], inChat);
  }
});

test('what is harmless is left as it is, and is no link', () => {
  for (const text of ['label.pdf', 'report.2026.xlsx', '1.4.2', '19.50', 'payment.send', 'docs/label.pdf']) {
    assert.deepEqual(links(text), [], text);
  }
});

let gate;

before(async () => {
  gate = await startGate();
});
after(async () => {
  await gate?.stop();
});

const isOwn = (link, url) => url.includes(link.replace(/^https?:\/\//, ''));

test('the only link in any message is the reviewer\u2019s own', async () => {
  const hostile = lines.map(({ written }) => written).filter((written) => !/^[\s"(<[_]|^see |^x:/.test(written));
  for (let at = 0; at < hostile.length; at += 8) {
    const some = hostile.slice(at, at + 8);
    const payload = Object.fromEntries(some.map((text, index) => [index % 2 ? text : `to_${index}`, text]));
    const approval = await gate.ask({
      action: /^[\w.-]+$/.test(some[0]) ? some[0] : 'payment.send',
      summary: some.join(' '),
      payload,
      metadata: { every_channel: 'yes' },
    });
    const messages = await gate.messages(approval, 3);
    assert.deepEqual(messages.map(({ channel }) => channel).sort(), ['email', 'sms', 'terminal']);
    for (const { channel, subject, text, url } of messages) {
      assert.ok(text.includes(url), channel);
      // A text ends with the link, alone on its line: nothing before it becomes one, and nothing is glued to it.
      if (channel === 'sms') assert.ok(text.endsWith(`\n${url}`), text);
      assert.deepEqual(links(subject), [], subject);
      const found = links(text);
      assert.deepEqual(
        [...new Set(found)].filter((link) => !isOwn(link, url)),
        [],
        text,
      );
      assert.equal(text.split(url).length, 2);
    }
  }
});

test('a name of an action or of a file that is no link stays readable in every message', async () => {
  const approval = await gate.ask({
    action: 'invoice.pay',
    payload: { invoice: 'label.pdf', version: '1.4.2', amount: 19.5 },
    metadata: { every_channel: 'yes' },
  });
  for (const { text, channel } of await gate.messages(approval, 3)) {
    // A text has room for the title alone.
    const words = channel === 'sms' ? ['label.pdf', '19.5'] : ['invoice.pay', 'label.pdf', '1.4.2', '19.5'];
    for (const word of words) assert.ok(text.includes(word), `${channel}: ${word}`);
  }
});

test('a text keeps the letters of names and the whole link', async () => {
  for (const name of ['M\u00fcller & S\u00f6hne', '\u5c71\u7530\u592a\u90ce', '\u0418\u0432\u0430\u043d']) {
    const approval = await gate.ask({ payload: { to: name }, metadata: { every_channel: 'yes' } });
    const text = (await gate.messages(approval, 3)).find(({ channel }) => channel === 'sms');
    assert.ok(text.text.includes(name) && text.text.includes(text.url) && !text.text.includes('?'), text.text);
  }
});
