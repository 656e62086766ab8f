// Holds an OpenAPI document to the specification, and answers to the document: each is of a status and a
// type that its operation has, and its body is what the schema says. Prints what is wrong, and the
// operations that nobody asked for. Argument: {"file": where {"document", "answers"} are}
import { readFile } from 'node:fs/promises';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv/dist/2020.js';

const { file } = JSON.parse(process.argv[2]);
const { document, answers } = JSON.parse(await readFile(file, 'utf8'));
const faults = [];

const valid = await new Validator().validate(structuredClone(document));
if (!valid.valid) faults.push({ document: valid.errors });

// The schemas refer to each other by the document, so that is what is given to ajv.
const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema(document, 'openapi');
const within = (...parts) =>
  `openapi#/${parts.map((part) => encodeURIComponent(String(part).replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`;

const asked = new Set();
for (const { method, template, path, status, type, body } of answers) {
  const what = `${method} ${path}: ${status}`;
  asked.add(`${method} ${template}`);
  const responses = document.paths[template]?.[method]?.responses;
  if (responses === undefined) {
    faults.push(`${what}: ${template} has no such operation`);
    continue;
  }
  const key = String(status) in responses ? String(status) : 'default';
  if (status < 400 !== (key !== 'default')) faults.push(`${what}: it is answered by ${key}`);
  const at = responses[key].$ref?.slice(2).split('/') ?? ['paths', template, method, 'responses', key];
  const response = at.reduce((found, part) => found[part], document);
  if (response.content === undefined) {
    if (body !== '') faults.push(`${what}: a body where there is none`);
    continue;
  }
  const media = (type ?? '').split(';')[0];
  if (!(media in response.content)) {
    faults.push(`${what}: ${media} is none of ${Object.keys(response.content)}`);
    continue;
  }
  const value = media.endsWith('json') ? JSON.parse(body) : body;
  const check = ajv.getSchema(within(...at, 'content', media, 'schema'));
  if (!check(value)) faults.push({ [what]: check.errors.map((error) => `${error.instancePath} ${error.message}`) });
}

const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.keys(item).map((method) => `${method} ${path}`),
);
const never_asked = operations.filter((operation) => !asked.has(operation));
process.stdout.write(`${JSON.stringify({ faults, never_asked })}\n`);
