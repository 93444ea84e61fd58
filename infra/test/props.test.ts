import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { App, Duration, Stack, Token } from 'aws-cdk-lib';
import { Certificate, CertificateValidation } from 'aws-cdk-lib/aws-certificatemanager';
import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { HostedZone } from 'aws-cdk-lib/aws-route53';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { PlacetGate, type PlacetGateProps } from 'placet-cdk';
import { FUNCTIONS, type Json, make, newFolder, templateOf } from './synth.js';

test('every prop lands where the template has its parameter', () => {
  const template = templateOf(
    make({
      alertEmail: 'ops@example.com',
      mailFrom: 'gate@example.com',
      mailIdentity: 'existing',
      smsSenderId: 'Placet',
      publicUrl: 'https://gate.example.com',
      originSecret: '0123456789abcdef0123456789abcdef',
      deletionProtection: true,
      concurrency: { request: 40, decide: 10, sweep: 3 },
      alarms: 'off',
      dashboard: true,
      requestRetention: Duration.days(30),
      auditRetention: Duration.days(365),
      logRetention: RetentionDays.ONE_WEEK,
      architecture: Architecture.X86_64,
      memorySize: 512,
      requestMemorySize: 192,
      logLevel: 'warn',
      tracing: true,
      throttle: { rate: 7, burst: 9 },
      secretRotation: false,
      secretReplicaRegion: 'eu-west-1',
    }),
  );
  const { Resources: resources, Conditions: conditions } = template;
  const globals = template['Globals'].Function;
  const sweep = resources.TimeoutSweepFunction.Properties.Environment.Variables;
  assert.deepEqual(
    {
      alertEmail: resources.AlertSubscription.Properties.Endpoint,
      mailFrom: sweep.PLACET_MAIL_FROM['Fn::If'][1],
      smsSenderId: sweep.PLACET_SMS_SENDER_ID['Fn::If'][1],
      publicUrl: sweep.PLACET_PUBLIC_URL['Fn::If'][1],
      requestRetention: globals.Environment.Variables.PLACET_REQUEST_RETENTION_DAYS,
      auditRetention: globals.Environment.Variables.PLACET_AUDIT_RETENTION_DAYS,
      logRetention: resources.RequestLog.Properties.RetentionInDays,
      architectures: globals.Architectures,
      memorySize: globals.MemorySize,
      requestMemorySize: resources.RequestFunction.Properties.MemorySize,
      logLevel: globals.Environment.Variables.PLACET_LOG,
      originSecret: resources.DecideFunction.Properties.Environment.Variables.PLACET_ORIGIN_SECRET['Fn::If'][1],
      requestConcurrency: resources.RequestFunction.Properties.ReservedConcurrentExecutions['Fn::If'][1],
      decideConcurrency: resources.DecideFunction.Properties.ReservedConcurrentExecutions['Fn::If'][1],
      sweepConcurrency: resources.TimeoutSweepFunction.Properties.Events.Deadlines.Properties.ScalingConfig,
      throttle: resources.ApiStage.Properties.DefaultRouteSettings,
      conditions: [
        'HasAlertEmail',
        'HasMailFrom',
        'MakesMailIdentity',
        'HasSmsSenderId',
        'HasPublicUrl',
        'HasDomain',
        'IsTraced',
        'IsRotated',
        'HasSecretReplica',
        'IsProtected',
        'IsWatched',
        'IsFullyWatched',
        'HasDashboard',
      ].map((name) => conditions[name]),
    },
    {
      alertEmail: 'ops@example.com',
      mailFrom: 'gate@example.com',
      smsSenderId: 'Placet',
      publicUrl: 'https://gate.example.com',
      requestRetention: 30,
      auditRetention: 365,
      logRetention: 7,
      architectures: ['x86_64'],
      memorySize: 512,
      requestMemorySize: 192,
      logLevel: 'warn',
      originSecret: '0123456789abcdef0123456789abcdef',
      requestConcurrency: 40,
      decideConcurrency: 10,
      sweepConcurrency: { MaximumConcurrency: 3 },
      throttle: { ThrottlingRateLimit: 7, ThrottlingBurstLimit: 9, DetailedMetricsEnabled: false },
      conditions: [
        { 'Fn::Not': [{ 'Fn::Equals': ['ops@example.com', ''] }] },
        { 'Fn::Not': [{ 'Fn::Equals': ['gate@example.com', ''] }] },
        { 'Fn::And': [{ Condition: 'HasMailFrom' }, { 'Fn::Equals': ['existing', 'new'] }] },
        { 'Fn::Not': [{ 'Fn::Equals': ['Placet', ''] }] },
        { 'Fn::Not': [{ 'Fn::Equals': ['https://gate.example.com', ''] }] },
        { 'Fn::Not': [{ 'Fn::Equals': ['', ''] }] },
        { 'Fn::Equals': ['on', 'on'] },
        { 'Fn::Equals': ['off', 'on'] },
        { 'Fn::Not': [{ 'Fn::Equals': ['eu-west-1', ''] }] },
        { 'Fn::Equals': ['on', 'on'] },
        { 'Fn::Not': [{ 'Fn::Equals': ['off', 'off'] }] },
        { 'Fn::Equals': ['off', 'on'] },
        { 'Fn::Equals': ['on', 'on'] },
      ],
    },
  );
});

