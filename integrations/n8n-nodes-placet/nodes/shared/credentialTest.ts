import type {
	ICredentialDataDecryptedObject,
	ICredentialsDecrypted,
	ICredentialTestFunctions,
	IDataObject,
	IHttpRequestOptions,
	INodeCredentialTestResult,
} from 'n8n-workflow';

import { gateAddress, signed } from '../../credentials/signature';

const TIMEOUT_MS = 15_000;
/** As far as the gate lets a client's clock go. */
const SKEW_SECONDS = 300;

/**
 * Says which of URL, client ID, secret, clock, role and callback host is wrong.
 *
 * It asks nobody anything: its one question is without a message and a payload, so that the gate refuses it and lists
 * all that is wrong with it, the address of this n8n included if the gate may not call that.
 */
export async function testPlacetApi(
	this: ICredentialTestFunctions,
	credential: ICredentialsDecrypted<ICredentialDataDecryptedObject>,
): Promise<INodeCredentialTestResult> {
	const data = credential.data ?? {};
	try {
		const fault = faultInFields(data);
		return fault === undefined ? await triedAtGate(this, data) : wrong(fault);
	} catch (error) {
		return { status: 'Error', message: error instanceof Error ? error.message : String(error) };
	}
}

function wrong(message: string): INodeCredentialTestResult {
	return { status: 'Error', message };
}

function good(message: string): INodeCredentialTestResult {
	return { status: 'OK', message };
}

function faultInFields(data: ICredentialDataDecryptedObject): string | undefined {
	const address = gateAddress(data);
	if (address === '') return 'The Gate URL is empty';
	let url: URL;
	try {
		url = new URL(address);
	} catch {
		return 'The Gate URL is not an address: it should be such as https://gate.example.com';
	}
	if (url.protocol !== 'https:' && url.protocol !== 'http:') {
		return 'The Gate URL must begin with https://';
	}
	if (url.search !== '' || url.hash !== '') {
		return 'The Gate URL must end with the host or a path, without "?" and "#"';
	}
	if (String(data.clientId ?? '').trim() === '') return 'The Client ID is empty';
	const secret = String(data.clientSecret ?? '').trim();
	if (!/^whsec_[0-9a-fA-F]{64}$/.test(secret)) {
		return 'The Client Secret is not one of a Placet gate: paste the last line that "placet client secret" prints, which begins with whsec_';
	}
	return undefined;
}

async function triedAtGate(
	context: ICredentialTestFunctions,
	data: ICredentialDataDecryptedObject,
): Promise<INodeCredentialTestResult> {
	const health = await sent(context, { method: 'GET', url: `${gateAddress(data)}/openapi.json` });
	if (health === undefined) {
		return wrong(
			`Nothing answers at the Gate URL ${gateAddress(data)}: check the address, and that the gate is running`,
		);
	}
	const info = health.body.info as IDataObject | undefined;
	const paths = health.body.paths as IDataObject | undefined;
	if (health.status !== 200 || typeof info?.title !== 'string' || !paths?.['/v1/requests']) {
		return wrong(
			`What answers at the Gate URL ${gateAddress(data)} is not a Placet gate (HTTP status ${health.status}): check host, port and path`,
		);
	}
	const clock = faultInClock(health.date);
	if (clock !== undefined) return wrong(clock);

	const question: IDataObject = {
		request_id: 'credential-test',
		callback_url: String(data.callbackAddress ?? ''),
	};
	const answer = await asked(context, data, '/v1/requests', question);
	// A client that may not ask can still be of use, in other nodes.
	if (answer?.body.code === 'forbidden') return await triedWithoutAsking(context, data);
	const fault = faultInAnswer(answer, data);
	return fault === undefined
		? good('The gate knows this client and may call this n8n')
		: wrong(fault);
}

/**
 * What a client without the role `requester` is good for.
 *
 * The gate looks at the role first and at the body then, so an empty body tells the role and does nothing.
 */
