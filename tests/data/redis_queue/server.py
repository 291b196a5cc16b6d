"""As much of Redis as the queue needs, on one port, in one thread a connection."""

from __future__ import annotations

import socketserver
from collections import defaultdict
from typing import Any

numbers: defaultdict[bytes, int] = defaultdict(int)
lists: defaultdict[bytes, list[bytes]] = defaultdict(list)
tables: defaultdict[bytes, dict[bytes, bytes]] = defaultdict(dict)


def answer(name: bytes, args: list[bytes]) -> Any:
    """Return what a command is answered; text as it stands, but for its end."""
    match name.upper():
        case b"PING":
            return "+PONG"
        case b"HELLO":
            return "%1\r\n+proto\r\n:3"
        case b"CLIENT" | b"SELECT":
            return "+OK"
        case b"FLUSHDB":
            for each in (numbers, lists, tables):
                each.clear()
            return "+OK"
        case b"INCR" | b"INCRBY":
            numbers[args[0]] += int(args[1]) if args[1:] else 1
            return numbers[args[0]]
        case b"RPUSH":
            lists[args[0]] += args[1:]
            return len(lists[args[0]])
        case b"LPOP":
            return lists[args[0]].pop(0) if lists[args[0]] else None
        case b"LLEN":
            return len(lists[args[0]])
        case b"HSET":
            tables[args[0]][args[1]] = args[2]
            return 1
        case b"HGET":
            return tables[args[0]].get(args[1])
    return f"-ERR unknown command '{name.decode()}'"


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        null = b"$-1\r\n"
        while head := self.rfile.readline():
            words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
            said = answer(words[0], words[1:])
            if words[0].upper() == b"HELLO":
                null = b"_\r\n"  # as version 3 of the protocol has it
            if isinstance(said, str):
                self.wfile.write(said.encode() + b"\r\n")
            elif isinstance(said, int):
                self.wfile.write(b":%d\r\n" % said)
            else:
                self.wfile.write(null if said is None else b"$%d\r\n%b\r\n" % (len(said), said))


socketserver.ThreadingTCPServer.daemon_threads = True
with socketserver.ThreadingTCPServer(("", 6379), Handler) as server:
    print("Ready to accept connections", flush=True)
    server.serve_forever()