test('no parameter of the template is left for CloudFormation to remember', () => {
  const { Parameters: parameters, Rules: rules } = templateOf(make());
  assert.deepEqual(Object.keys(parameters), ['BootstrapVersion']);
  assert.deepEqual(Object.keys(rules), ['CheckBootstrapVersion']);
});

test('a domain may come from a zone and a certificate of the same stack', () => {
  const template = templateOf(
    make((stack) => {
      const hostedZone = new HostedZone(stack, 'Zone', { zoneName: 'example.com' });
      const certificate = new Certificate(stack, 'Certificate', {
        domainName: 'gate.example.com',
        validation: CertificateValidation.fromDns(hostedZone),
      });
      return { domain: { name: 'gate.example.com', certificate, hostedZone } };
    }),
  );
  const { ApiDomain: domain, ApiDomainRecord: record, Api: api } = template['Resources'];
  const [configuration] = domain.Properties.DomainNameConfigurations;
  assert.match(configuration.CertificateArn.Ref, /^Certificate/);
  assert.match(record.Properties.HostedZoneId.Ref, /^Zone/);
  assert.deepEqual(api.Properties.DisableExecuteApiEndpoint, { 'Fn::If': ['HasDomain', true, false] });
  // CloudFormation refuses a condition that looks at a resource.
  const { CDKMetadataAvailable: _, ...conditions } = template['Conditions'];
  assert.doesNotMatch(JSON.stringify(conditions), /"Ref"|GetAtt/);
  assert.deepEqual(conditions.HasDomainRecord, { 'Fn::Equals': ['on', 'on'] });
});

test('a domain without a zone makes no record', () => {
  const template = templateOf(
    make((stack) => ({
      domain: {
        name: 'gate.example.com',
        certificate: Certificate.fromCertificateArn(stack, 'C', 'arn:aws:acm:eu-central-1:111122223333:certificate/c'),
      },
    })),
  );
  assert.deepEqual(template['Conditions'].HasDomainRecord, {
    'Fn::And': [{ Condition: 'HasDomain' }, { 'Fn::Not': [{ 'Fn::Equals': ['', ''] }] }],
  });
});

