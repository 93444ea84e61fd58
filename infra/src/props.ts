/**
 * What can be set, and the value of each of the template's parameters for it.
 *
 * Every parameter gets a value at synth, so that a stack has none left: CloudFormation would keep an old value of a
 * parameter although the code says another by now.
 */
import { Duration, Token } from 'aws-cdk-lib';
import type { ICertificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Architecture } from 'aws-cdk-lib/aws-lambda';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import type { IHostedZone } from 'aws-cdk-lib/aws-route53';

/** The least important level that the functions log. */
export type LogLevel = 'error' | 'warn' | 'info';

/** A host name of your own for the gate. */
export interface GateDomain {
  /** Such as `gate.example.com`. Must be known at synth. */
  readonly name: string;
  /** Its certificate, in the stack's region. */
  readonly certificate: ICertificate;
  /**
   * The zone that gets the record.
   *
   * @default - you make it: the stack's output `DomainTarget` says where it must point to
   */
  readonly hostedZone?: IHostedZone;
}

/** How many calls the API lets through before it answers 429. */
export interface Throttle {
  /** Calls a second, for longer. */
  readonly rate: number;
  /** Calls at once. */
  readonly burst: number;
}

/** Executions of the functions. */
export interface Concurrency {
  /** Reserved for clients' calls, waiting ones included. */
  readonly request?: number;
  /** Reserved for reviewers' calls: waiting clients cannot take these. */
  readonly decide?: number;
  /** Batches of deadlines and messages at once, from 2. */
  readonly sweep?: number;
}

/** How a gate is set up. */
export interface PlacetGateProps {
  /**
   * The folder with the built functions: one folder each (`request`, `decide`, `timeout-sweep`, `rotate-secret`) with
   * a `bootstrap` in it. `sam build` and `cargo lambda build` leave them in `target/lambda`.
   */
  readonly code: string;
  /**
   * Where alerts are mailed to. AWS asks this address to confirm.
   *
   * @default - nobody; subscribe to `alertTopic`
   */
  readonly alertEmail?: string;
  /**
   * The address that reviewers' mails are from, sent by Amazon SES. The stack's outputs say what to put into the DNS of
   * its domain.
   *
   * @default - mail goes by SNS, which is for a first try
   */
  readonly mailFrom?: string;
  /**
   * Whether the domain of `mailFrom` is new to Amazon SES in this region. `existing`: it is verified there already.
   *
   * @default 'new'
   */
  readonly mailIdentity?: 'new' | 'existing';
  /**
   * What text messages show as their sender, in countries that allow it: 1 to 11 letters and digits.
   *
   * @default - what AWS chooses
   */
  readonly smsSenderId?: string;
  /** @default - the API's own URL */
  readonly domain?: GateDomain;
  /**
   * What links say, if something of yours stands in front of the API, such as CloudFront with a firewall. Without a
   * path, and without a slash at its end.
   *
   * @default - the domain, or the API's own URL
   */
  readonly publicUrl?: string;
  /**
   * What stands in front of the API sends this with every call, as the header `X-Placet-Origin`; calls without it are
   * refused. 32 to 128 of `A-Za-z0-9_-`, or a token.
   *
   * @default - calls are taken from everywhere
   */
  readonly originSecret?: string;
  /**
   * How long a request is kept after its end. Whole days.
   *
   * @default Duration.days(90)
   */
  readonly requestRetention?: Duration;
  /**
   * How long the audit trail is kept. Whole days.
   *
   * @default Duration.days(2557) - seven years
   */
  readonly auditRetention?: Duration;
  /**
   * How long logs are kept.
   *
   * @default RetentionDays.THREE_MONTHS
   */
  readonly logRetention?: Exclude<RetentionDays, RetentionDays.INFINITE>;
  /**
   * Whether DynamoDB refuses to delete the tables. A first deployment that fails could not be rolled back with it, so
   * switch it on afterwards.
   *
   * @default false
   */
  readonly deletionProtection?: boolean;
  /**
   * What the functions were built for.
   *
   * @default Architecture.ARM_64
   */
  readonly architecture?: Architecture;
  /**
   * Memory of each function but `request` in MB. Lambda gives processor time in proportion.
   *
   * @default 256
   */
  readonly memorySize?: number;
  /**
   * Memory of the function `request` in MB. Clients that wait keep it, and pay for its memory by the second.
   *
   * @default 128
   */
  readonly requestMemorySize?: number;
  /** @default 'info' */
  readonly logLevel?: LogLevel;
  /**
   * Whether AWS X-Ray traces the functions.
   *
   * @default false
   */
  readonly tracing?: boolean;
  /** @default { rate: 50, burst: 100 } */
  readonly throttle?: Throttle;
  /**
   * How many executions are reserved for clients' calls and for reviewers', and how many batches of messages are worked
   * on at once.
   *
   * @default { sweep: 5 } - clients and reviewers share what the account allows
   */
  readonly concurrency?: Concurrency;
  /**
   * What CloudWatch watches over: `essential` is what the gate cannot tell itself, `on` more, at 0.10 USD a month each.
   *
   * @default 'essential'
   */
  readonly alarms?: 'on' | 'essential' | 'off';
  /**
   * Whether there is a dashboard, which costs more than all else of an idle gate.
   *
   * @default false
   */
  readonly dashboard?: boolean;
  /**
   * Whether the functions call AWS by its FIPS 140 endpoints.
   *
   * @default false
   */
  readonly fipsEndpoints?: boolean;
  /**
   * Whose certificates the functions trust on the way to AWS: Amazon's own, or those of Amazon Linux, as `aws-cn` needs.
   *
   * @default 'amazon'
   */
  readonly tlsRoots?: 'amazon' | 'system';
  /**
   * Whether the keys are rotated every 90 days. Rotation breaks no link and no token that is out.
   *
   * @default true
   */
  readonly secretRotation?: boolean;
  /**
   * Another region that keeps a copy of the keys, for when this one is lost.
   *
   * @default - none
   */
  readonly secretReplicaRegion?: string;
}

