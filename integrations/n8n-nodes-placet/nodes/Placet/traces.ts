/*
 * How to recognise what a Placet step has put out, when it has been renamed, nested or written into a text since.
 */

const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const APPROVAL_IN_TEXT = /"approval_id"\s*:\s*"[0-7][0-9A-HJKMNP-TV-Z]{25}"/;
/** A JWT: its header is JSON, so that it begins with `eyJ`. */
const JWT = /(eyJ[A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g;

/** Whether a text has a token of the gate in it. */
export function holdsToken(text: string): boolean {
	if (!text.includes('eyJ')) return false;
	for (const [, header = ''] of text.matchAll(JWT)) {
		// Text may stand directly before the token; the header then begins at a later `eyJ`.
		for (let at = 0; at >= 0; at = header.indexOf('eyJ', at + 1)) {
			if (isTokenHeader(header.slice(at))) return true;
		}
	}
	return false;
}

function isTokenHeader(encoded: string): boolean {
	try {
		const header = JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8')) as {
			typ?: unknown;
		} | null;
		return String(header?.typ).toLowerCase() === 'placet+jwt';
	} catch {
		return false;
	}
}

/** Whether a value is an approval as the gate shows it, whole or simplified. */
export function isApproval(value: unknown): boolean {
	return has(value, 'approval_id', ULID) && has(value, 'request_id') && has(value, 'status');
}

/** Whether a value is what a token says. */
export function isTokenClaims(value: unknown): boolean {
	return has(value, 'jti', ULID) && has(value, 'sub') && has(value, 'payload_sha256');
}

/** Whether a text is an approval written as JSON. */
export function isApprovalText(text: string): boolean {
	return APPROVAL_IN_TEXT.test(text);
}

function has(value: unknown, name: string, form = /[^]/): boolean {
	if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
	const field = (value as Record<string, unknown>)[name];
	return typeof field === 'string' && form.test(field);
}
