#!/usr/bin/env python3
"""Prints N free ports of this machine: free_ports.py N.

They are free on every address, as are those 10000 higher (a Redis cluster takes both), and none of them is one that the
system gives to a connection that goes out: what was free a moment ago, or before a restart, still is. Those who ask at
the same time on one machine get different ones, as /tmp/outgrow-ports.UID says where the last search has ended.
"""
import fcntl
import os
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
    try:
        file = os.open(f"/tmp/outgrow-ports.{os.getuid()}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        file = None
    try:
        last = int(os.pread(file, 20, 0))
    except (TypeError, ValueError):
        last = random.randrange(low, high)
    found = []
    while len(found) < count:
        last = last + 1 if low <= last < high - 1 else low
        pair = []
        try:
            for p in last, last + 10000:
                pair.append(socket.socket())
                pair[-1].bind(("", p))
            found.append(last)
        except OSError:
            pass
        finally:
            for s in pair:
                s.close()
    if file is not None:
        os.pwrite(file, b"%-20d" % last, 0)
    return found


if __name__ == "__main__":
    print(*free_ports(int(sys.argv[1])))
