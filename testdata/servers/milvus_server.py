#!/usr/bin/env python3
"""A real Milvus 2.3.5 on 127.0.0.1 only, until it gets a TERM: milvus_server.py DATA_DIR PORT. Prints PORT once it
answers. Run it with the Python of a venv that has milvus==2.3.5.

That Milvus listens on every address. So this process makes the listening socket for the tests, then enters a network
namespace of its own, starts Milvus there and carries bytes between the two: a socket stays in the namespace in which
it was made. Milvus ignores TERM: it is killed, and keeps what it has acknowledged. It ends itself where the machine
has stood still for longer than its leases last, half a minute: then it is started again.
"""
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

CLONE_NEWUSER, CLONE_NEWNET, PR_SET_PDEATHSIG = 0x10000000, 0x40000000, 1
INNER = 19530
libc = ctypes.CDLL(None, use_errno=True)


def enter_namespace():
    flags = CLONE_NEWNET if os.getuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        sys.exit(f'no network namespace of its own: {os.strerror(ctypes.get_errno())}')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # ip link set lo up
        ifreq = bytearray(struct.pack('16sH14s', b'lo', 0, b''))
        fcntl.ioctl(s, 0x8913, ifreq)
        ifreq[16:18] = struct.pack('H', struct.unpack('H', ifreq[16:18])[0] | 1)
        fcntl.ioctl(s, 0x8914, bytes(ifreq))


def milvus(data):
    import milvus as package
    server = package.MilvusServer(wait_for_started=False)
    server.config.update(data_dir=data, proxy_port=INNER)
    # A reader that wants to see all writes waits for the next tick: 200 ms, were it not for this.
    server.config.set('proxy.timeTickInterval', 20)
    server.config.resolve()
    programs = sys.prefix + '/server'  # 400 MB: unpacked once for all data folders
    with open(sys.prefix + '/server.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        package._initialize_data_files(programs)
    env = dict(os.environ, DEPLOY_MODE='STANDALONE', METRICS_PORT='9091', MILVUS_RUN_DIR=data + '/run',
               LD_LIBRARY_PATH=programs + '/bin')
    log = open(data + '/logs/milvus.log', 'ab')
    return subprocess.Popen([programs + '/bin/milvus', 'run', 'standalone'], cwd=data, env=env, stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log, preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def wait(child):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(2800):
        if child.poll() is not None:
            sys.exit('milvus ended at its start, see logs/milvus.log in its folder')
        try:
            if b'OK' in direct.open('http://127.0.0.1:9091/healthz', timeout=5).read():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit('milvus is not ready after almost five minutes')


def carry(a, b):
    try:
        while data := a.recv(1 << 16):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(listener):
    while True:
        outer, _ = listener.accept()
        try:
            inner = socket.create_connection(('127.0.0.1', INNER))
        except OSError:
            outer.close()
            continue
        for pair in ((outer, inner), (inner, outer)):
            threading.Thread(target=carry, args=pair, daemon=True).start()


def main():
    data, port = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    os.makedirs(data, exist_ok=True)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('127.0.0.1', port))
    enter_namespace()
    child, listens = milvus(data), False
    try:
        while True:
            wait(child)
            if not listens:
                listens = True
                listener.listen(64)
                print(listener.getsockname()[1], flush=True)
                threading.Thread(target=serve, args=(listener,), daemon=True).start()
            print(f'milvus has ended with {child.wait()}, it is started again', file=sys.stderr, flush=True)
            child = milvus(data)
    finally:
        child.kill()
        child.wait()


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
