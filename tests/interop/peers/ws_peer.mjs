// The interop peer with Node's `ws`; `peer_control.py` tells what it does.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import readline from "node:readline";
import WebSocket, { WebSocketServer } from "ws";

const SUBPROTOCOLS = ["chat.v2", "chat.v1"];
const [ca, cert, key] = process.argv.slice(2).map((path) => readFileSync(path));

// Path -> a promise of how its connection ended, and the function that fulfils it.
const outcomes = new Map();
function outcome(path) {
  if (!outcomes.has(path)) {
    let resolve;
    const promise = new Promise((fulfil) => { resolve = fulfil; });
    outcomes.set(path, { promise, resolve });
  }
  return outcomes.get(path);
}

function print(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

function obey(ws, command) {
  if (command.do === "subprotocol") {
    ws.send(ws.protocol || "none");
  } else if (command.do === "ping") {
    ws.once("pong", (payload) => ws.send(`pong ${payload}`));
    ws.ping(command.payload);
  } else if (command.do === "fragments") {
    command.parts.forEach((part, index) => {
      ws.send(part, { binary: command.binary, fin: index === command.parts.length - 1 });
    });
  } else if (command.do === "close") {
    ws.close(command.code, command.reason);
  }
}

function play(path, ws) {
  ws.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (text.startsWith("!")) obey(ws, JSON.parse(text.slice(1)));
    else ws.send(data, { binary: isBinary });
  });
  ws.on("error", (error) => outcome(path).resolve({ error: String(error) }));
  ws.on("close", (code, reason) => outcome(path).resolve({ code, reason: reason.toString() }));
}

async function serve(server) {
  const handleProtocols = (offered) => SUBPROTOCOLS.find((name) => offered.has(name)) ?? false;
  const wss = new WebSocketServer({ server, handleProtocols, maxPayload: 2 ** 25, perMessageDeflate: { threshold: 0 } });
  wss.on("connection", (ws, request) => play(request.url, ws));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

const ports = { ws: await serve(http.createServer()), wss: await serve(https.createServer({ cert, key })) };
print(ports);
for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.do === "connect") {
    const ws = new WebSocket(command.url, command.subprotocols, { ca, maxPayload: 2 ** 25 });
    play(new URL(command.url).pathname, ws);
    print({});
  } else {
    print(await outcome(command.path).promise);
  }
}
process.exit(0);
