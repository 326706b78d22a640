#!/usr/bin/env python3
"""A web server with one page, whose script talks to an agent and tells this server what came of it.

    panel.py --port PORT --file FILE --agent HOST:PORT

The script posts JSON with a login, and opens a WebSocket with one. What it reports is written to FILE as a line of JSON.
"""

import argparse
import http.server

PAGE = """<!doctype html><meta charset="utf-8"><title>panel</title><script>
const agent = "AGENT";
async function post() {
  const headers = { "content-type": "application/json", authorization: "Basic " + btoa("pump:a") };
  try {
    const answer = await fetch(`http://${agent}/panel`, { method: "POST", headers, body: "1" });
    return answer.status + ("stored" in await answer.json() ? " stored" : "");
  } catch (error) { return error.name; }
}
function speak() {
  return new Promise(resolve => {
    const socket = new WebSocket(`ws://pump:a@${agent}/panel?confirm=1`);
    socket.onopen = () => socket.send("2");
    socket.onmessage = event => resolve("stored" in JSON.parse(event.data) ? "stored" : event.data);
    socket.onclose = event => resolve("closed " + event.code);
  });
}
(async () => {
  const report = { post: await post(), websocket: await speak() };
  await fetch("/report", { method: "POST", body: JSON.stringify(report) });
})();
</script>"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", required=True)
    parser.add_argument("--agent", required=True)
    arguments = parser.parse_args()

    class Panel(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(PAGE.replace("AGENT", arguments.agent).encode())

        def do_POST(self):
            report = self.rfile.read(int(self.headers["content-length"]))
            with open(arguments.file, "ab") as file:
                file.write(report + b"\n")
            self.answer(b"")

        def answer(self, body):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Panel) as server:
        print(server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
