#!/usr/bin/env python3
"""A WebSocket server with a gate: only who has the right words or a right certificate comes in, and what is right may change.

    gate.py --port 0 --file got.ndjson [--expect FILE] [--host HOST] [--subprotocol NAME]
            [--tls-cert PEM --tls-key PEM [--client-ca PEM]]

Needs the `websockets` package. Prints the port as its first line. FILE is read at each handshake: its first line must be
the request's `Authorization`, or the beginning of its path when it begins with a slash; all others get 401. Who comes in is
a line of JSON: {"path":…,"headers":{…},"certificate":[names]}, and so is each frame: {"frame":…}. SIGUSR1 closes all
connections with 1001. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import http
import json
import signal
import ssl

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def is_right(expected, request):
    if expected.startswith("/"):
        return request.path.startswith(expected)
    return request.headers.get("Authorization") == expected


def certificate_of(connection):
    tls = connection.transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert() if tls else None
    return [name for _, name in (certificate or {}).get("subjectAltName", ())]


def tls_of(arguments):
    if not arguments.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    if arguments.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(arguments.client_ca)
    return context


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--file", required=True)
    parser.add_argument("--expect")
    parser.add_argument("--subprotocol", action="append")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--client-ca")
    arguments = parser.parse_args()

    stop = asyncio.Event()
    connections = set()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def close_all():
        for connection in connections:
            loop.create_task(connection.close(1001))

    loop.add_signal_handler(signal.SIGUSR1, close_all)

    with open(arguments.file, "a", encoding="utf-8") as file:

        def keep(line):
            file.write(json.dumps(line) + "\n")
            file.flush()

        def look(connection, request):
            if arguments.expect:
                with open(arguments.expect, encoding="utf-8") as right:
                    if not is_right(right.readline().strip(), request):
                        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "who are you?\n")
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            keep({"path": request.path, "headers": headers, "certificate": certificate_of(connection)})
            return None

        async def listen(connection):
            connections.add(connection)
            try:
                async for frame in connection:
                    keep({"frame": frame if isinstance(frame, str) else list(frame)})
            except ConnectionClosed:
                pass
            finally:
                connections.discard(connection)

        async with serve(
            listen,
            arguments.host,
            arguments.port,
            process_request=look,
            subprotocols=arguments.subprotocol,
            ssl=tls_of(arguments),
        ) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
