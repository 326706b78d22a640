#!/usr/bin/env python3
"""A bad line: two TUN devices with everything in between that the kernel's netem would do.

    wire.py NAME NAME

Says "ready" once both devices are there. Each line on stdin is a JSON object that changes how the line is, from then on:
delay (seconds each way), loss (0 to 1), rate (bytes a second, 0 is no bound), max_packet (larger ones vanish, 0 is no bound),
down (nothing passes); or {"report": 1}, which is answered with the bytes that came from each side. It ends with its stdin.
"""

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
# What may wait at the slow end of the line.
QUEUE_BYTES = 32 * 1024


def device(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


class Way:
    """One direction."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.waiting = []
        self.free_at = 0.0
        self.count = 0
        self.bytes = 0

    def take(self, line, now):
        while True:
            try:
                packet = os.read(self.source, 65536)
            except (BlockingIOError, OSError):
                return
            self.count += 1
            self.bytes += len(packet)
            size = len(packet)
            if line["down"] or random.random() < line["loss"] or size > (line["max_packet"] or 65536):
                continue
            rate = line["rate"]
            begins_at = max(now, self.free_at)
            if rate and (begins_at - now) * rate > QUEUE_BYTES:
                continue
            self.free_at = begins_at + (size / rate if rate else 0.0)
            heapq.heappush(self.waiting, (self.free_at + line["delay"], self.count, packet))

    def give(self, line, now):
        while self.waiting and self.waiting[0][0] <= now:
            packet = heapq.heappop(self.waiting)[2]
            if not line["down"]:
                try:
                    os.write(self.target, packet)
                except OSError:
                    pass  # The device is down for a moment.


def main():
    tuns = [device(name) for name in sys.argv[1:3]]
    ways = [Way(*tuns), Way(*reversed(tuns))]
    line = {"delay": 0.0, "loss": 0.0, "rate": 0, "max_packet": 0, "down": False}
    commands = b""
    print("ready", flush=True)
    while True:
        dues = [way.waiting[0][0] for way in ways if way.waiting]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else None
        ready = select.select([*tuns, sys.stdin.fileno()], [], [], wait)[0]
        now = time.monotonic()
        if sys.stdin.fileno() in ready:
            read = os.read(sys.stdin.fileno(), 4096)
            if not read:
                return
            *whole, commands = (commands + read).split(b"\n")
            for command in map(json.loads, whole):
                if "report" in command:
                    print(json.dumps([way.bytes for way in ways]), flush=True)
                else:
                    line.update(command)
        for way in ways:
            way.take(line, now)
            way.give(line, now)


main()