// The construct checks what the template's parameters would have checked, and no two of them may disagree.
const CHECKED: [
  parameter: string,
  props: (value: string) => Partial<PlacetGateProps>,
  good: string[],
  bad: string[],
][] = [
  ['AlertEmail', (alertEmail) => ({ alertEmail }), ['ops@example.com'], ['ops', 'a b@c', '@', 'a@b@c']],
  [
    'MailFrom',
    (mailFrom) => ({ mailFrom }),
    ['gate@example.com', 'a.b+c@x-y.example.com'],
    ['gate', 'gate@Example.com', 'Placet <gate@example.com>', 'gate@example', '@example.com', 'a b@example.com'],
  ],
  ['SmsSenderId', (smsSenderId) => ({ smsSenderId }), ['Placet', '0'], ['twelve-chars', 'TwelveLetter', 'a b']],
  [
    'DomainName',
    (name) => ({ domain: { name, certificate: CERTIFICATE } }),
    ['gate.example.com', 'a-b.io'],
    ['Gate.example.com', 'gate', '-a.com', 'a..com', 'https://a.com'],
  ],
  [
    'PublicUrl',
    (publicUrl) => ({ publicUrl }),
    ['https://gate.example.com', 'http://127.0.0.1:8080'],
    ['https://gate.example.com/', 'https://a.com/x', 'gate.example.com', 'ftp://a.com'],
  ],
  [
    'SecretReplicaRegion',
    (secretReplicaRegion) => ({ secretReplicaRegion }),
    ['eu-west-1', 'us-gov-west-1', 'ap-southeast-2'],
    ['eu-west', 'EU-WEST-1', 'eu-west-1a', 'eu_west_1'],
  ],
  [
    'OriginSecret',
    (originSecret) => ({ originSecret }),
    ['0123456789abcdef0123456789abcdef', '_-'.repeat(64)],
    ['short', 'a'.repeat(129), `${'a'.repeat(31)} `],
  ],
];
const CERTIFICATE = Certificate.fromCertificateArn(
  new Stack(),
  'C',
  'arn:aws:acm:eu-central-1:111122223333:certificate/c',
);

for (const [parameter, props, good, bad] of CHECKED) {
  test(`the construct and the template's ${parameter} take the same values`, () => {
    const template = new CfnInclude(new Stack(), 'Template', {
      templateFile: join(__dirname, '..', '..', 'template.yaml'),
    });
    const pattern = new RegExp(`^(?:${template.getParameter(parameter).allowedPattern})$`);
    const accepts = (value: string): boolean => {
      try {
        new PlacetGate(new Stack(), 'Gate', { code: FUNCTIONS, ...props(value) });
        return true;
      } catch (error) {
        assert.match(String(error), /must be /);
        return false;
      }
    };
    for (const value of good) assert.deepEqual([value, accepts(value), pattern.test(value)], [value, true, true]);
    for (const value of bad) assert.deepEqual([value, accepts(value), pattern.test(value)], [value, false, false]);
  });
}

const REFUSED: [what: string, props: Partial<PlacetGateProps>, says: RegExp][] = [
  ['a part of a day', { requestRetention: Duration.hours(36) }, /`requestRetention` must be whole days/],
  ['no day at all', { auditRetention: Duration.days(0) }, /`auditRetention` must be whole days/],
  [
    'a domain that is not known yet',
    { domain: { name: Token.asString({ Ref: 'X' }), certificate: CERTIFICATE } },
    /`domain.name` must be known at synth/,
  ],
  ['functions that are not built', { code: newFolder('empty') }, /has no `bootstrap`: build the functions first/],
];

for (const [what, props, says] of REFUSED) {
  test(`${what} is refused`, () => {
    assert.throws(() => new PlacetGate(new Stack(new App(), 'placet'), 'Gate', { code: FUNCTIONS, ...props }), says);
  });
}

test('each function gets its own code', () => {
  const resources: Json = templateOf(make())['Resources'];
  const keys = ['Request', 'Decide', 'TimeoutSweep', 'RotateSecret'].map(
    (name) => resources[`${name}Function`].Properties.CodeUri.Key,
  );
  assert.equal(new Set(keys).size, 4);
  for (const key of keys) assert.match(key, /^[0-9a-f]{64}\.zip$/);
});
