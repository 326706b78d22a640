#!/usr/bin/env python3
"""A plain WebSocket server that knows nothing of Holdfast: each frame becomes a line of a file, and comes back if asked.

    echo_store.py --port 0 --file frames.txt [--echo] [--max-size BYTES]

Needs the `websockets` package. Prints the port as its first line and `closed CODE` at the end of each connection. Lines
are flushed one by one. Pongs come from the
library as soon as it has read a ping, which may be before the lines of the frames in front of it are written. Binary
frames are written as `base64:` and their content. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import base64
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def line_of(frame):
    if isinstance(frame, str):
        return frame.replace("\r", " ").replace("\n", " ")
    return "base64:" + base64.b64encode(frame).decode()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    parser.add_argument("--echo", action="store_true", help="send every frame back")
    parser.add_argument("--max-size", type=int, default=1 << 20, help="close with 1009 on a larger message")
    arguments = parser.parse_args()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    with open(arguments.file, "a", encoding="utf-8") as file:

        async def keep(connection):
            try:
                async for frame in connection:
                    file.write(line_of(frame) + "\n")
                    file.flush()
                    if arguments.echo:
                        await connection.send(frame)
            except ConnectionClosed:
                pass
            print(f"closed {connection.close_code}", flush=True)

        async with serve(keep, "127.0.0.1", arguments.port, max_size=arguments.max_size) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
