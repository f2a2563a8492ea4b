"""Stands before a mail host and cuts the connection where the reply to a message would pass, the first time that a
message comes: with a reset, or in order, in turn. It takes STARTTLS out of the offer, to see what passes.
Arguments: the mail host, its port, listening addresses."""
import re
import select
import socket
import struct
import sys
import threading

seen, lock = set(), threading.Lock()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def cuts(subject):
    """Whether it comes for the first time, and how many have."""
    with lock:
        first = subject not in seen
        seen.add(subject)
        print("cut" if first else "passed", subject, flush=True)
        return first, len(seen)


def serve(client):
    # One thread for both ways: what is closed while somebody waits for it is not closed.
    server = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)
    tail, subject = b"", ""
    waiting = [client, server]
    while True:
        ready, _, _ = select.select(waiting, [], [], 120)
        if client in ready:
            data = client.recv(65536)
            if not data:
                # Exim closes its side behind the QUIT that it sends with the message, and reads on.
                server.shutdown(socket.SHUT_WR)
                waiting = [server]
                continue
            tail = (tail + data)[-70000:]
            found = re.findall(rb"^Subject: ((?:first|second)-\d+)\r$", tail, re.M)
            if found:
                subject = found[-1].decode()
            server.sendall(data)
        if server in ready:
            data = server.recv(65536)
            if not data:
                break
            data = re.sub(rb"(250[- ])STARTTLS\r\n", rb"\1XNOTHING\r\n", data)
            if b"250 2.0.0 Taken as" in data:
                first, turn = cuts(subject)
                if first:
                    reset(server)
                    return reset(client) if turn % 2 else client.close()
            client.sendall(data)
        if not ready:
            break
    client.close()
    server.close()


def serve_whole(client):
    try:
        serve(client)
    except OSError:
        client.close()


listeners = [socket.create_server((address, 25), backlog=256) for address in sys.argv[3:]]
print("ready", flush=True)
while True:
    for listener in select.select(listeners, [], [])[0]:
        connection, _ = listener.accept()
        threading.Thread(target=serve_whole, args=(connection,), daemon=True).start()
