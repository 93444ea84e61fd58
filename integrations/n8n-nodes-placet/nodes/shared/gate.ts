import type {
	ICredentialDataDecryptedObject,
	IDataObject,
	IExecuteData,
	IExecuteFunctions,
	IHookFunctions,
	IHttpRequestMethods,
	IN8nHttpFullResponse,
	INodeExecutionData,
	IWebhookFunctions,
	JsonObject,
} from 'n8n-workflow';
import { NodeApiError, NodeOperationError, sleep } from 'n8n-workflow';

import { signed } from '../../credentials/signature';

export type GateContext = IExecuteFunctions | IHookFunctions | IWebhookFunctions;

/** A call may wait 25 s for an outcome at most; the rest is for the network. */
const TIMEOUT_MS = 40_000;

/** What n8n shows for the gate's stable codes. The gate's own sentence comes as the description. */
const WORDS: Record<string, string> = {
	already_decided: 'This request has ended already',
	already_redeemed: 'This token has been redeemed already',
	clock_skew: 'The clocks of n8n and of the gate are more than five minutes apart',
	forbidden: 'The gate does not allow this client to do that',
	invalid_request: 'The gate cannot take this request',
	invalid_signature: 'The gate does not accept the client secret of the Placet credential',
	no_policy: 'The gate has no policy yet, so it approves nothing',
	not_approved: 'This was not approved',
	not_found: 'The gate knows no such request',
	payload_mismatch: 'The payload is not the one that was approved',
	payload_too_large: 'The payload is larger than 64 KiB',
	rate_limited: 'This client asks too often, or has too many requests open',
	request_id_conflict: 'This request ID was used before, for another question',
	token_expired:
		'The approval was valid for a limited time ("valid_for" in the policy), and that is over: ask anew',
	unavailable: 'The gate cannot answer right now',
	unknown_client: 'The gate does not know the client ID of the Placet credential',
};

/** How long a step waits for a gate that says "later", for one call. */
const PATIENCE_MS = 15 * 60_000;

/** What n8n's context of a webhook holds besides what its type says. */
interface ResumedContext {
	executeData?: IExecuteData;
	_getCredentials?: (
		type: string,
		step: IExecuteData,
		items: INodeExecutionData[],
		index: number,
	) => Promise<ICredentialDataDecryptedObject>;
}

/**
 * The node's credential.
 *
 * A webhook reads it in a new sandbox, which takes longer than all else that it does. Where the webhook resumes a run, the
 * run's own sandbox is open already, and the credential is read there as a step of that run would read it.
 */
async function credentialOf(context: GateContext): Promise<ICredentialDataDecryptedObject> {
	const resumed = context as unknown as ResumedContext;
	const { executeData } = resumed;
	if (executeData && typeof resumed._getCredentials === 'function') {
		try {
			const items = executeData.data.main?.[0] ?? [];
			return await resumed._getCredentials('placetApi', executeData, items, 0);
		} catch {
			// Whatever it is, it is told below, or it was about the sandbox.
		}
	}
	return await context.getCredentials('placetApi');
}

/** How the credential is read; a caller may share one reading among several. */
export type ReadCredential = () => Promise<ICredentialDataDecryptedObject>;

/**
 * The gate that the node's credential names.
 *
 * The credential is read once and its signature made here, as for n8n's own requests: n8n opens a sandbox for every
 * reading, and a step with a hundred items makes hundreds of calls.
 */
export class Gate {
	private constructor(
		private readonly context: GateContext,
		readonly credentials: ICredentialDataDecryptedObject,
		/** Ends the waiting for a gate that says "later"; without it, nothing waits. */
		private readonly patient?: { stop: AbortSignal | undefined },
	) {}

	static async of(
		context: GateContext,
		through: (read: ReadCredential) => Promise<ICredentialDataDecryptedObject> = async (read) =>
			await read(),
	): Promise<Gate> {
		return new Gate(context, await through(async () => await credentialOf(context)));
	}

	/** For a step of a run: it waits when the gate says that this client asks too often. */
	static async patient(context: IExecuteFunctions): Promise<Gate> {
		const credentials = await context.getCredentials('placetApi');
		return new Gate(context, credentials, { stop: context.getExecutionCancelSignal() });
	}

