import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

import { repeatedName } from './json';
import { withoutModelsWords } from './model';
import { rawParameter } from './parameters';
import { holdsToken } from './traces';
import { cleaned } from './wholeItem';
import { wrong } from './wrong';

/** The JSON of what will be done, and what was left out of an item because reviewers should not see it. */
export interface Shown {
	payload: IDataObject;
	leftOut: string[];
}

/** The payload for one item: it is shown to the reviewers, and the token is bound to it. */
export function payloadFor(
	context: IExecuteFunctions,
	item: INodeExecutionData,
	index: number,
): Shown {
	const mode = withoutModelsWords(context, index, () =>
		context.getNodeParameter('payloadMode', index, 'wholeItem'),
	);
	switch (mode) {
		case 'wholeItem': {
			const { payload, leftOut, ofPlacet } = cleaned(item.json);
			if (ofPlacet && Object.keys(payload).length === 0) {
				throw wrong(
					context,
					index,
					'The item holds nothing but an earlier approval, which reviewers are not shown',
					{ description: 'Pick what will be done with "Fields Below" or "JSON".' },
				);
			}
			return { payload: exact(context, payload, index), leftOut };
		}
		case 'fields':
			return { payload: exact(context, fieldsFor(context, index), index), leftOut: [] };
		case 'json': {
			const payload = jsonObject(context, 'payloadJson', index);
			if (Object.keys(payload).length === 0) {
				throw wrong(context, index, 'The payload is empty: reviewers would approve nothing');
			}
			return { payload, leftOut: [] };
		}
		default:
			throw wrong(
				context,
				index,
				`The Payload must be "wholeItem", "fields" or "json", and is ${JSON.stringify(mode)}`,
			);
	}
}

function fieldsFor(context: IExecuteFunctions, index: number): IDataObject {
	const { field = [] } = (context.getNodeParameter('payloadFields', index, {}) ?? {}) as {
		field?: Array<{ name?: unknown; value?: unknown }>;
	};
	const payload = new Map<string, unknown>();
	field.forEach(({ name: given, value }, place) => {
		const name = typeof given === 'string' ? given.trim() : '';
		if (name === '') {
			throw wrong(context, index, `Field ${place + 1} of the payload has no name`);
		}
		if (payload.has(name)) {
			throw wrong(context, index, `The payload has the field "${name}" twice`);
		}
		if (value === undefined) {
			throw wrong(context, index, `The field "${name}" of the payload comes out empty`, {
				description: `Its value is written as ${String(rawParameter(context, 'payloadFields', 'field', place, 'value'))}. To show that there is none, use null or an empty text.`,
			});
		}
		payload.set(name, value);
	});
	if (payload.size === 0) {
		throw wrong(context, index, 'The payload has no fields: reviewers would approve nothing');
	}
	return Object.fromEntries(payload) as IDataObject;
}

/** A parameter of type JSON as an object, whether it was typed in or came out of an expression. */
export function jsonObject(
	context: IExecuteFunctions,
	parameter: string,
	index: number,
): IDataObject {
	let value: unknown = context.getNodeParameter(parameter, index);
	if (typeof value === 'string') {
		const text = value;
		try {
			value = JSON.parse(text);
		} catch (error) {
			throw wrong(context, index, 'The payload is not valid JSON', {
				description: error instanceof Error ? error.message : undefined,
			});
		}
		const twice = repeatedName(text);
		if (twice !== undefined) {
			throw wrong(context, index, `The payload has the field "${twice}" twice`);
		}
	}
	if (typeof value !== 'object' || value === null || Array.isArray(value)) {
		throw new NodeOperationError(context.getNode(), 'The payload must be a JSON object', {
			itemIndex: index,
			description: `Item ${index}: it should be such as { "to": "acme@example.com", "amount": 5000 }`,
		});
	}
	return exact(context, value as IDataObject, index, parameter === 'tokenPayload');
}

/**
 * The payload as plain JSON, if JSON can say exactly what it means.
 *
 * A whole number beyond ±(2^53−1) is refused, as the gate does: another number may have been meant. A token is refused,
 * because reviewers would see it.
 */
export function exact(
	context: IExecuteFunctions,
	payload: IDataObject,
	index: number,
	mayHoldTokens = false,
): IDataObject {
	const fault = faultIn(payload, '', mayHoldTokens, 0);
	if (fault !== undefined) throw wrong(context, index, fault);
	return JSON.parse(JSON.stringify(payload)) as IDataObject;
}

/** Deeper than any gate or reviewer could follow; n8n hands on objects that hold themselves. */
const DEEPEST = 100;

function faultIn(
	value: unknown,
	path: string,
	mayHoldTokens: boolean,
	depth: number,
): string | undefined {
	const where = path === '' ? 'The payload' : `The field "${path}" of the payload`;
	if (depth > DEEPEST) return `${where} is nested more than ${DEEPEST} deep`;
	switch (typeof value) {
		case 'number':
			if (!Number.isFinite(value)) return `${where} is not a number that JSON knows`;
			if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
				return `${where} is a whole number beyond 9007199254740991, which is not exact in JSON: send it as a text`;
			}
			return undefined;
		case 'string':
			if (mayHoldTokens || !holdsToken(value)) return undefined;
			return `${where} holds the token of an earlier approval, which reviewers would see`;
		case 'bigint':
		case 'function':
		case 'symbol':
			return `${where} is a ${typeof value}, which JSON does not know`;
		case 'object':
			if (value === null || typeof (value as { toJSON?: unknown }).toJSON === 'function') {
				return undefined;
			}
			for (const [name, inner] of Object.entries(value)) {
				const fault = faultIn(
					inner,
					path === '' ? name : `${path}.${name}`,
					mayHoldTokens,
					depth + 1,
				);
				if (fault !== undefined) return fault;
			}
			return undefined;
		default:
			return undefined;
	}
}
