"""Stands before a mail host and cuts the connection where the reply to a message would pass, the first time that a
message comes: with a reset, or in order, in turn. It takes STARTTLS out of the offer, to see what passes.
Arguments: listening address, the mail host, its port."""
import re
import socket
import struct
import sys
import threading

seen, lock = set(), threading.Lock()


def say(*words):
    with lock:
        print(*words, flush=True)


def reset(connection):
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    connection.close()


def serve(client):
    server = socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=60)
    client.settimeout(60)
    state = {"id": None, "over": False}

    def upwards():
        tail = b""
        try:
            while data := client.recv(65536):
                tail = (tail + data)[-200000:]
                found = re.findall(rb"^Subject: (numbered-\d+)\r$", tail, re.M)
                if found:
                    state["id"] = found[-1]
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    thread = threading.Thread(target=upwards, daemon=True)
    thread.start()
    try:
        while data := server.recv(65536):
            data = data.replace(b"250-STARTTLS\r\n", b"250-XNOTHING\r\n").replace(b"250 STARTTLS\r\n", b"250 XNOTHING\r\n")
            if b"250 2.0.0 Taken as" in data:
                with lock:
                    first = state["id"] not in seen
                    seen.add(state["id"])
                    turn = len(seen)
                if first:
                    say("cut", state["id"].decode())
                    reset(server)
                    reset(client) if turn % 2 else client.close()
                    return
                say("passed", state["id"].decode())
            client.sendall(data)
    except OSError:
        pass
    for connection in (client, server):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        connection.close()


listener = socket.create_server((sys.argv[1], 25), backlog=256)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
