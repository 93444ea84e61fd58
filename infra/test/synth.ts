/** Gates in apps of their own, and what becomes of them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { PlacetGate, type PlacetGateProps } from 'placet-cdk';

const folder = mkdtempSync(join(tmpdir(), 'placet-cdk-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A folder for what a test writes, gone after the tests. */
export function newFolder(name: string): string {
  return mkdtempSync(join(folder, `${name}-`));
}

/** Something that can be taken for the built functions: only their digests matter to a synth. */
export function builtFunctions(): string {
  const built = newFolder('functions');
  for (const bin of ['request', 'decide', 'timeout-sweep', 'rotate-secret']) {
    mkdirSync(join(built, bin));
    writeFileSync(join(built, bin, 'bootstrap'), bin);
  }
  return built;
}

export const FUNCTIONS = builtFunctions();

export interface Made {
  readonly app: App;
  readonly stack: Stack;
  readonly gate: PlacetGate;
}

type Settings = Omit<PlacetGateProps, 'code'>;

/** A gate. `settings` may need the stack, for a certificate or a zone. */
export function make(settings: Settings | ((stack: Stack) => Settings) = {}): Made {
  const app = new App({ outdir: newFolder('out') });
  const stack = new Stack(app, 'placet');
  const own = typeof settings === 'function' ? settings(stack) : settings;
  return { app, stack, gate: new PlacetGate(stack, 'Gate', { code: FUNCTIONS, ...own }) };
}

/** The template that CloudFormation would get, as plain JSON. */
export function templateOf({ stack }: Made): Json {
  return Template.fromStack(stack).toJSON() as Json;
}

export type Json = { [key: string]: any };

export interface Finding {
  readonly rule: string;
  readonly construct: string;
}

/** What a plugin found, whether or not the synth failed for it. */
export function findingsOf(app: App, plugin: string): Finding[] {
  try {
    app.synth();
  } catch (error) {
    if (!String(error).includes('Validation failed')) throw error;
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')) as Json;
  const mine = report['pluginReports'].find((each: Json) => each['pluginName'] === plugin);
  if (mine === undefined) throw new Error(`\`${plugin}\` did not report`);
  return mine['violations'].flatMap((violation: Json) =>
    violation['violatingConstructs'].map((construct: Json) => ({
      rule: violation['ruleName'],
      construct: construct['constructPath'],
    })),
  );
}
