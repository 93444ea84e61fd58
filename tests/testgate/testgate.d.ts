// What testgate.js exports, for the suites in TypeScript.

export declare const BINARY: string;

export interface Message {
  event: 'notified';
  message_id: string;
  approval_id: string;
  stage: number;
  reviewer: string;
  channel: string;
  subject: string;
  text: string;
  url: string;
}

export declare class TestGate {
  readonly url: string;
  readonly data: string;
  readonly pid: number;
  readonly secrets: Record<string, string>;
  static start(options?: {
    text?: string | undefined;
    data?: string | undefined;
    listen?: string | undefined;
  }): Promise<TestGate>;
  restart(): Promise<void>;
  ask(command: string, fields?: Record<string, unknown>): Promise<Record<string, unknown>>;
  secret(client: string): string;
  told(event: 'notified', fields?: Partial<Message>): Message[];
  told(event: 'queued' | 'alert', fields?: Record<string, unknown>): Record<string, unknown>[];
  message(approvalId: string, reviewer?: string): Promise<Message>;
  link(approvalId: string, reviewer?: string): Promise<string>;
  here(url: string): string;
  vote(approvalId: string, decision: 'approve' | 'reject', reviewer?: string, reason?: string): Promise<Response>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

export declare function policy(own?: string): string;
export declare function clean(): Record<string, string>;
export declare function until<Found>(
  what: string,
  find: () => Found | undefined | Promise<Found | undefined>,
  seconds?: number,
): Promise<Found>;
