import { createHmac, timingSafeEqual } from 'node:crypto';

import type { IWebhookFunctions } from 'n8n-workflow';

import type { Approval } from './approval';
import type { Gate } from './gate';

/** Standard Webhooks: an older or younger message is not believed. */
const TOLERANCE_SECONDS = 300;

/** What the gate posts, once its signature is known to be good. */
export interface Callback {
	id: string;
	type: string;
	timestamp: string;
	approval: Approval;
}

/** Why a message is not believed. Goes to whoever sent it, so it gives nothing away. */
export class NotBelieved extends Error {}

/**
 * The message that came to a webhook, if the gate signed it.
 *
 * @throws NotBelieved when it is unsigned, wrongly signed, too old, or not what the gate sends
 */
export function authenticCallback(context: IWebhookFunctions, gate: Gate): Callback {
	const request = context.getRequestObject();
	const { clientSecret } = gate.credentials;
	const raw: unknown = request.rawBody;
	if (!Buffer.isBuffer(raw)) throw new NotBelieved('there is no body');
	const id = verifiedId(
		String(clientSecret ?? '').trim(),
		context.getHeaderData(),
		raw,
		Date.now(),
	);
	const body = parsed(raw);
	const approval = body?.data;
	if (typeof body?.type !== 'string' || typeof approval?.approval_id !== 'string') {
		throw new NotBelieved('the body is not an approval');
	}
	return { id, type: body.type, timestamp: String(body.timestamp), approval };
}

interface Body {
	type?: unknown;
	timestamp?: unknown;
	data?: Approval;
}

function parsed(raw: Buffer): Body | null | undefined {
	try {
		return JSON.parse(raw.toString('utf8')) as Body | null;
	} catch {
		return undefined;
	}
}

/** The message's id, if one of its signatures is the secret's (Standard Webhooks, symmetric). */
export function verifiedId(
	secret: string,
	headers: Record<string, unknown>,
	body: Buffer,
	nowMs: number,
): string {
	const id = text(headers['webhook-id']);
	const timestamp = text(headers['webhook-timestamp']);
	const signatures = text(headers['webhook-signature']);
	const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
	// An empty key would verify what anybody signs.
	if (key.length < 16) throw new NotBelieved('the credential has no usable secret');
	if (!/^\d{1,12}$/.test(timestamp)) throw new NotBelieved('the message is not signed');
	if (Math.abs(nowMs / 1000 - Number(timestamp)) > TOLERANCE_SECONDS) {
		throw new NotBelieved('the message is too old');
	}
	const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
	const good = signatures.split(' ').some((signature) => {
		const [version, value] = signature.split(',');
		if (version !== 'v1' || value === undefined) return false;
		const given = Buffer.from(value, 'base64');
		return given.length === expected.length && timingSafeEqual(given, expected);
	});
	if (!good) throw new NotBelieved('the signature is not the gate’s');
	return id;
}

function text(header: unknown): string {
	if (typeof header !== 'string') throw new NotBelieved('the message is not signed');
	return header;
}
