#!/usr/bin/env python3
"""One WebSocket server for many clients: each connection's frames become lines of a file that is named after its path.

    crowd_server.py --port 9000 --file DIRECTORY

Needs the `websockets` package. Prints the port as its first line. A frame on `/c7` becomes a line of `DIRECTORY/c7`. Ends
on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import pathlib
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    arguments = parser.parse_args()
    directory = pathlib.Path(arguments.file)
    directory.mkdir(exist_ok=True)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def keep(connection):
        with open(directory / connection.request.path.strip("/"), "a", encoding="utf-8") as file:
            try:
                async for frame in connection:
                    file.write(frame + "\n")
            except ConnectionClosed:
                pass

    async with serve(keep, "127.0.0.1", arguments.port) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
