#!/usr/bin/env node
// Runs the `placet` command, whose binary lies in a package of its own for each platform (`@placet/cli-linux-x64`, …).
// npm installs the one that fits and runs no script, so nothing is downloaded here.
//
// Where Node can (22.15 and newer), this process becomes the binary. Elsewhere it is the child's parent: it passes signals
// on, and ends as the child ended.
'use strict';

const { spawn } = require('node:child_process');
const { closeSync, openSync } = require('node:fs');
const { constants } = require('node:os');
const { name, version, optionalDependencies = {} } = require('../package.json');

/** The command's own code for a fault: it could not do what it was asked. */
const FAULT = 3;

/** This machine, as the packages of the binaries are named. */
function platform() {
  if (process.platform !== 'linux') return `${process.platform}-${process.arch}`;
  // Without this a report looks up the names of open connections, which can take seconds.
  process.report.excludeNetwork = true;
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  return `linux-${process.arch}${glibc ? '' : '-musl'}`;
}

/** Says why there is nothing to run, and what to do. */
function give_up(sentence, advice) {
  process.stderr.write(`placet: ${sentence}\n  ${advice}\n`);
  process.exit(FAULT);
}

function binary() {
  const key = platform();
  const carrier = `@placet/cli-${key}`;
  if (!(carrier in optionalDependencies)) {
    give_up(
      `there is no binary for ${key}`,
      'build it from a checkout, with Rust: cargo install --locked --path crates/placet' +
        (process.platform === 'win32' ? '; on Windows, in WSL' : ''),
    );
  }
  try {
    return require.resolve(`${carrier}/placet`);
  } catch {
    return give_up(
      `the package ${carrier} is not installed beside ${name}`,
      'optional packages were left out, or node_modules comes from another machine. ' +
        `Install it: npm install ${carrier}@${version}`,
    );
  }
}

/** Whether a terminal sends this process's signals to the child as well. */
function at_a_terminal() {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

function run_as_child(file, words) {
  const child = spawn(file, words, { stdio: 'inherit' });
  const signals = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'];
  const by_the_terminal = at_a_terminal();
  const pass_on = (signal) => {
    // A terminal has told the child already, and a second Ctrl-C means "at once".
    if (signal === 'SIGTERM' || !by_the_terminal) child.kill(signal);
  };
  for (const signal of signals) process.on(signal, pass_on);
  child.on('error', (error) => give_up(`the binary cannot be started: ${error.message}`, `It is ${file}`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const one of signals) process.removeListener(one, pass_on);
    process.kill(process.pid, signal);
    // For a signal that does not end this process: what a shell would say.
    setTimeout(() => process.exit(128 + (constants.signals[signal] ?? 0)), 100);
  });
}

const file = binary();
const words = process.argv.slice(2);
if (typeof process.execve === 'function') {
  try {
    process.execve(file, [file, ...words], process.env);
  } catch (error) {
    give_up(`the binary cannot be started: ${error.message}`, `It is ${file}`);
  }
} else {
  run_as_child(file, words);
}
