import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';

import type { Approval } from '../shared/approval';
import type { Gate } from '../shared/gate';
import { jsonObject, questionFor } from './question';

/** One operation on one item; what it gives back becomes the output. */
export type Operation = (
	gate: Gate,
	context: IExecuteFunctions,
	item: INodeExecutionData,
	index: number,
) => Promise<IDataObject | IDataObject[]>;

const PAGE = 100;

/** The operations that do not wait. The name is `resource:operation`. */
export const OPERATIONS: Record<string, Operation> = {
	'approval:request': async (gate, context, item, index) => {
		const question = questionFor(context, item, index);
		const options = context.getNodeParameter('options', index, {}) as IDataObject;
		if (options.callbackUrl) question.callback_url = String(options.callbackUrl);
		if (options.waitSeconds) question.wait_seconds = Number(options.waitSeconds);
		return await gate.call<Approval>('POST', '/v1/requests', question);
	},

	'approval:get': async (gate, context, _item, index) => {
		const options = context.getNodeParameter('options', index, {}) as IDataObject;
		const wait = options.waitSeconds ? `?wait_seconds=${Number(options.waitSeconds)}` : '';
		return await gate.call<Approval>('GET', `/v1/requests/${requestId(context, index)}${wait}`);
	},

	'approval:getAll': async (gate, context, _item, index) => {
		const all = context.getNodeParameter('returnAll', index) as boolean;
		const limit = all ? Infinity : (context.getNodeParameter('limit', index) as number);
		const filters = context.getNodeParameter('filters', index, {}) as IDataObject;
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
		return found;
	},

	'approval:cancel': async (gate, context, _item, index) =>
		await gate.call<Approval>('POST', `/v1/requests/${requestId(context, index)}/cancel`),

	'token:verify': async (gate, context, _item, index) =>
		await gate.call<IDataObject>('POST', '/v1/tokens/verify', tokenQuestion(context, index)),

	'token:redeem': async (gate, context, _item, index) =>
		await gate.call<IDataObject>('POST', '/v1/tokens/redeem', {
			...tokenQuestion(context, index),
			redeemed_by: String(context.getNodeParameter('redeemedBy', index)),
		}),
};

function requestId(context: IExecuteFunctions, index: number): string {
	return encodeURIComponent(String(context.getNodeParameter('requestId', index)).trim());
}

function tokenQuestion(context: IExecuteFunctions, index: number): IDataObject {
	const question: IDataObject = { token: String(context.getNodeParameter('token', index)).trim() };
	if (context.getNodeParameter('checkPayload', index) === true) {
		question.payload = jsonObject(context, 'tokenPayload', index);
	}
	return question;
}
