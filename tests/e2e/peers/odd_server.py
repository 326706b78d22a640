#!/usr/bin/env python3
"""A WebSocket server that keeps to RFC 6455 and is odd all the same. Each frame that comes becomes a line of a file.

    odd_server.py --port 0 --file frames.txt [--say-bytes N] [--broken-text] [--no-echo UNTIL]

Needs the `websockets` package. Prints the port as its first line. To each client that comes it sends a message of N bytes in
fragments, and a text message that is no UTF-8. Its pongs are empty until the file UNTIL exists. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import os
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

FRAGMENT = 100_000


def without_echo(until):
    send_frame = ServerProtocol.send_frame

    def send(self, frame):
        if frame.opcode is Opcode.PONG and not os.path.exists(until):
            frame = Frame(Opcode.PONG, b"")
        send_frame(self, frame)

    ServerProtocol.send_frame = send


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    parser.add_argument("--say-bytes", type=int, default=0)
    parser.add_argument("--broken-text", action="store_true")
    parser.add_argument("--no-echo", metavar="UNTIL")
    arguments = parser.parse_args()
    if arguments.no_echo:
        without_echo(arguments.no_echo)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    with open(arguments.file, "a", encoding="utf-8") as file:

        async def keep(connection):
            try:
                if arguments.say_bytes:
                    count = arguments.say_bytes // FRAGMENT
                    await connection.send(bytes(FRAGMENT) for _ in range(count))
                if arguments.broken_text:
                    connection.transport.write(b"\x81\x02\xc3\x28")
                async for frame in connection:
                    file.write(frame + "\n")
                    file.flush()
            except ConnectionClosed:
                pass

        async with serve(keep, "127.0.0.1", arguments.port) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
