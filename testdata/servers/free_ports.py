#!/usr/bin/env python3
"""Prints N free ports of this machine: free_ports.py N.

They are free on every address, as are those 10000 higher (a Redis cluster takes both), and none of them is one that the
system gives to a connection that goes out: what was free a moment ago, or before a restart, still is.
"""
import random
import socket
import sys


def lowest_given():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            return int(f.read().split()[0])
    except OSError:
        return 49152


def free_ports(count):
    top = lowest_given() - 10000
    low, high = (10000, top) if top > 12000 else (10000, 50000)
    found, held = [], []
    while len(found) < count:
        port, pair = random.randrange(low, high), []
        try:
            for p in port, port + 10000:
                pair.append(socket.socket())
                pair[-1].bind(("", p))
        except OSError:
            continue
        found.append(port)
        held += pair  # so that no port comes twice
    return found


if __name__ == "__main__":
    print(*free_ports(int(sys.argv[1])))
