'use strict';
// solc's published wasm build with the two words that forge speaks: --version and --standard-json.
//
//   node solc.js --version
//   node solc.js --standard-json < input.json > output.json
//
// Every source is in the input; nothing is read from disk or network.
const fs = require('fs');
const path = require('path');

const solc = require(path.join(__dirname, '..', 'node_modules', 'solc0827'));

const words = process.argv.slice(2);
if (words.includes('--version')) {
  process.stdout.write(
    `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`,
  );
} else if (words.includes('--standard-json')) {
  process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8')), () => process.exit(0));
} else {
  process.stderr.write(`solc.js knows --version and --standard-json, not: ${words.join(' ')}\n`);
  process.exit(2);
}
