// A server on Node's own HTTP, whose parser is llhttp: prints each request that it has got whole as
// `METHOD TARGET BODY-IN-HEX`, and answers with its number.

import { createServer } from "node:http";
import { writeSync } from "node:fs";

let requests = 0;

const server = createServer((request, response) => {
  const body = [];
  request.on("data", (part) => body.push(part));
  request.on("end", () => {
    writeSync(1, `${request.method} ${request.url} ${Buffer.concat(body).toString("hex")}\n`);
    response.writeHead(200, { "x-seen": requests++, "content-length": 0 });
    response.end();
  });
});

server.listen(0, "127.0.0.1", () => writeSync(1, `${server.address().port}\n`));
