import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';

import { simplified, type Approval } from '../shared/approval';
import type { Gate } from '../shared/gate';
import {
	nameParameter,
	numberParameter,
	optionsOf,
	rawParameter,
	requiredText,
} from './parameters';
import { jsonObject } from './payload';
import { questionFor } from './question';
import { withoutModelsWords } from './model';

/** One operation on one item; what it gives back becomes the output. */
export type Operation = (
	gate: Gate,
	context: IExecuteFunctions,
	item: INodeExecutionData,
	index: number,
) => Promise<IDataObject | IDataObject[]>;

const PAGE = 100;
/** How long the gate may hold an answer back. */
const LONGEST_WAIT_SECONDS = 25;

/** The operations that do not wait. The name is `resource:operation`. */
export const OPERATIONS: Record<string, Operation> = {
	'approval:request': async (gate, context, item, index) => {
		const { question } = questionFor(context, item, index);
		const options = optionsOf(context, index);
		const raw = rawParameter(context, 'options', 'callbackUrl');
		const address = nameParameter(context, index, 'The Callback URL', options.callbackUrl, raw);
		if (address !== '') question.callback_url = address;
		const seconds = waitSeconds(context, options, index);
		if (seconds) question.wait_seconds = seconds;
		const approval = await gate.call<Approval>('POST', '/v1/requests', question);
		return shown(approval, options);
	},

	'approval:get': async (gate, context, _item, index) => {
		const options = optionsOf(context, index);
		const seconds = waitSeconds(context, options, index);
		const wait = seconds ? `?wait_seconds=${seconds}` : '';
		const path = `/v1/requests/${requestId(context, index)}${wait}`;
		return shown(await gate.call<Approval>('GET', path), options);
	},

	'approval:getAll': async (gate, context, _item, index) => {
		const all = context.getNodeParameter('returnAll', index) as boolean;
		const limit = all ? Infinity : limitOf(context, index);
		const filters = context.getNodeParameter('filters', index, {}) as IDataObject;
		const options = optionsOf(context, index);
		const found: Approval[] = [];
		let cursor: string | null | undefined;
		do {
			const query = new URLSearchParams({ limit: String(Math.min(PAGE, limit - found.length)) });
			if (filters.status) query.set('status', String(filters.status));
			if (cursor) query.set('cursor', cursor);
			const page = await gate.call<{ requests: Approval[]; next_cursor?: string | null }>(
				'GET',
				`/v1/requests?${query.toString()}`,
			);
			found.push(...page.requests);
			cursor = page.next_cursor;
		} while (cursor && found.length < limit);
		return found.map((approval) => shown(approval, options));
	},

	'approval:cancel': async (gate, context, _item, index) =>
		await gate.call<Approval>('POST', `/v1/requests/${requestId(context, index)}/cancel`),

	'token:verify': async (gate, context, _item, index) =>
		await gate.call<IDataObject>('POST', '/v1/tokens/verify', tokenQuestion(context, index)),

	'token:redeem': async (gate, context, _item, index) => {
		const name = withoutModelsWords(context, index, () =>
			context.getNodeParameter('redeemedBy', index),
		);
		return await gate.call<IDataObject>('POST', '/v1/tokens/redeem', {
			...tokenQuestion(context, index),
			redeemed_by: requiredText(context, index, '"Redeemed By"', 'redeemedBy', name),
		});
	},
};

function shown(approval: Approval, options: IDataObject): IDataObject {
	return options.simplify === true ? simplified(approval) : approval;
}

function requestId(context: IExecuteFunctions, index: number): string {
	const value = context.getNodeParameter('requestId', index);
	return encodeURIComponent(requiredText(context, index, 'The Request ID', 'requestId', value));
}

function limitOf(context: IExecuteFunctions, index: number): number {
	const value = context.getNodeParameter('limit', index, 50);
	const rules = { min: 1, max: 1_000_000, unit: 'results', whole: true };
	return numberParameter(
		context,
		index,
		'The Limit',
		value,
		rawParameter(context, 'limit'),
		rules,
	) as number;
}

function waitSeconds(
	context: IExecuteFunctions,
	options: IDataObject,
	index: number,
): number | undefined {
	const rules = { min: 0, max: LONGEST_WAIT_SECONDS, unit: 'seconds', whole: true };
	const raw = rawParameter(context, 'options', 'waitSeconds');
	return numberParameter(context, index, 'The wait', options.waitSeconds, raw, rules);
}

function tokenQuestion(context: IExecuteFunctions, index: number): IDataObject {
	const value = context.getNodeParameter('token', index);
	const question: IDataObject = {
		token: requiredText(context, index, 'The Token', 'token', value),
	};
	const checks = withoutModelsWords(context, index, () =>
		context.getNodeParameter('checkPayload', index),
	);
	// Anything but a clear "no" is checked.
	if (checks !== false) question.payload = jsonObject(context, 'tokenPayload', index);
	return question;
}
