import type { IExecuteFunctions } from 'n8n-workflow';

import type { Asking } from './question';

/**
 * Says beside the output what n8n's editor does not, or not rightly: it warns that a step that waits runs "for the
 * first item" alone.
 */
export function tellWhatIsAsked(
	context: IExecuteFunctions,
	questions: ReadonlyArray<Asking | undefined>,
): void {
	const asked = questions.filter((one) => one !== undefined);
	if (questions.length > 1) {
		context.addExecutionHints({
			message: `${asked.length} approvals are requested, one for each of ${questions.length} items. The run goes on when all have ended.`,
			location: 'outputPane',
		});
	}
	const leftOut = [...new Set(asked.flatMap((one) => one.leftOut))];
	if (leftOut.length > 0) {
		context.addExecutionHints({
			message: `Reviewers are not shown: ${leftOut.join(', ')}. To show other fields, pick them with "Fields Below".`,
			location: 'outputPane',
		});
	}
}
