import type { IDataObject } from 'n8n-workflow';

import { holdsToken, isApproval, isApprovalText, isTokenClaims } from './traces';

/*
 * What reviewers see of an item when the builder does not pick the fields.
 *
 * They must not see what was never meant for them: the token of an earlier approval, the headers of a webhook, a key.
 */

/** Names of fields that hold what lets somebody in; upper and lower case, `-` and `_` make no difference. */
const SECRET_NAMES = new Set([
	'accesstoken',
	'apikey',
	'apisecret',
	'apitoken',
	'auth',
	'authorization',
	'authtoken',
	'bearertoken',
	'clientsecret',
	'cookie',
	'cookies',
	'credentials',
	'idtoken',
	'jwt',
	'passphrase',
	'passwd',
	'password',
	'privatekey',
	'proxyauthorization',
	'refreshtoken',
	'secret',
	'secretkey',
	'sessionid',
	'sessiontoken',
	'setcookie',
	'token',
]);

/** Endings that make a name such as `x-api-key` or `stripe_api_key` one of the above. */
const SECRET_ENDINGS = [
	'accesstoken',
	'apikey',
	'authorization',
	'authtoken',
	'csrftoken',
	'password',
	'privatekey',
	'secretkey',
];

/** An item without what reviewers should not see, and the names of what was left out. */
export interface Cleaned {
	payload: IDataObject;
	leftOut: string[];
	/** Whether something of an earlier Placet step was among it. */
	ofPlacet: boolean;
}

export function cleaned(item: IDataObject): Cleaned {
	const found: Cleaned = { payload: {}, leftOut: [], ofPlacet: false };
	const body = isWebhookItem(item) ? bodyAlone(item, found) : item;
	found.payload = objectWithout(isObject(body) ? body : ({ body } as IDataObject), found);
	found.leftOut = [...new Set(found.leftOut)];
	return found;
}

/** A webhook's item is recognised by the four parts that n8n always gives it. */
function isWebhookItem(item: IDataObject): boolean {
	return ['headers', 'params', 'query', 'body'].every((name) => Object.hasOwn(item, name));
}

/** The body of a webhook's item; fields that other steps have added to it stay beside it. */
function bodyAlone(item: IDataObject, found: Cleaned): unknown {
	const { headers, params, query, webhookUrl, executionMode, body, ...added } = item;
	for (const [name, value] of Object.entries({ headers, params, query })) {
		if (isObject(value) && Object.keys(value).length > 0) found.leftOut.push(name);
	}
	void webhookUrl;
	void executionMode;
	return Object.keys(added).length > 0 || !isObject(body) ? { ...added, body } : body;
}

function valueWithout(value: unknown, found: Cleaned): unknown {
	if (Array.isArray(value)) {
		return value
			.filter((one, place) => !isTrace(one, `[${place}]`, found))
			.map((one) => valueWithout(one, found));
	}
	if (!isObject(value)) return value;
	if (isWebhookItem(value)) {
		const body = bodyAlone(value, found);
		return isObject(body) ? objectWithout(body, found) : valueWithout(body, found);
	}
	return objectWithout(value, found);
}

function objectWithout(object: IDataObject, found: Cleaned): IDataObject {
	if (isApproval(object) || isTokenClaims(object)) {
		// The item itself is an approval, as Request Approval and the trigger put it out.
		found.ofPlacet = true;
		found.leftOut.push('the approval');
		return {};
	}
	const traces = Object.entries(object).filter(([name, value]) => isTrace(value, name, found));
	const names = new Set(traces.map(([name]) => name));
	if (names.has('placet') || Object.hasOwn(object, 'placet')) names.add('approved');
	// On the error output the approval is in `details`, and the sentence about it in `error`.
	if (names.has('details')) names.add('error');
	const kept = Object.entries(object).filter(([name]) => {
		if (names.has(name)) return false;
		if (!isSecretName(name)) return true;
		found.leftOut.push(name);
		return false;
	});
	return Object.fromEntries(
		kept.map(([name, value]) => [name, valueWithout(value, found)]),
	) as IDataObject;
}

/** Whether a value is what a Placet step added, whatever it is called by now. */
function isTrace(value: unknown, name: string, found: Cleaned): boolean {
	const trace =
		typeof value === 'string'
			? holdsToken(value) || isApprovalText(value)
			: isApproval(value) || isTokenClaims(value);
	if (trace) {
		found.ofPlacet = true;
		found.leftOut.push(name);
	}
	return trace;
}

function isSecretName(name: string): boolean {
	const plain = name.toLowerCase().replace(/[^a-z0-9]/g, '');
	return SECRET_NAMES.has(plain) || SECRET_ENDINGS.some((ending) => plain.endsWith(ending));
}

function isObject(value: unknown): value is IDataObject {
	return typeof value === 'object' && value !== null && !Array.isArray(value) && isPlain(value);
}

/** Dates and the like are values, which JSON knows how to write. */
function isPlain(value: object): boolean {
	return typeof (value as { toJSON?: unknown }).toJSON !== 'function';
}
