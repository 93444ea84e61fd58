/** The model server of the examples, which plays recorded answers. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ROOT } from './gate.ts';

export async function withModel<T>(answers: unknown[], use: (url: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'placet-model-'));
  const file = join(folder, 'answers.json');
  writeFileSync(file, JSON.stringify(answers));
  const server = spawn('python3', [join(ROOT, 'integrations/agents/examples/recorded.py'), file], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      server.stdout.on('data', (chunk: Buffer) => resolve(chunk.toString().trim()));
      server.on('exit', (code) => reject(new Error(`the model server ended with ${code}`)));
    });
    return await use(url);
  } finally {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}
