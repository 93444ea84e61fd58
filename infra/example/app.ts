/**
 * A gate with a domain of its own, whose alerts also go to a pager, and whose backup queue another system reads.
 * Deploy it with `cdk deploy -c domain=gate.example.com -c zone=example.com -c pager=https://…`, after `sam build`.
 */
import { App, Stack, Validations } from 'aws-cdk-lib';
import { Certificate, CertificateValidation } from 'aws-cdk-lib/aws-certificatemanager';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { HostedZone } from 'aws-cdk-lib/aws-route53';
import { UrlSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import { AwsSolutionsChecks } from 'cdk-nag';
import { PlacetGate, type GateDomain } from 'placet-cdk';

const app = new App();
const stack = new Stack(app, 'placet', { description: 'Placet, a human-approval gate for AI-powered workflows.' });

const gate = new PlacetGate(stack, 'Gate', {
  code: context('functions') ?? '../target/lambda',
  ...optional('alertEmail', context('alertEmail')),
  ...optional('domain', domain()),
});

const pager = context('pager');
if (pager !== undefined) gate.alertTopic.addSubscription(new UrlSubscription(pager));

// A connector that files tickets for what nobody answered, and posts the answer to `/v1/requests/…/decision`.
if (context('connector') !== undefined) {
  gate.backupQueue.grantConsumeMessages(
    new Role(stack, 'Connector', { assumedBy: new ServicePrincipal('ecs-tasks.amazonaws.com') }),
  );
}

Validations.of(app).addPlugins(new AwsSolutionsChecks(app));

function domain(): GateDomain | undefined {
  const name = context('domain');
  const zoneName = context('zone');
  if (name === undefined || zoneName === undefined) return undefined;
  const hostedZone = new HostedZone(stack, 'Zone', { zoneName });
  const certificate = new Certificate(stack, 'Certificate', {
    domainName: name,
    validation: CertificateValidation.fromDns(hostedZone),
  });
  return { name, certificate, hostedZone };
}

function context(name: string): string | undefined {
  const value: unknown = app.node.tryGetContext(name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function optional<K extends string, V>(name: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { [key in K]?: V });
}