	/** One signed call. Anything but a 2xx becomes a NodeApiError that says what to do. */
	async call<T extends IDataObject | undefined>(
		method: IHttpRequestMethods,
		path: string,
		body?: IDataObject,
	): Promise<T> {
		const giveUpAt = Date.now() + PATIENCE_MS;
		for (;;) {
			const response = await this.send(method, path, body);
			const answer = parsed(response.body);
			if (response.statusCode >= 200 && response.statusCode < 300) return answer as T;
			const pause = pauseMs(response);
			if (!this.patient || pause === undefined || Date.now() + pause > giveUpAt) {
				throw problem(this.context, response.statusCode, answer ?? {});
			}
			await pauseFor(pause, this.patient.stop);
			if (this.patient.stop?.aborted) {
				throw new NodeOperationError(this.context.getNode(), 'The run was stopped');
			}
		}
	}

	asNodeError(error: unknown): NodeApiError | NodeOperationError {
		return nodeError(this.context, error);
	}

	private async send(
		method: IHttpRequestMethods,
		path: string,
		body?: IDataObject,
	): Promise<IN8nHttpFullResponse> {
		const { context } = this;
		try {
			// Signed anew for each try: a signature is good for five minutes.
			const options = signed(this.credentials, {
				method,
				url: path,
				headers: { Accept: 'application/json' },
				body,
				timeout: TIMEOUT_MS,
				// A signature is for one address; whoever redirects it is not the gate.
				disableFollowRedirect: true,
				ignoreHttpStatusErrors: true,
				returnFullResponse: true,
			});
			return (await context.helpers.httpRequest(options)) as IN8nHttpFullResponse;
		} catch (error) {
			// Not a NodeApiError, which would put words of its own in the place of these.
			throw new NodeOperationError(context.getNode(), 'The Placet gate could not be reached', {
				description: error instanceof Error ? error.message : undefined,
			});
		}
	}
}

/** How long the gate asks to wait, if it does: too many requests, or a gate that is just starting. */
function pauseMs({ statusCode, headers }: IN8nHttpFullResponse): number | undefined {
	if (statusCode !== 429 && statusCode !== 503) return undefined;
	const header = headers['retry-after'];
	const text = typeof header === 'string' || typeof header === 'number' ? String(header) : '';
	const seconds = /^\d+$/.test(text.trim()) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
	if (Number.isNaN(seconds)) return statusCode === 429 ? 5_000 : undefined;
	return Math.max(250, seconds * 1000);
}

/** Waits in short steps, so that a run that is stopped does not hold its question for long. */
async function pauseFor(ms: number, stop: AbortSignal | undefined): Promise<void> {
	const until = Date.now() + ms;
	while (Date.now() < until && !stop?.aborted) {
		await sleep(Math.min(500, until - Date.now()));
	}
}

/** Any error as one that n8n shows well. */
export function nodeError(
	context: GateContext,
	error: unknown,
	itemIndex?: number,
): NodeApiError | NodeOperationError {
	if (error instanceof NodeApiError || error instanceof NodeOperationError) {
		if (itemIndex !== undefined) error.context.itemIndex = itemIndex;
		return error;
	}
	const cause = error instanceof Error ? error : String(error);
	return new NodeOperationError(context.getNode(), cause, { itemIndex });
}

/** The `code` of the gate's problem behind an error, if there is one. */
export function codeOf(error: unknown): string | undefined {
	const code = error instanceof NodeApiError ? error.context.code : undefined;
	return typeof code === 'string' ? code : undefined;
}

function problem(context: GateContext, status: number, answer: IDataObject): NodeApiError {
	const code = typeof answer.code === 'string' ? answer.code : '';
	const error = new NodeApiError(context.getNode(), answer as JsonObject, {
		message: WORDS[code] ?? `The gate answered with HTTP status ${status}`,
		description: explained(answer),
		httpCode: String(status),
	});
	error.context.code = code;
	return error;
}

function explained(answer: IDataObject): string | undefined {
	const faults = Array.isArray(answer.errors) ? (answer.errors as IDataObject[]) : [];
	if (faults.length === 0) return typeof answer.detail === 'string' ? answer.detail : undefined;
	return faults
		.map(({ field, message }) => {
			const hint = field === 'callback_url' ? hintOnCallback(String(message)) : '';
			return `${String(field)}: ${String(message)}${hint}`;
		})
		.join('; ');
}

/** The gate refuses the address of this n8n for what it is, or for being one too many of a request that runs share. */
function hintOnCallback(message: string): string {
	return message.includes('one too many')
		? ' (too many runs share this Request ID: ask under another one)'
		: ' (add the host of this n8n to "callback_hosts" of the client in the policy)';
}

function parsed(body: unknown): IDataObject | undefined {
	if (typeof body === 'object' && body !== null) return body as IDataObject;
	if (typeof body !== 'string' || body === '') return undefined;
	try {
		return JSON.parse(body) as IDataObject;
	} catch {
		// Something in front of the gate answered with a page of its own.
		return undefined;
	}
}
