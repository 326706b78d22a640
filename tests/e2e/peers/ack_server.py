#!/usr/bin/env python3
"""A peer of the subprotocol holdfast.v1 with JSON envelopes, written from the description of the wire alone.

    ack_server.py --port 0 --file messages.ndjson [--no-ack] [--nack SEQ]... [--no-resume]

Needs the `websockets` package. Prints the port as its first line. Each new message is a line of the file, flushed before
it is acknowledged: {"epoch":…,"seq":…,"data":…}; a gap is {"epoch":…,"gap":{…}} and a refused message
{"epoch":…,"nack":…}. What comes again is not written again. Ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


class Epoch:
    """The numbers of one epoch: everything below `next` is covered, and so is what is in `ahead`."""

    def __init__(self, first):
        self.next = first
        self.ahead = set()

    def cover(self, seq):
        """Tells whether the number is new."""
        if seq < self.next or seq in self.ahead:
            return False
        self.ahead.add(seq)
        self.advance()
        return True

    def cover_range(self, first, last):
        self.ahead.difference_update(range(first, last + 1))
        if first <= self.next <= last:
            self.next = last + 1
        elif first > self.next:
            self.ahead.update(range(first, last + 1))
        self.advance()

    def skip_to(self, first):
        self.next = max(self.next, first)
        self.advance()

    def advance(self):
        while self.next in self.ahead:
            self.ahead.remove(self.next)
            self.next += 1


class Peer:
    def __init__(self, file, arguments):
        self.file = file
        self.arguments = arguments
        self.epochs = {}

    def write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    async def talk(self, connection):
        name = None
        try:
            async for text in connection:
                frame = json.loads(text)
                if "hello" in frame:
                    name = frame["hello"]["epoch"]
                    await self.greet(connection, name, frame["hello"]["first"])
                elif "gap" in frame:
                    self.take_gap(name, frame["gap"])
                    await self.acknowledge(connection, name)
                else:
                    name = frame["epoch"]
                    await self.take_messages(connection, name, frame["messages"])
                    await self.acknowledge(connection, name)
        except ConnectionClosed:
            pass

    async def greet(self, connection, name, first):
        known = name in self.epochs
        epoch = self.epochs.setdefault(name, Epoch(first))
        epoch.skip_to(first)
        if known and not self.arguments.no_resume:
            await connection.send(json.dumps({"resume": epoch.next}))

    def take_gap(self, name, gap):
        self.epochs[name].cover_range(gap["from"], gap["to"])
        self.write({"epoch": name, "gap": gap})

    async def take_messages(self, connection, name, messages):
        for message in messages:
            seq = message["seq"]
            new = self.epochs.setdefault(name, Epoch(seq)).cover(seq)
            if seq in self.arguments.nack:
                await connection.send(json.dumps({"nack": seq, "reason": "asked for"}))
                if new:
                    self.write({"epoch": name, "nack": seq})
            elif new:
                self.write({"epoch": name, **message})

    async def acknowledge(self, connection, name):
        if not self.arguments.no_ack:
            await connection.send(json.dumps({"ack": self.epochs[name].next - 1}))


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--file", required=True)
    parser.add_argument("--no-ack", action="store_true", help="never acknowledge")
    parser.add_argument("--no-resume", action="store_true", help="never say where to resume")
    parser.add_argument("--nack", type=int, action="append", default=[], help="refuse this number")
    arguments = parser.parse_args()

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    with open(arguments.file, "a", encoding="utf-8") as file:
        peer = Peer(file, arguments)
        async with serve(peer.talk, "127.0.0.1", arguments.port, subprotocols=["holdfast.v1"]) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
