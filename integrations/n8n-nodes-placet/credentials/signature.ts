import { createHash, createHmac } from 'node:crypto';

import type {
	ICredentialDataDecryptedObject,
	IDataObject,
	IHttpRequestOptions,
} from 'n8n-workflow';

/** n8n's HTTP Request node still speaks an older dialect, with `uri`. */
type Options = Omit<IHttpRequestOptions, 'url'> & { url?: string; uri?: string };

/** The gate's address as the user gave it, without a slash at the end. */
export function gateAddress(credentials: ICredentialDataDecryptedObject): string {
	return String(credentials.url ?? '')
		.trim()
		.replace(/\/+$/, '');
}

/**
 * A request with Placet's signature in its headers.
 *
 * The signature covers method, path, query and body exactly as they are sent, so all of them are made
 * final here: the query is moved into the URL, and the body becomes a string.
 */
export function signed(
	credentials: ICredentialDataDecryptedObject,
	options: Options,
): IHttpRequestOptions {
	const gate = new URL(gateAddress(credentials));
	const url = finalUrl(options, gate);
	const prefix = gate.pathname.replace(/\/+$/, '');
	if (url.origin !== gate.origin || !url.pathname.startsWith(`${prefix}/`)) {
		// The HTTP Request node can borrow this credential. It must not sign for anybody else.
		throw new Error(`The Placet credential only works for ${gate.origin}${prefix}`);
	}
	const method = (options.method ?? 'GET').toUpperCase();
	const body = finalBody(options.body);
	const timestamp = Math.floor(Date.now() / 1000).toString();
	const secret = String(credentials.clientSecret ?? '').trim();
	const signatureOf = (path: string): string => {
		const digest = createHash('sha256').update(body).digest('hex');
		const text = ['placet-v1', timestamp, method, path, digest].join('\n');
		return `v1=${createHmac('sha256', secret).update(text).digest('hex')}`;
	};
	// A proxy in front of a gate behind a path may hand the path on or take it away: one of the two is what it sees.
	const paths = new Set([url.pathname, url.pathname.slice(prefix.length)]);
	const headers: IDataObject = {
		...options.headers,
		'X-Placet-Client': String(credentials.clientId ?? '').trim(),
		'X-Placet-Timestamp': timestamp,
		'X-Signature': [...paths].map((path) => signatureOf(path + url.search)).join(','),
	};
	const final: Options = { ...options, headers };
	// Exactly one of them, or n8n would take the other.
	if (options.url === undefined) final.uri = url.href;
	else final.url = url.href;
	delete final.baseURL;
	delete final.qs;
	delete final.body;
	if (body !== '') {
		final.body = body;
		headers['Content-Type'] = 'application/json';
	}
	return final as IHttpRequestOptions;
}

function finalUrl(options: Options, gate: URL): URL {
	const given = options.url ?? options.uri ?? '';
	const absolute = /^https?:\/\//i.test(given);
	const base = (options.baseURL?.trim() || gate.href).replace(/\/+$/, '');
	const url = new URL(absolute ? given : `${base}/${given.replace(/^\/+/, '')}`);
	for (const [name, value] of Object.entries(options.qs ?? {})) {
		if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
	}
	return url;
}

function finalBody(body: unknown): string {
	if (body === undefined || body === null || body === '') return '';
	if (typeof body === 'string') return body;
	return JSON.stringify(body);
}
