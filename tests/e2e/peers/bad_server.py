#!/usr/bin/env python3
"""A WebSocket server that fails in a chosen way.

    bad_server.py --port 0 --mode die|no-pong|close|no-upgrade [--after N] [--code CODE] [--times K] [--file FILE]

Needs the `websockets` package. Prints the port as its first line. Frames that are read become lines of FILE, flushed at
once. The modes:

die         the process ends without a word after N frames (os._exit, code 9)
no-pong     every frame is read and no ping is ever answered
close       each connection is closed with CODE after N frames
no-upgrade  TCP connections are accepted and nothing is ever said on them

With --times K only the first K connections are treated so, and the others well (not for no-upgrade).
"""

import argparse
import asyncio
import os
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode


def swallow_pongs(connection):
    """Keeps the protocol's automatic answers to pings from being sent."""
    send_frame = connection.protocol.send_frame

    def send_frame_unless_pong(frame):
        if frame.opcode is not Opcode.PONG:
            send_frame(frame)

    connection.protocol.send_frame = send_frame_unless_pong


class Peer:
    def __init__(self, arguments):
        self.arguments = arguments
        self.file = open(arguments.file, "a", encoding="utf-8")
        self.connections = 0

    async def talk(self, connection):
        self.connections += 1
        bad = self.arguments.times is None or self.connections <= self.arguments.times
        if bad and self.arguments.mode == "no-pong":
            swallow_pongs(connection)
        count = 0
        try:
            async for frame in connection:
                self.file.write((frame if isinstance(frame, str) else frame.hex()) + "\n")
                self.file.flush()
                count += 1
                if bad and count >= self.arguments.after:
                    await self.fail(connection)
        except ConnectionClosed:
            pass

    async def fail(self, connection):
        if self.arguments.mode == "die":
            os._exit(9)
        if self.arguments.mode == "close":
            await connection.close(self.arguments.code, "asked for")


async def hold_open(_reader, writer):
    try:
        await asyncio.Event().wait()
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", required=True, choices=["die", "no-pong", "close", "no-upgrade"])
    parser.add_argument("--after", type=int, default=1)
    parser.add_argument("--code", type=int, default=1011)
    parser.add_argument("--times", type=int)
    parser.add_argument("--file", default=os.devnull)
    arguments = parser.parse_args()

    if arguments.mode == "no-upgrade":
        server = await asyncio.start_server(hold_open, "127.0.0.1", arguments.port)
    else:
        talk = Peer(arguments).talk
        server = await serve(talk, "127.0.0.1", arguments.port, ping_interval=None)
    print(server.sockets[0].getsockname()[1], flush=True)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
