#!/usr/bin/env python3
"""A proxy in front of a WebSocket server, which answers the upgrade in every old and long form that is legal.

    old_front.py --upstream PORT --file FILE [--port 0]

Prints the port as its first line. Before the server's own answer come 100 Continue and 103 Early Hints; its fields are folded,
have blanks before the colon and 300 others among them, of which one is 60 KB long. FILE gets each request's head. Ends on
SIGTERM or SIGINT.
"""

import argparse
import asyncio
import signal


def aged(head):
    status, *fields = head.decode("latin-1").split("\r\n")
    pairs = [field.split(":", 1) for field in fields if field]
    folded = [f"{name} :\r\n\t{value.strip()}" for name, value in pairs]
    others = [f"X-Filler-{number}: {number}" for number in range(300)]
    lines = [status, *others, f"X-Long: {'x' * 60000}", "no field at all", *folded]
    informational = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    return (informational + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def pump(reader, writer):
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--upstream", type=int, required=True)
    parser.add_argument("--file", required=True)
    arguments = parser.parse_args()

    async def serve(reader, writer):
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", arguments.upstream)
        request = await reader.readuntil(b"\r\n\r\n")
        with open(arguments.file, "ab") as file:
            file.write(request)
        upstream_writer.write(request)
        head = await upstream_reader.readuntil(b"\r\n\r\n")
        writer.write(aged(head[:-4]))
        await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer), return_exceptions=True)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await asyncio.start_server(serve, "127.0.0.1", arguments.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
