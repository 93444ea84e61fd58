import type { IDataObject } from 'n8n-workflow';

import type { Approval, TokenClaims, TokenVerdict } from '../shared/approval';
import { codeOf, type Gate } from '../shared/gate';
import { judged, refusedAlready, refusedOutcome, type Outcome } from './outcome';
import type { Asked, Wait } from './record';

/** How many calls are made at a time. */
const AT_ONCE = 10;

/** The gate's final answers to somebody who wants to use a token. Everything else may be better a moment later. */
const FINAL = new Set([
	'already_redeemed',
	'invalid_request',
	'not_approved',
	'payload_mismatch',
	'token_expired',
]);

/**
 * What comes of requests that have all ended.
 *
 * An approval that lets a run go on is redeemed under the name of that run: no other run passes by it. Where one
 * refusal stops the whole run, none is redeemed, for nothing goes on.
 */
export async function settled(
	gate: Gate,
	wait: Pick<Wait, 'asked' | 'onRefusal' | 'keepsTokens'>,
	approvals: ReadonlyMap<string, Approval>,
): Promise<Outcome[]> {
	const outcomes = wait.asked.map((asked): Outcome | undefined => {
		if (asked.failure !== undefined) return { approved: false, explanation: asked.failure };
		const approval = approvals.get(asked.approval_id);
		if (!approval || approval.status === 'pending') {
			return { approved: false, approval, explanation: 'Not approved: no decision yet' };
		}
		return refusedAlready(approval, asked);
	});
	const stops = wait.onRefusal === 'stop' && outcomes.some((outcome) => outcome !== undefined);
	return await inGroups(wait.asked, async (asked, place) => {
		const known = outcomes[place];
		if (known !== undefined) return known;
		const approval = approvals.get(asked.approval_id) as Approval;
		return stops || wait.keepsTokens
			? await verified(gate, approval, asked)
			: await redeemed(gate, approval, asked);
	});
}

async function verified(gate: Gate, approval: Approval, asked: Asked): Promise<Outcome> {
	const verdict = await gate.call<TokenVerdict>('POST', '/v1/tokens/verify', {
		token: approval.token,
		payload: asked.payload,
	});
	return judged(approval, asked, verdict);
}

async function redeemed(gate: Gate, approval: Approval, asked: Asked): Promise<Outcome> {
	try {
		const { claims } = await gate.call<{ first: boolean; claims: TokenClaims }>(
			'POST',
			'/v1/tokens/redeem',
			{ token: approval.token, payload: asked.payload, redeemed_by: asked.redeemer },
		);
		return judged(approval, asked, { valid: true, claims });
	} catch (error) {
		const code = codeOf(error);
		if (code === undefined || !FINAL.has(code)) throw gate.asNodeError(error);
		return refusedOutcome(approval, code);
	}
}

/**
 * The outcome of a wait for one approval whose callback brings the token: the gate redeems it, or has the last word in
 * another way, for which the caller has to read the approval.
 */
export async function redeemedAtOnce(
	gate: Gate,
	{ asked: [only, ...others], keepsTokens }: Pick<Wait, 'asked' | 'keepsTokens'>,
	heard: Approval,
): Promise<Outcome | undefined> {
	if (!only || others.length > 0 || keepsTokens) return undefined;
	if (heard.status !== 'approved' || typeof heard.token !== 'string') return undefined;
	try {
		const outcome = await redeemed(gate, heard, only);
		return outcome.approved ? outcome : undefined;
	} catch (error) {
		// The gate does not take this token, or could not be asked. Only the second may be better a moment later.
		if (codeOf(error) === undefined) throw gate.asNodeError(error);
		return undefined;
	}
}

/** The approvals of what was asked, each read once: in pages where there are many. */
export async function readAll(
	gate: Gate,
	asked: readonly Asked[],
	known: Map<string, Approval>,
): Promise<void> {
	const missing = (): Asked[] => asked.filter((one) => isMissing(one, known));
	if (missing().length > 1) await readPages(gate, missing(), known);
	await inGroups(missing(), async ({ request_id }) => {
		const approval = await gate.call<Approval>(
			'GET',
			`/v1/requests/${encodeURIComponent(request_id)}`,
		);
		known.set(approval.approval_id, approval);
	});
}

function isMissing(asked: Asked, known: ReadonlyMap<string, Approval>): boolean {
	if (asked.failure !== undefined) return false;
	const approval = known.get(asked.approval_id);
	return approval === undefined || approval.status === 'pending';
}

const PAGE = 100;

/** Newest first, as many pages as the requests would fill if they were the newest, and one more. */
export async function readPages(
	gate: Gate,
	wanted: readonly Asked[],
	known: Map<string, Approval>,
): Promise<void> {
	const ours = new Set(wanted.map(({ approval_id }) => approval_id));
	let cursor: string | null | undefined;
	for (let page = 0; page <= Math.ceil(wanted.length / PAGE) && ours.size > 0; page++) {
		const found = await gate.call<Page>('GET', requestsPath(cursor));
		for (const approval of found.requests) {
			if (ours.delete(approval.approval_id)) known.set(approval.approval_id, approval);
		}
		cursor = found.next_cursor;
		if (!cursor) return;
	}
}

/** Whether some of these requests are surely open still: one look for all of them. */
export async function someAreOpen(gate: Gate, asked: readonly Asked[]): Promise<boolean> {
	const ours = new Set(asked.map(({ approval_id }) => approval_id));
	const { requests } = await gate.call<Page>('GET', requestsPath(undefined, 'pending'));
	return requests.some(({ approval_id }) => ours.has(approval_id));
}

interface Page extends IDataObject {
	requests: Approval[];
	next_cursor?: string | null;
}

function requestsPath(cursor?: string | null, status?: string): string {
	const query = new URLSearchParams({ limit: String(PAGE) });
	if (status) query.set('status', status);
	if (cursor) query.set('cursor', cursor);
	return `/v1/requests?${query.toString()}`;
}

async function inGroups<T, R>(
	all: readonly T[],
	work: (one: T, place: number) => Promise<R>,
): Promise<R[]> {
	const results: R[] = [];
	for (let from = 0; from < all.length; from += AT_ONCE) {
		const group = all.slice(from, from + AT_ONCE);
		results.push(
			...(await Promise.all(group.map(async (one, place) => await work(one, from + place)))),
		);
	}
	return results;
}
