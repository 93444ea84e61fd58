// What goes to Zapier: the two zips of the platform's build, unpacked. Run by `tests/run zapier` after the build.
//
// PLACET_ZAPIER_BUILT and PLACET_ZAPIER_SOURCE name the folders; PLACET_ZAPIER_PLANTED is a secret that lay in a `.env` and
// in a `.zapierapprc` of the app's folder while it was built.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { test } from 'node:test';

function needed(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set`);
  return value;
}

const built = needed('PLACET_ZAPIER_BUILT');
const source = needed('PLACET_ZAPIER_SOURCE');
const planted = needed('PLACET_ZAPIER_PLANTED');

function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)).split(sep).join('/'))
    .sort();
}

test('the zip that runs holds the app, its entry point and its definition, and nothing else of ours', () => {
  const ours = filesOf(built).filter((name) => !name.startsWith('node_modules/'));
  const strange = ours.filter((name) => !/^dist\/[a-z_/]+\.js$/u.test(name) && !['definition.json', 'package.json', 'zapierwrapper.js'].includes(name));
  assert.deepEqual(strange, []);
  const compiled = filesOf(join(source, 'src')).map((name) => `dist/${name.replace(/\.ts$/u, '.js')}`);
  assert.deepEqual(ours.filter((name) => name.startsWith('dist/')), compiled);
});

test('no test, and nothing that is only for developing, is in the zip that runs', () => {
  const files = filesOf(built);
  assert.deepEqual(files.filter((name) => /\.test\.|(^|\/)tests?\/|\.tsx?$|\.map$/u.test(name)), []);
  // The platform's build takes the package.json of everything that is installed, and no more of what is not used.
  assert.deepEqual(files.filter((name) => /^node_modules\/(typescript|@types|zapier-platform-cli|node-linux)/u.test(name) && !name.endsWith('/package.json')), []);
});

test('no secret is in either zip', () => {
  for (const folder of [built, source]) {
    const files = filesOf(folder);
    assert.ok(files.length > 10, `${folder} is there`);
    assert.deepEqual(files.filter((name) => /(^|\/)(\.env|\.environment|\.zapierapprc)|\.pem$|\.key$|keyring/u.test(name)), []);
    for (const name of files) {
      const text = readFileSync(join(folder, name), 'latin1');
      assert.ok(!text.includes(planted), `${name} holds what was planted`);
      assert.ok(!/whsec_[A-Za-z0-9+/]{30}/u.test(text) || name.startsWith('test/'), `${name} holds a client secret`);
    }
  }
});

test('the definition in the zip is the one that is checked in', () => {
  const inZip: unknown = JSON.parse(readFileSync(join(built, 'definition.json'), 'utf8'));
  const checkedIn: unknown = JSON.parse(readFileSync(new URL('../../definition.json', import.meta.url), 'utf8'));
  assert.deepEqual(inZip, checkedIn);
});

test('the platform is pinned exactly, so that no build gets another one', () => {
  const { dependencies } = JSON.parse(readFileSync(join(built, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
  assert.deepEqual(dependencies, { 'zapier-platform-core': '19.1.0' });
});
