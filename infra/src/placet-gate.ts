/** The construct: the template as it is, with its functions' code as assets, and handles for what is in it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Fn } from 'aws-cdk-lib';
import { type ITable, Table } from 'aws-cdk-lib/aws-dynamodb';
import { Architecture, Function as LambdaFunction, type IFunction } from 'aws-cdk-lib/aws-lambda';
import { Asset } from 'aws-cdk-lib/aws-s3-assets';
import type { CfnFunction } from 'aws-cdk-lib/aws-sam';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { type IQueue, Queue } from 'aws-cdk-lib/aws-sqs';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { Construct } from 'constructs';
import { acknowledgeExceptions } from './exceptions.js';
import { type PlacetGateProps, parametersOf } from './props.js';

/** The template's parameters are settled at synth, by types: it has nothing left to check when it is deployed. */
const RULES_ON_PARAMETERS = ['DomainAndCertificate', 'CertificateAndDomain', 'HostedZoneAndDomain'];

/** The four functions. */
export interface PlacetFunctions {
  /** What clients call. */
  readonly request: IFunction;
  /** What reviewers' browsers call. */
  readonly decide: IFunction;
  /** Deadlines, letters and callbacks. */
  readonly timeoutSweep: IFunction;
  /** Rotates the keys. */
  readonly rotateSecret: IFunction;
}

/**
 * A human-approval gate for AI-powered workflows: an API, four functions, two tables, two secrets, queues, topics, alarms.
 *
 * One gate a stack: the template's logical ids are kept, and what it names, it names after the stack.
 */
export class PlacetGate extends Construct {
  /** What clients call, and what links begin with. */
  readonly url: string;
  /** Requests, messages, policies and counters. */
  readonly requestsTable: ITable;
  /** The audit trail. Nobody may update or delete what is in it. */
  readonly auditTable: ITable;
  /** The keys. */
  readonly keyring: ISecret;
  /** What Slack, Telegram and alerts need: whoever sets channels reads and writes it. */
  readonly channels: ISecret;
  /** Where reviewers' mails are published. */
  readonly emailTopic: ITopic;
  /** Alerts and alarms: subscribe whoever must hear of them. */
  readonly alertTopic: ITopic;
  /** Deadlines and outgoing messages. */
  readonly deadlineQueue: IQueue;
  /** Deadline messages that were given up. */
  readonly deadlineDeadLetterQueue: IQueue;
  /** What a heavyweight system reads requests from: let its role `grantConsumeMessages`. */
  readonly backupQueue: IQueue;
  /** What that system could not process. */
  readonly backupDeadLetterQueue: IQueue;
  /** Runs of timeout-sweep and rotate-secret that failed. */
  readonly invocationDeadLetterQueue: IQueue;
  /** The functions. */
  readonly functions: PlacetFunctions;
  /** The template itself, for what the props do not reach. */
  readonly template: CfnInclude;

  constructor(scope: Construct, id: string, props: PlacetGateProps) {
    super(scope, id);

    this.template = new CfnInclude(this, 'Template', {
      templateFile: join(__dirname, '..', 'template.yaml'),
      parameters: parametersOf(props),
    });
    for (const rule of RULES_ON_PARAMETERS) {
      const { scope: rules } = this.template.getRule(rule).node;
      rules?.node.tryRemoveChild(rule);
    }
    if (props.domain?.hostedZone !== undefined) {
      // Its id may be another resource's attribute, and a condition must not look at one.
      this.template.getCondition('HasDomainRecord').expression = Fn.conditionEquals('on', 'on');
    }

    const architecture = props.architecture ?? Architecture.ARM_64;
    this.functions = {
      request: this.function('Request', 'request', props.code, architecture),
      decide: this.function('Decide', 'decide', props.code, architecture),
      timeoutSweep: this.function('TimeoutSweep', 'timeout-sweep', props.code, architecture),
      rotateSecret: this.function('RotateSecret', 'rotate-secret', props.code, architecture),
    };

    this.url = String(this.template.getOutput('ApiUrl').value);
    this.requestsTable = Table.fromTableAttributes(this, 'Requests', {
      tableArn: this.attribute('RequestsTable', 'Arn'),
      globalIndexes: ['due', 'listed', 'pending'],
    });
    this.auditTable = Table.fromTableArn(this, 'Audit', this.attribute('AuditTable', 'Arn'));
    this.keyring = Secret.fromSecretCompleteArn(this, 'Keyring', this.template.getResource('KeyringSecret').ref);
    this.channels = Secret.fromSecretCompleteArn(this, 'Channels', this.template.getResource('ChannelsSecret').ref);
    this.emailTopic = Topic.fromTopicArn(this, 'Email', this.template.getResource('EmailTopic').ref);
    this.alertTopic = Topic.fromTopicArn(this, 'Alerts', this.template.getResource('AlertTopic').ref);
    this.deadlineQueue = this.queue('Deadlines', 'DeadlineQueue');
    this.deadlineDeadLetterQueue = this.queue('DeadlineDeadLetters', 'DeadlineDeadLetterQueue');
    this.backupQueue = this.queue('Backup', 'BackupQueue');
    this.backupDeadLetterQueue = this.queue('BackupDeadLetters', 'BackupDeadLetterQueue');
    this.invocationDeadLetterQueue = this.queue('InvocationDeadLetters', 'InvocationDeadLetterQueue');

    acknowledgeExceptions(this.template);
  }

  private function(name: string, bin: string, code: string, architecture: Architecture): IFunction {
    const path = join(code, bin);
    if (!existsSync(join(path, 'bootstrap'))) {
      throw new Error(`\`${path}\` has no \`bootstrap\`: build the functions first, and give \`code\` their folder`);
    }
    const asset = new Asset(this, `${name}Code`, { path });
    const resource = this.template.getResource(`${name}Function`) as CfnFunction;
    resource.codeUri = { bucket: asset.s3BucketName, key: asset.s3ObjectKey };
    return LambdaFunction.fromFunctionAttributes(this, name, {
      functionArn: this.attribute(`${name}Function`, 'Arn'),
      sameEnvironment: true,
      architecture,
    });
  }

  private queue(name: string, resource: string): IQueue {
    return Queue.fromQueueArn(this, name, this.attribute(resource, 'Arn'));
  }

  private attribute(resource: string, attribute: string): string {
    return this.template.getResource(resource).getAtt(attribute).toString();
  }
}
