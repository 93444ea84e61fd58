import type { IDataObject, IExecuteFunctions } from 'n8n-workflow';
import { ExpressionParser } from 'n8n-workflow';

import { withoutModelsWords } from './model';
import { wrong } from './wrong';

/** A value from an expression that had nothing to say. */
const NOTHING: readonly unknown[] = [
	undefined,
	null,
	'',
	'undefined',
	'null',
	'NaN',
	'[object Object]',
];

/** What JavaScript writes into a text in the place of a value that was not there. */
const NOTHING_IN_A_TEXT = /(^|[^A-Za-z0-9])(undefined|null|NaN)(?![A-Za-z0-9])|\[object /;

/** The options of a step, evaluated without anything that a model wrote. */
export function optionsOf(context: IExecuteFunctions, index: number): IDataObject {
	return withoutModelsWords(
		context,
		index,
		() => (context.getNodeParameter('options', index, {}) ?? {}) as IDataObject,
	);
}

/** A parameter as it was written: an expression begins with `=`. */
export function rawParameter(context: IExecuteFunctions, ...path: Array<string | number>): unknown {
	let value: unknown = context.getNode().parameters;
	for (const name of path) {
		if (typeof value !== 'object' || value === null) return undefined;
		value = (value as Record<string, unknown>)[name];
	}
	return value;
}

export function isExpression(raw: unknown): raw is string {
	return typeof raw === 'string' && raw.startsWith('=');
}

/**
 * A text that names something, such as an action or a request ID.
 *
 * Left empty it is `''`. An expression must not come out empty, nor any part of it: `invoice-{{ $json.number }}`
 * without a number would be one name for everything.
 */
export function nameParameter(
	context: IExecuteFunctions,
	index: number,
	title: string,
	value: unknown,
	raw: unknown,
): string {
	if (typeof value === 'object' && value !== null) {
		throw wrong(context, index, `${title} must be a text, and is an object`);
	}
	const name = String(value ?? '').trim();
	if (!isExpression(raw)) return name;
	const hole = name === '' || NOTHING_IN_A_TEXT.test(name) || /^[-_.:]|[-_.:]$/.test(name);
	if (hole || hasEmptyPart(context, index, raw)) {
		throw wrong(context, index, `${title} comes out incomplete: an expression in it is empty`, {
			description: `It is written as ${raw.slice(1)} and came out as "${name}". In the review of a tool, or in a tool, it cannot use what the model wrote.`,
		});
	}
	return name;
}

function hasEmptyPart(context: IExecuteFunctions, index: number, raw: string): boolean {
	const parts = ExpressionParser.splitExpression(raw.slice(1));
	return parts.some((part) => {
		if (part.type !== 'code') return false;
		const value = withoutModelsWords(context, index, () =>
			context.evaluateExpression(`{{${part.text}}}`, index),
		);
		return (
			NOTHING.includes(typeof value === 'string' ? value.trim() : value) || Number.isNaN(value)
		);
	});
}

/** A parameter that must be a number; `undefined` if it was never set. */
export function numberParameter(
	context: IExecuteFunctions,
	index: number,
	title: string,
	value: unknown,
	raw: unknown,
	{ min, max, unit, whole = false }: { min: number; max: number; unit: string; whole?: boolean },
): number | undefined {
	if (value === undefined && !isExpression(raw)) return undefined;
	const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
	const good =
		typeof number === 'number' &&
		number >= min &&
		number <= max &&
		(!whole || Number.isInteger(number));
	if (!good) {
		const is = typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? 'empty');
		throw wrong(
			context,
			index,
			`${title} must be a ${whole ? 'whole ' : ''}number of ${unit} from ${min} to ${max}, and is ${is}`,
		);
	}
	return number;
}

/** A text that is required, such as a request to look up. */
export function requiredText(
	context: IExecuteFunctions,
	index: number,
	title: string,
	parameter: string,
	value: unknown,
): string {
	const text = nameParameter(context, index, title, value, rawParameter(context, parameter));
	if (text === '') throw wrong(context, index, `${title} is empty`);
	return text;
}
