// Writes the app's definition, as Zapier stores it, to the file that is named. `definition.json` is checked in, and CI
// compares it with a new one.

import { writeFileSync } from 'node:fs';
import zapier from 'zapier-platform-core';

import app from '../dist/index.js';

const { results } = await zapier.createAppHandler(app)({ command: 'definition', calledFromCli: true, bundle: {} });
writeFileSync(process.argv[2], `${JSON.stringify(results, null, 2)}\n`);
