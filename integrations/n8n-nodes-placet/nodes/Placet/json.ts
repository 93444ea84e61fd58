/** Texts and marks of JSON; what lies between them does not matter here. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],]/g;

/** The first name that an object in this (valid) JSON text has twice. A parser would take the last one silently. */
export function repeatedName(text: string): string | undefined {
	const open: Array<Set<string> | undefined> = [];
	let nameComes = false;
	for (const [token] of text.matchAll(TOKENS)) {
		const names = open[open.length - 1];
		if (token === '{') {
			open.push(new Set());
			nameComes = true;
		} else if (token === '[') {
			open.push(undefined);
		} else if (token === '}' || token === ']') {
			open.pop();
			nameComes = false;
		} else if (token === ',') {
			nameComes = names !== undefined;
		} else if (nameComes && names !== undefined) {
			const name = JSON.parse(token) as string;
			if (names.has(name)) return name;
			names.add(name);
			nameComes = false;
		}
	}
	return undefined;
}
