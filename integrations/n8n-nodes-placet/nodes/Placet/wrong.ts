import type { IExecuteFunctions, IWebhookFunctions } from 'n8n-workflow';
import { NodeOperationError } from 'n8n-workflow';

/** A parameter that is wrong: one sentence, with the number of the item that it was wrong for. */
export function wrong(
	context: IExecuteFunctions | IWebhookFunctions,
	index: number,
	sentence: string,
	{ description }: { description?: string } = {},
): NodeOperationError {
	return new NodeOperationError(context.getNode(), `${sentence} (item ${index})`, {
		itemIndex: index,
		description,
	});
}
