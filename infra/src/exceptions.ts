/**
 * Findings of CDK's validations that are as they should be, each with its reason. cdk-nag, if an app uses it, takes
 * them from here; what is not listed is a fault.
 */
import { Stack, Validations } from 'aws-cdk-lib';
import type { CfnInclude } from 'aws-cdk-lib/cloudformation-include';

interface Exception {
  readonly resources: readonly string[];
  readonly id: string;
  readonly reason: string;
}

const EXCEPTIONS: readonly Exception[] = [
  {
    resources: [
      'DefaultRoute',
      'McpRoute',
      'ReportRoute',
      'ReviewRoute',
      'ReviewGluedRoute',
      'InboxRoute',
      'InboxGluedRoute',
      'SlackRoute',
      'TelegramRoute',
      'WorkerRoute',
      'SmallIconRoute',
      'LargeIconRoute',
    ],
    id: 'AwsSolutions::AwsSolutions-APIG4',
    reason:
      "The functions check the caller: a client's or a chat's signature, a reviewer's link. Health, keys and contract are public.",
  },
  {
    resources: ['ChannelsSecret'],
    id: 'AwsSolutions::AwsSolutions-SMG4',
    reason: 'It holds tokens that Slack, Telegram and PagerDuty have made: only their own pages can rotate them.',
  },
  {
    resources: ['DeadlineDeadLetterQueue', 'BackupDeadLetterQueue', 'InvocationDeadLetterQueue'],
    id: 'AwsSolutions::AwsSolutions-SQS3',
    reason: 'It is a dead-letter queue itself, with an alarm on its depth.',
  },
];

/** Acknowledges them, for this template alone. */
export function acknowledgeExceptions(template: CfnInclude): void {
  for (const { resources, id, reason } of EXCEPTIONS) {
    for (const resource of resources) Validations.of(template.getResource(resource)).acknowledge({ id, reason });
  }
  // Of conditions that compare constants, look alike, always hold or exclude each other. These are reported for the stack
  // as a whole.
  for (const rule of ['W1028', 'W2503', 'W8003', 'W9053']) {
    Validations.of(Stack.of(template)).acknowledge({
      id: `CloudFormation-Validate::${rule}`,
      reason: "The gate's props settle the conditions of its template at synth.",
    });
  }
}
