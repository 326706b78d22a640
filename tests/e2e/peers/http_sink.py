#!/usr/bin/env python3
"""An HTTP server that takes batches by POST and keeps each element as a line.

    http_sink.py --port 0 --file got.ndjson [--requests FILE] [--answers 503:1,429,hang] [--refuse WORD] [--expect FILE]

Prints the port as its first line. FILE of --requests gets a line of JSON for each request. The first requests are answered as
--answers says: a status, perhaps with the seconds of Retry-After, or `hang`: the batch is taken and no answer comes. A batch with
WORD in it is refused with 422; WORD is read from a file when it begins with @. --expect names a file whose first line must be the
request's Authorization. Ends on SIGTERM or SIGINT.
"""

import argparse
import gzip
import http.server
import json
import signal
import sys
import threading

arguments = None
lock = threading.Lock()
answers = []


def elements_of(body, media_type):
    if media_type == "application/json":
        return json.loads(body)
    return [json.loads(line) for line in body.split(b"\n") if line]


def word_of(text):
    if not text or not text.startswith("@"):
        return text
    try:
        return open(text[1:], encoding="utf-8").readline().strip()
    except FileNotFoundError:
        return None


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small answers would wait for the peer's delayed acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with lock:
            self.note(body)
            answer = answers.pop(0) if answers else ""
            status, words, retry_after = self.judge(body, answer)
        if status is None:
            threading.Event().wait()
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        words = words.encode()
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def judge(self, body, answer):
        if arguments.expect:
            if self.headers.get("Authorization") != open(arguments.expect, encoding="utf-8").readline().strip():
                return 401, "", None
        if answer and answer != "hang":
            status, _, retry_after = answer.partition(":")
            return int(status), "as it was told", retry_after
        word = word_of(arguments.refuse)
        plain = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        if word and word.encode() in plain:
            return 422, "there is a " + word + " in it", None
        with open(arguments.file, "a", encoding="utf-8") as file:
            for element in elements_of(plain, self.headers.get("Content-Type")):
                file.write(json.dumps(element) + "\n")
        return (None, "", None) if answer == "hang" else (200, "", None)

    def note(self, body):
        if not arguments.requests:
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        note = {"path": self.path, "headers": headers, "bytes": len(body), "from": self.client_address[1]}
        with open(arguments.requests, "a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")

    def log_message(self, *_):
        pass


def main():
    global arguments
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    parser.add_argument("--requests")
    parser.add_argument("--answers", default="")
    parser.add_argument("--refuse")
    parser.add_argument("--expect")
    arguments = parser.parse_args()
    answers.extend(answer for answer in arguments.answers.split(",") if answer)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Sink)
    server.daemon_threads = True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