/** A text that the template would check as a parameter, and no longer can. */
interface Pattern {
  readonly allowed: RegExp;
  readonly says: string;
}

const ALERT_EMAIL: Pattern = { allowed: /^[^@\s]+@[^@\s]+$/, says: 'an email address' };
const MAIL_FROM: Pattern = {
  allowed: /^[A-Za-z0-9._%+-]{1,64}@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$/,
  says: 'an email address whose domain is in lower case',
};
const SMS_SENDER_ID: Pattern = { allowed: /^[A-Za-z0-9]{1,11}$/, says: '1 to 11 letters and digits' };
const DOMAIN_NAME: Pattern = {
  allowed: /^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$/,
  says: 'a host name in lower case',
};
const PUBLIC_URL: Pattern = {
  allowed: /^https?:\/\/[^/\s]+$/,
  says: 'a URL without a path and without a slash at its end',
};

const REGION: Pattern = { allowed: /^[a-z]{2}(-[a-z]+)+-[0-9]$/, says: 'the name of a region' };

const ORIGIN_SECRET: Pattern = { allowed: /^[A-Za-z0-9_-]{32,128}$/, says: '32 to 128 of `A-Za-z0-9_-`' };

/** The value of each parameter of the template. */
export function parametersOf(props: PlacetGateProps): Record<string, string | number> {
  if (Token.isUnresolved(props.domain?.name)) {
    throw new Error('`domain.name` must be known at synth: links and conditions depend on it');
  }
  return {
    AlertEmail: text('alertEmail', props.alertEmail, ALERT_EMAIL),
    MailFrom: text('mailFrom', props.mailFrom, MAIL_FROM),
    MailIdentity: props.mailIdentity ?? 'new',
    SmsSenderId: text('smsSenderId', props.smsSenderId, SMS_SENDER_ID),
    DomainName: text('domain.name', props.domain?.name, DOMAIN_NAME),
    CertificateArn: props.domain?.certificate.certificateArn ?? '',
    HostedZoneId: props.domain?.hostedZone?.hostedZoneId ?? '',
    PublicUrl: text('publicUrl', props.publicUrl, PUBLIC_URL),
    OriginSecret: secret('originSecret', props.originSecret, ORIGIN_SECRET),
    RequestRetentionDays: days('requestRetention', props.requestRetention ?? Duration.days(90)),
    AuditRetentionDays: days('auditRetention', props.auditRetention ?? Duration.days(2557)),
    LogRetentionDays: props.logRetention ?? RetentionDays.THREE_MONTHS,
    DeletionProtection: props.deletionProtection === true ? 'on' : 'off',
    Architecture: (props.architecture ?? Architecture.ARM_64).name,
    MemorySize: props.memorySize ?? 256,
    RequestMemorySize: props.requestMemorySize ?? 128,
    LogLevel: props.logLevel ?? 'info',
    Tracing: props.tracing === true ? 'on' : 'off',
    ThrottleRate: props.throttle?.rate ?? 50,
    ThrottleBurst: props.throttle?.burst ?? 100,
    RequestConcurrency: props.concurrency?.request ?? 0,
    DecideConcurrency: props.concurrency?.decide ?? 0,
    SweepConcurrency: props.concurrency?.sweep ?? 5,
    Alarms: props.alarms ?? 'essential',
    ShowDashboard: props.dashboard === true ? 'on' : 'off',
    FipsEndpoints: props.fipsEndpoints === true ? 'on' : 'off',
    TlsRoots: props.tlsRoots ?? 'amazon',
    SecretRotation: props.secretRotation === false ? 'off' : 'on',
    SecretReplicaRegion: text('secretReplicaRegion', props.secretReplicaRegion, REGION),
  };
}

function text(name: string, value: string | undefined, pattern: Pattern): string {
  if (value === undefined) return '';
  if (!Token.isUnresolved(value) && !pattern.allowed.test(value)) {
    throw new Error(`\`${name}\` must be ${pattern.says}, not \`${value}\``);
  }
  return value;
}

/** As `text`, without telling the value. */
function secret(name: string, value: string | undefined, pattern: Pattern): string {
  if (value === undefined) return '';
  if (!Token.isUnresolved(value) && !pattern.allowed.test(value)) {
    throw new Error(`\`${name}\` must be ${pattern.says}`);
  }
  return value;
}

function days(name: string, value: Duration): number {
  const count = value.toDays({ integral: false });
  if (!Number.isInteger(count) || count < 1) throw new Error(`\`${name}\` must be whole days, at least one`);
  return count;
}
