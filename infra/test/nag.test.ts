import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { App, Stack, Validations } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { AwsSolutionsChecks } from 'cdk-nag';
import type { PlacetGateProps } from 'placet-cdk';
import { findingsOf, make, newFolder } from './synth.js';

test('cdk-nag finds nothing in a gate that is not acknowledged with a reason', () => {
  const { app } = make({ alertEmail: 'ops@example.com', mailFrom: 'gate@example.com', tracing: true });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  assert.deepEqual(findingsOf(app, 'AwsSolutions'), []);
});

test('every exception still excuses something', () => {
  const app = new App({ outdir: newFolder('out') });
  new CfnInclude(new Stack(app, 'placet'), 'Template', { templateFile: join(__dirname, '..', '..', 'template.yaml') });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  const found = findingsOf(app, 'AwsSolutions').map(
    ({ rule, construct }) => `${rule} ${construct.replace('placet/Template/', '')}`,
  );
  assert.deepEqual(found.sort(), [
    'AwsSolutions-APIG4 DefaultRoute',
    'AwsSolutions-APIG4 InboxGluedRoute',
    'AwsSolutions-APIG4 InboxRoute',
    'AwsSolutions-APIG4 LargeIconRoute',
    'AwsSolutions-APIG4 McpRoute',
    'AwsSolutions-APIG4 ReportRoute',
    'AwsSolutions-APIG4 ReviewGluedRoute',
    'AwsSolutions-APIG4 ReviewRoute',
    'AwsSolutions-APIG4 SlackRoute',
    'AwsSolutions-APIG4 SmallIconRoute',
    'AwsSolutions-APIG4 TelegramRoute',
    'AwsSolutions-APIG4 WorkerRoute',
    'AwsSolutions-SMG4 ChannelsSecret',
    'AwsSolutions-SQS3 BackupDeadLetterQueue',
    'AwsSolutions-SQS3 DeadlineDeadLetterQueue',
    'AwsSolutions-SQS3 InvocationDeadLetterQueue',
  ]);
});

const ALL_SET: Omit<PlacetGateProps, 'code'> = {
  alertEmail: 'ops@example.com',
  mailFrom: 'gate@example.com',
  smsSenderId: 'Placet',
  publicUrl: 'https://gate.example.com',
  tracing: true,
  alarms: 'on',
  dashboard: true,
  secretRotation: false,
  secretReplicaRegion: 'eu-west-1',
};

for (const [what, settings] of [
  ['as it comes', {}],
  ['with everything set', ALL_SET],
] as const) {
  test(`a gate ${what} synthesizes without a warning`, () => {
    const { app } = make(settings);
    assert.deepEqual(findingsOf(app, 'CloudFormation Validate'), []);
  });
}
