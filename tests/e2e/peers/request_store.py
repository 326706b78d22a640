#!/usr/bin/env python3
"""A WebSocket server that keeps the requests with which its clients come, each as a line of JSON.

    request_store.py --port 0 --file requests.ndjson

Needs the `websockets` package. Prints the port as its first line. {"path":…,"headers":{…}}, names of headers in lower
case; flushed before the upgrade is answered. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import signal

from websockets.asyncio.server import serve


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    arguments = parser.parse_args()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    with open(arguments.file, "a", encoding="utf-8") as file:

        def keep(_connection, request):
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            file.write(json.dumps({"path": request.path, "headers": headers}) + "\n")
            file.flush()

        async def listen(connection):
            async for _frame in connection:
                pass

        async with serve(listen, "127.0.0.1", arguments.port, process_request=keep) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
