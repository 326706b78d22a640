#!/usr/bin/env python3
"""A server of aiohttp, as people write it: what comes over a WebSocket or by POST becomes a line of a file.

    library_server.py --port 0 --file got.txt

Prints the port as its first line. A frame is a line; a POST has NDJSON, of which each line is one. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio

from aiohttp import WSMsgType, web


def application(file):
    def keep(line):
        file.write(line + "\n")
        file.flush()

    async def frames(request):
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for frame in connection:
            if frame.type == WSMsgType.TEXT:
                keep(frame.data)
        return connection

    async def batch(request):
        for line in (await request.text()).splitlines():
            keep(line)
        return web.Response()

    server = web.Application()
    server.add_routes([web.get("/{path:.*}", frames), web.post("/in", batch)])
    return server


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    arguments = parser.parse_args()
    with open(arguments.file, "a", encoding="utf-8") as file:
        runner = web.AppRunner(application(file), handle_signals=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        print(runner.addresses[0][1], flush=True)
        try:
            await asyncio.Event().wait()
        except web.GracefulExit:
            pass
        await runner.cleanup()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except web.GracefulExit:
        pass
