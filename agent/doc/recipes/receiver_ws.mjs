// A receiver on Node.js that acknowledges: npm install ws, then
//
//     node receiver_ws.mjs 9000
//
// and in the gateway's configuration: url = "ws://HOST:9000/", framing = "envelope", confirm = "ack".

import { WebSocketServer } from "ws";

const port = Number(process.argv[2] ?? 9000);
const server = new WebSocketServer({
  port,
  handleProtocols: (offered) => (offered.has("holdfast.v1") ? "holdfast.v1" : false),
});
// The next number that is expected of each epoch. In earnest it lies in the same transaction as the messages.
const expected = new Map();

// What is yours to do. A message is acknowledged only once this has returned.
function store(message) {
  console.log(message.topic, JSON.stringify(message.data));
}

server.on("connection", (socket) => {
  socket.on("error", (error) => console.error(String(error)));
  socket.on("message", (bytes) => {
    const frame = JSON.parse(bytes);
    const { epoch } = frame.hello ?? frame.gap ?? frame;
    if (frame.hello) {
      if (!expected.has(epoch)) expected.set(epoch, frame.hello.first);
    } else if (frame.gap) {
      console.log("lost:", JSON.stringify(frame.gap));
      expected.set(epoch, Math.max(expected.get(epoch), frame.gap.to + 1));
    } else {
      for (const message of frame.messages) {
        // What was seen before comes again after a cut, and is skipped.
        if (message.seq < expected.get(epoch)) continue;
        store(message);
        expected.set(epoch, message.seq + 1);
      }
    }
    socket.send(JSON.stringify({ ack: expected.get(epoch) - 1, epoch }));
  });
});
