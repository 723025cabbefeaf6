// Reads an AsyncAPI document with AsyncAPI's own parser and prints, as JSON, what the parser has to say of it and the document
// with all references and traits resolved: `node asyncapi.mjs /path/to/asyncapi.yaml`.
import { readFile } from 'node:fs/promises';
import { Parser } from '@asyncapi/parser';

const file = process.argv[2];
const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'), { source: file });
console.log(JSON.stringify({ diagnostics, document: document?.json() ?? null }));
