'use strict';
// Compiles one job with solc's published wasm build and nothing from the network.
//
//   node compile.js < job.json > artifacts.json
//
// job: { compiler, settings, remappings: [[prefix, path]], roots: [dir], entries: [{file, contracts: [name], abiOnly}] }
// Only the entry files are handed over; everything they import is served through the callback,
// because one large standard-json input overflows the wasm stack.
const fs = require('fs');
const path = require('path');

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const solc = require(job.compiler);

function read(name) {
  for (const root of job.roots) {
    const file = path.join(root, name);
    if (fs.existsSync(file)) return fs.readFileSync(file, 'utf8');
  }
  return undefined;
}

const sources = {};
const outputSelection = {};
for (const entry of job.entries) {
  const content = read(entry.file);
  if (content === undefined) throw new Error(`no source file ${entry.file}`);
  sources[entry.file] = { content };
  const wanted = entry.abiOnly
    ? ['abi']
    : ['abi', 'evm.bytecode.object', 'evm.bytecode.linkReferences', 'evm.deployedBytecode.object'];
  outputSelection[entry.file] = Object.fromEntries(entry.contracts.map((name) => [name, wanted]));
}

const input = {
  language: 'Solidity',
  sources,
  settings: {
    ...job.settings,
    remappings: job.remappings.map(([prefix, target]) => `${prefix}=${target}`),
    outputSelection,
  },
};
const output = JSON.parse(
  solc.compile(JSON.stringify(input), {
    import: (name) => {
      const contents = read(name);
      return contents === undefined ? { error: `not found: ${name}` } : { contents };
    },
  }),
);

const errors = (output.errors || []).filter((error) => error.severity === 'error');
if (errors.length > 0) {
  process.stderr.write(errors.map((error) => error.formattedMessage).join('\n'));
  process.exit(1);
}

const artifacts = {};
for (const entry of job.entries) {
  for (const name of entry.contracts) {
    const contract = (output.contracts[entry.file] || {})[name];
    if (contract === undefined) throw new Error(`${entry.file} has no contract ${name}`);
    const code = contract.evm ? contract.evm.bytecode : { object: '', linkReferences: {} };
    artifacts[name] = {
      abi: contract.abi,
      bytecode: code.object,
      linkReferences: code.linkReferences || {},
      deployedBytecode: contract.evm ? contract.evm.deployedBytecode.object : '',
    };
  }
}
process.stdout.write(JSON.stringify(artifacts), () => process.exit(0));
