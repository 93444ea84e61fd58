// Prints the app's definition as Zapier stores it. `definition.json` is a copy of it, and CI compares the two.

import zapier from 'zapier-platform-core';

import app from '../dist/index.js';

const { results } = await zapier.createAppHandler(app)({ command: 'definition', bundle: {} });
process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
