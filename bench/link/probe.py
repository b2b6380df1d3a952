#!/usr/bin/env python3
"""probe.py serve HOST | probe.py HOST: what a link gives: Gbit/s of one TCP stream, and a small message's round trip."""
import socket
import sys
import time

PORT, BYTES, ROUNDS = 7777, 1 << 26, 200

if sys.argv[1] == "serve":
    with socket.create_server((sys.argv[2], PORT)) as server:
        peer, _ = server.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(ROUNDS):
                peer.sendall(peer.recv(1))
            left = BYTES
            while left:
                left -= len(peer.recv(1 << 20))
            peer.sendall(b".")
else:
    for _ in range(100):
        try:
            s = socket.create_connection((sys.argv[1], PORT))
            break
        except OSError:
            time.sleep(0.1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    trips = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        s.sendall(b".")
        s.recv(1)
        trips.append(time.perf_counter() - start)
    start = time.perf_counter()
    s.sendall(bytes(BYTES))
    s.recv(1)
    rate = BYTES * 8e-9 / (time.perf_counter() - start)
    print(f"{rate:.3f} Gbit/s, round trip {sorted(trips)[ROUNDS // 2] * 1e3:.3f} ms")
