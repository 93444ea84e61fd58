/**
 * What is still open when this program is told to end is withdrawn first: Node ends on Ctrl-C, SIGTERM and SIGHUP without
 * a word to anybody. A program that listens for a signal itself keeps its own way.
 */

import { isMainThread } from 'node:worker_threads';

import { sleep } from './transport.ts';

const SIGNALS: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const END_SECONDS = 6;

const open = new Set<() => Promise<void>>();
const heeded = new Set<NodeJS.Signals>();
let ending = false;

/** While `run` runs, `withdraw` is called when the program is told to end. */
export async function whileOpen<T>(withdraw: () => Promise<void>, run: () => Promise<T>): Promise<T> {
  open.add(withdraw);
  if (open.size === 1 && isMainThread) {
    for (const signal of SIGNALS) {
      if (process.listenerCount(signal) > 0) continue;
      process.on(signal, end);
      heeded.add(signal);
    }
  }
  try {
    return await run();
  } finally {
    // Between the signal and the end nothing goes on: what was withdrawn would look like an answer.
    if (ending) await new Promise(() => {});
    open.delete(withdraw);
    if (open.size === 0) leave();
  }
}

function leave(): void {
  for (const signal of heeded) process.removeListener(signal, end);
  heeded.clear();
}

function end(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return; // somebody else came later, and decides
  if (ending) {
    leave();
    process.kill(process.pid, signal);
    return;
  }
  ending = true;
  const withdrawn = Promise.allSettled([...open].map((withdraw) => withdraw()));
  void Promise.race([withdrawn, sleep(END_SECONDS)]).then(() => {
    leave();
    process.kill(process.pid, signal);
  });
}
