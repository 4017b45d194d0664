// The echo server with Node's `ws`, as servers.py has the others: `node server.mjs PORT`. It compresses if asked to.
import { createRequire } from "node:module";

// Where the interop tests have it.
const require = createRequire(new URL("../tests/interop/package.json", import.meta.url));
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: true });
server.on("connection", (ws) => {
  ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  ws.on("error", () => {});
});
