import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CfnOutput } from 'aws-cdk-lib';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { UrlSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { type Json, make, type Made, templateOf } from './synth.js';

/** What a role of the app may do after `grant`. */
function granted(grant: (made: Made, role: Role) => unknown): Json[] {
  const made = make();
  grant(made, new Role(made.stack, 'Connector', { assumedBy: new ServicePrincipal('ecs-tasks.amazonaws.com') }));
  const policies = Object.entries(templateOf(made)['Resources'] as Json).filter(([name]) =>
    name.startsWith('ConnectorDefaultPolicy'),
  );
  return policies.flatMap(([, policy]) => policy.Properties.PolicyDocument.Statement);
}

test('another system may be let to read the backup queue', () => {
  const [statement] = granted(({ gate }, role) => gate.backupQueue.grantConsumeMessages(role));
  assert.deepEqual(statement?.['Resource'], { 'Fn::GetAtt': ['BackupQueue', 'Arn'] });
  assert.ok(statement?.['Action'].includes('sqs:ReceiveMessage'));
});

test('a reader of the requests may use their indexes', () => {
  const statements = granted(({ gate }, role) => gate.requestsTable.grantReadData(role));
  const table = { 'Fn::GetAtt': ['RequestsTable', 'Arn'] };
  const query = statements.find((statement) => statement['Action'].includes('dynamodb:Query'));
  assert.deepEqual(query?.['Resource'], [table, { 'Fn::Join': ['', [table, '/index/*']] }]);
});

test('the secrets, the audit trail and the topics can be granted', () => {
  const statements = granted(({ gate }, role) => {
    gate.keyring.grantRead(role);
    gate.channels.grantWrite(role);
    gate.auditTable.grantReadData(role);
    gate.alertTopic.grantPublish(role);
    gate.emailTopic.grantPublish(role);
  });
  const text = JSON.stringify(statements.map((statement) => statement['Resource']));
  for (const name of ['KeyringSecret', 'ChannelsSecret', 'AuditTable', 'AlertTopic', 'EmailTopic'])
    assert.ok(text.includes(`"${name}"`), text);
});

test('each queue handle is its queue', () => {
  const { stack, gate } = make();
  const names = [
    'deadlineQueue',
    'deadlineDeadLetterQueue',
    'backupQueue',
    'backupDeadLetterQueue',
    'invocationDeadLetterQueue',
  ] as const;
  const arns = names.map((name) => stack.resolve(gate[name].queueArn));
  assert.deepEqual(
    arns,
    [
      'DeadlineQueue',
      'DeadlineDeadLetterQueue',
      'BackupQueue',
      'BackupDeadLetterQueue',
      'InvocationDeadLetterQueue',
    ].map((name) => ({
      'Fn::GetAtt': [name, 'Arn'],
    })),
  );
});

test('each function handle is its function', () => {
  const { stack, gate } = make();
  const arns = Object.values(gate.functions).map((each) => stack.resolve(each.functionArn));
  assert.deepEqual(
    arns,
    ['RequestFunction', 'DecideFunction', 'TimeoutSweepFunction', 'RotateSecretFunction'].map((name) => ({
      'Fn::GetAtt': [name, 'Arn'],
    })),
  );
});

test('a pager can be subscribed to the alerts', () => {
  const made = make();
  made.gate.alertTopic.addSubscription(new UrlSubscription('https://pager.example.com/placet'));
  const subscriptions = Object.values(templateOf(made)['Resources'] as Json).filter(
    (resource) => resource.Type === 'AWS::SNS::Subscription' && resource.Properties.Protocol === 'https',
  );
  assert.deepEqual(
    subscriptions.map((each) => each.Properties.TopicArn),
    [{ Ref: 'AlertTopic' }],
  );
});

test('the URL is what the stack says it is', () => {
  const made = make({ publicUrl: 'https://gate.example.com' });
  new CfnOutput(made.stack, 'Mine', { value: made.gate.url });
  const { ApiUrl: theirs, Mine: mine } = templateOf(made)['Outputs'];
  assert.deepEqual(mine.Value, theirs.Value);
  assert.equal(mine.Value['Fn::If'][1], 'https://gate.example.com');
});
