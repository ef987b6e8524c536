"""A slow link between two network namespaces: every IP packet takes its time, and a share of them never comes.

    slowlink.py --delay-ms 300 --loss-percent 5 --seed 1 near far

Makes two TUN devices of these names, says `ready`, and carries packets from each to the other for as long as its input is
open; whoever started it moves one of them into another namespace. A line on its input is a command, answered by a line:

    pass     everything passes (as at the start)
    no-udp   a firewall drops UDP
    count    how many packets came since the last `count`, by protocol, and what became of them
"""

import argparse
import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PROTOCOLS = {6: "TCP", 17: "UDP"}
PACKET_BYTES_MAX = 65536
# What a router holds of one direction: packets beyond it are dropped, as by a real one.
QUEUE_PACKETS_MAX = 8192


class Link:
    def __init__(self, arguments):
        self.delay = arguments.delay_ms / 1000
        self.loss = arguments.loss_percent / 100
        self.chance = random.Random(arguments.seed)
        self.ends = [open_tun(arguments.near), open_tun(arguments.far)]
        # Of each direction: when a packet is due, and the packet. The delay is one for all, so the first is due first.
        self.queues = {end: collections.deque() for end in self.ends}
        self.udp_passes = True
        self.counted = collections.Counter()

    def other(self, end):
        return self.ends[1 - self.ends.index(end)]

    def take(self, end):
        while True:
            try:
                packet = os.read(end, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue
            protocol = PROTOCOLS.get(packet[9], "other")
            fate = self.judge(protocol, self.queues[self.other(end)])
            self.counted[protocol, fate] += 1
            if fate == "passed":
                self.queues[self.other(end)].append((time.monotonic() + self.delay, packet))

    def judge(self, protocol, queue):
        # The dice are thrown for each packet, also for one that the firewall drops.
        is_lost = self.chance.random() < self.loss
        if protocol == "UDP" and not self.udp_passes:
            return "stopped"
        return "lost" if is_lost else "overflowed" if len(queue) >= QUEUE_PACKETS_MAX else "passed"

    def give(self):
        now = time.monotonic()
        for end, queue in self.queues.items():
            while queue and queue[0][0] <= now:
                # A device that is down takes nothing.
                try:
                    os.write(end, queue.popleft()[1])
                except OSError:
                    pass

    def wait(self):
        due = min((queue[0][0] for queue in self.queues.values() if queue), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def obey(self, command):
        if command in ("pass", "no-udp"):
            self.udp_passes = command == "pass"
            return command
        if command != "count":
            return f"no command {command!r}"
        counted, self.counted = self.counted, collections.Counter()
        by_protocol = collections.defaultdict(list)
        for (protocol, fate), number in sorted(counted.items()):
            by_protocol[protocol].append(f"{number} {fate}")
        return "; ".join(f"{name}: {', '.join(fates)}" for name, fates in by_protocol.items()) or "nothing came"

    def run(self):
        say("ready")
        while True:
            readable, _, _ = select.select([*self.ends, sys.stdin], [], [], self.wait())
            for end in self.ends:
                if end in readable:
                    self.take(end)
            self.give()
            if sys.stdin in readable:
                line = sys.stdin.readline()
                if not line:
                    return
                say(self.obey(line.strip()))


def open_tun(name):
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


def say(line):
    print(line, flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--delay-ms", type=float, required=True, help="of each packet, one way")
parser.add_argument("--loss-percent", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("near")
parser.add_argument("far")
Link(parser.parse_args()).run()
