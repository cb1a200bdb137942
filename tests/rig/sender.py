"""A program that opens sockets: run as sender.py KIND HOST PORT COUNT. Each socket sends "PID NUMBER".

KIND is tcp, unix (HOST is its path), udp-connected, udp-bound or udp-wildcard: all stay open until standard input ends.
tcp-hasty and udp-hasty close each at once; tcp-asking, udp-asking and udp-wildcard-asking wait for an answer first.
tcp-crowd-asking waits for each answer, too, and closes only the oldest when it has 30 open, as a browser does.
Imports little, for tests start it often.
"""

import os
import socket
import sys

CROWD = 30


def opened(kind: str, host: str, port: int) -> socket.socket:
    """A socket that can send to there."""
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(host)
        return sock
    transport = socket.SOCK_STREAM if kind.startswith("tcp") else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, transport)
    if kind == "udp-bound":
        sock.bind((host, 0))
    elif not kind.startswith("udp-wildcard"):
        sock.connect((host, port))
    return sock


def main(kind: str, host: str, port: int, count: int) -> None:
    """Send from `count` sockets."""
    held = []
    for number in range(count):
        sock = opened(kind, host, port)
        payload = f"{os.getpid()} {number}".encode()
        if kind.startswith(("udp-bound", "udp-wildcard")):
            sock.sendto(payload, (host, port))
        else:
            sock.send(payload)
        if kind.endswith("asking"):
            sock.recv(64)
        if kind.endswith(("asking", "hasty")) and kind != "tcp-crowd-asking":
            sock.close()
        else:
            held.append(sock)
        if kind == "tcp-crowd-asking" and len(held) == CROWD:
            held.pop(0).close()
    if held and not kind.endswith("asking"):
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
