import type { ICredentialDataDecryptedObject } from 'n8n-workflow';

import type { Approval } from '../shared/approval';
import type { Gate } from '../shared/gate';
import type { Outcome } from './outcome';
import type { Wait } from './record';
import { readAll, redeemedAtOnce, settled, someAreOpen } from './settle';

/*
 * One errand for each waiting step: many callbacks may come at the same moment, and one look answers all of them.
 *
 * This is only a shortcut. What counts is read from the gate; a process that has lost its errands (n8n was started
 * anew, or this is not the process that has asked) finds everything out again.
 */

/** What one look has found: how every request ended and whether its item passes, or that some are open still. */
export type Found = Outcome[] | 'open';

/** How long a credential that was read for one callback serves the others of the same burst. */
const BURST_MS = 10_000;
/** Errands of runs that were stopped are never closed, so the oldest make room. */
const MOST = 5_000;

const errands = new Map<string, Errand>();

export class Errand {
	/** Requests that were open when they were asked, and of which no callback has come to this process yet. */
	private awaited: Set<string> | undefined;
	private readonly known = new Map<string, Approval>();
	private outcomes: Outcome[] | undefined;
	private looking: Promise<Found> | undefined;
	/** How many looks have begun. */
	private looks = 0;
	private reading: Promise<ICredentialDataDecryptedObject> | undefined;
	private readAt = 0;
	private doneAt = Infinity;

	/**
	 * The errand of a step that begins to wait in this process.
	 *
	 * @param hearsAll whether each callback of this wait will come to this very process
	 */
	static begin(wait: Wait, open: Iterable<string>, hearsAll: boolean): void {
		if (!hearsAll) return;
		const errand = new Errand();
		errand.awaited = new Set(open);
		remember(wait.key, errand);
	}

	static of(wait: Wait): Errand {
		const known = errands.get(wait.key);
		if (known) return known;
		const errand = new Errand();
		remember(wait.key, errand);
		return errand;
	}

	/** The run goes on. Callbacks that are on their way still find what was found. */
	done(): void {
		this.doneAt = Date.now();
		this.reading = undefined;
	}

	isOver(now: number): boolean {
		return now - this.doneAt > BURST_MS;
	}

	/** n8n opens a sandbox for each reading of a credential, so the callbacks of one burst share it. */
	async credentials(
		read: () => Promise<ICredentialDataDecryptedObject>,
	): Promise<ICredentialDataDecryptedObject> {
		if (!this.reading || Date.now() - this.readAt > BURST_MS) {
			this.readAt = Date.now();
			this.reading = read();
			this.reading.catch(() => (this.reading = undefined));
		}
		return await this.reading;
	}

	/**
	 * What has become of all requests, after a callback about one of them.
	 *
	 * `first` is true for the caller that may act on it. Callers that come while a look is under way share the next one:
	 * a look that began before a callback came may not have seen what it is about.
	 */
	async look(gate: Gate, wait: Wait, heard: Approval): Promise<{ found: Found; first: boolean }> {
		this.awaited?.delete(heard.approval_id);
		const before = this.looks;
		while (this.looking) {
			const number = this.looks;
			const found = await this.looking;
			if (found !== 'open' || number > before) return { found, first: false };
		}
		this.looks += 1;
		this.looking = this.lookOnce(gate, wait, heard).finally(() => (this.looking = undefined));
		return { found: await this.looking, first: true };
	}

	private async lookOnce(gate: Gate, wait: Wait, heard: Approval): Promise<Found> {
		// n8n could not go on with what an earlier look has found. The answer is the same.
		if (this.outcomes) return this.outcomes;
		const { asked } = wait;
		// The most usual of all: one question, and a yes. Redeeming its token proves it in one call.
		const yes = await redeemedAtOnce(gate, wait, heard);
		if (yes) return (this.outcomes = [yes]);
		if (this.awaited && this.awaited.size > 0) return 'open';
		if (!this.awaited && asked.length > 1 && (await someAreOpen(gate, asked))) return 'open';
		await readAll(gate, asked, this.known);
		const open = asked.some(
			({ approval_id, failure }) =>
				failure === undefined && (this.known.get(approval_id)?.status ?? 'pending') === 'pending',
		);
		if (open) return 'open';
		this.outcomes = await settled(gate, wait, this.known);
		return this.outcomes;
	}
}

function remember(key: string, errand: Errand): void {
	const now = Date.now();
	for (const [other, one] of errands) if (one.isOver(now)) errands.delete(other);
	errands.set(key, errand);
	const [oldest] = errands.keys();
	if (errands.size > MOST && oldest !== undefined) errands.delete(oldest);
}
