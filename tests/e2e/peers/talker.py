#!/usr/bin/env python3
"""A WebSocket server that talks of its own: it sends what it is told to each client that comes, and keeps what it gets.

    talker.py --port 0 --file frames.txt --say '{"t":1}' [--say base64:AP8=] [--echo] [--repeat N]

Needs the `websockets` package. Prints the port as its first line. What starts with `base64:` goes out as a binary frame,
all else as text; `--repeat` sends the whole list so many times. Frames that come become lines of the file. Ends on SIGTERM
or SIGINT.
"""

import argparse
import asyncio
import base64
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

BINARY = "base64:"


def frame_of(words):
    return base64.b64decode(words[len(BINARY):]) if words.startswith(BINARY) else words


def line_of(frame):
    return frame if isinstance(frame, str) else BINARY + base64.b64encode(frame).decode()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    parser.add_argument("--say", action="append", default=[])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--echo", action="store_true", help="send every frame back")
    arguments = parser.parse_args()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    with open(arguments.file, "a", encoding="utf-8") as file:

        async def talk(connection):
            try:
                for _ in range(arguments.repeat):
                    for words in arguments.say:
                        await connection.send(frame_of(words))
                async for frame in connection:
                    file.write(line_of(frame) + "\n")
                    file.flush()
                    if arguments.echo:
                        await connection.send(frame)
            except ConnectionClosed:
                pass

        async with serve(talk, "127.0.0.1", arguments.port, compression=None) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
