import type { IExecuteData, IExecuteFunctions } from 'n8n-workflow';

/** How often each step has been tried. n8n does not tell, but it uses one record for all tries of a step. */
const tries = new WeakMap<IExecuteData, number>();

export function countTry(context: IExecuteFunctions): void {
	const step = context.getExecuteData();
	tries.set(step, (tries.get(step) ?? 0) + 1);
}

/** Whether n8n will not try this step again. As n8n reckons: three tries unless told otherwise, two to five. */
export function isLastTry(context: IExecuteFunctions): boolean {
	const { retryOnFail, maxTries } = context.getNode();
	if (retryOnFail !== true) return true;
	const all = Math.min(5, Math.max(2, maxTries || 3));
	return (tries.get(context.getExecuteData()) ?? 0) >= all;
}