async function triedWithoutAsking(
	context: ICredentialTestFunctions,
	data: ICredentialDataDecryptedObject,
): Promise<INodeCredentialTestResult> {
	const client = String(data.clientId).trim();
	const hook = await asked(context, data, '/v1/hooks', {
		url: String(data.callbackAddress ?? ''),
		events: [],
	});
	if (hook?.body.code !== 'forbidden') {
		const fault = faultInAnswer(hook, data);
		return fault === undefined
			? good(
					`The client "${client}" is an auditor: the Placet Trigger hears of everybody's requests with it. It cannot ask.`,
				)
			: wrong(fault);
	}
	const decision = await asked(context, data, '/v1/requests/credential-test/decision', {});
	return decision?.body.code === 'forbidden'
		? good(
				`The client "${client}" is an executor: it can verify and redeem the tokens of clients that name it in "executors". It cannot ask.`,
			)
		: wrong(
				`The gate knows the client "${client}", but its policy entry lacks the role "requester": it answers for others, and the nodes here cannot use it`,
			);
}

async function asked(
	context: ICredentialTestFunctions,
	data: ICredentialDataDecryptedObject,
	url: string,
	body: IDataObject,
): Promise<Answer | undefined> {
	return await sent(context, signed(data, { method: 'POST', url, body }));
}

function faultInAnswer(
	answer: Answer | undefined,
	data: ICredentialDataDecryptedObject,
): string | undefined {
	if (answer === undefined) return 'The gate did not answer the signed question';
	const { status, body } = answer;
	const client = String(data.clientId).trim();
	switch (body.code) {
		case 'invalid_signature':
			return `The gate does not accept this client ID and secret: the secret is not the one of the client "${client}". Paste the last line of "placet client secret ${client}" anew.`;
		case 'unknown_client':
			return `The gate does not accept this client ID and secret: it knows no client "${client}". Correct the Client ID, or add it under [[clients]] in the policy.`;
		case 'clock_skew':
			return 'The clocks of n8n and of the gate are more than five minutes apart: set both by NTP';
		case 'no_policy':
			return 'The gate has no policy yet, so it knows no client';
		case 'invalid_request':
			return faultInCallback(body, data);
		default:
			return `The gate answered the test with HTTP status ${status}${typeof body.detail === 'string' ? `: ${body.detail}` : ''}`;
	}
}

/** The question is refused in any case; that its callback address is among the faults is the one that counts. */
function faultInCallback(
	body: IDataObject,
	data: ICredentialDataDecryptedObject,
): string | undefined {
	const faults = Array.isArray(body.errors) ? (body.errors as IDataObject[]) : [];
	const fault = faults.find(({ field }) => field === 'callback_url' || field === 'url');
	if (fault === undefined) return undefined;
	const address = String(data.callbackAddress ?? '');
	const host = URL.canParse(address) ? new URL(address).hostname : address;
	return `ID and secret are right, but the gate may not call this n8n back at ${host} (${String(fault.message)}): add "${host}" to "callback_hosts" of the client in the policy, or set WEBHOOK_URL of n8n to its public https address`;
}

function faultInClock(date: string | undefined): string | undefined {
	const seconds = Math.abs(Date.parse(date ?? '') - Date.now()) / 1000;
	// Not every proxy hands the header on.
	if (Number.isNaN(seconds) || seconds <= SKEW_SECONDS) return undefined;
	return `The clocks of n8n and of the gate are ${Math.round(seconds / 60)} minutes apart: set both by NTP`;
}

interface Answer {
	status: number;
	body: IDataObject;
	date: string | undefined;
}

/** One call; `undefined` when nothing answers. */
async function sent(
	context: ICredentialTestFunctions,
	{ method, url, headers, body }: IHttpRequestOptions,
): Promise<Answer | undefined> {
	try {
		const response = (await context.helpers.request({
			method,
			uri: url,
			headers: { Accept: 'application/json', ...headers },
			body,
			timeout: TIMEOUT_MS,
			followRedirect: false,
			followAllRedirects: false,
			simple: false,
			resolveWithFullResponse: true,
		})) as { statusCode: number; headers: Record<string, unknown>; body: unknown };
		const { date } = response.headers;
		return {
			status: response.statusCode,
			body: objectFrom(response.body),
			date: typeof date === 'string' ? date : undefined,
		};
	} catch {
		return undefined;
	}
}

function objectFrom(body: unknown): IDataObject {
	let value = body;
	if (typeof body === 'string') {
		try {
			value = JSON.parse(body);
		} catch {
			return {};
		}
	}
	return typeof value === 'object' && value !== null ? (value as IDataObject) : {};
}
