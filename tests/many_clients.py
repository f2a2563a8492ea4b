"""Opens connections to a mail port and holds them until its input ends: SERVER PORT EACH ADDRESS..."""
import socket
import sys

server, port, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
held = []
for address in sys.argv[4:]:
    for _ in range(each):
        connection = socket.socket()
        connection.settimeout(20)
        connection.bind((address, 0))
        try:
            connection.connect((server, port))
            held.append(connection)
        except OSError:
            connection.close()
print(f"open {len(held)}", flush=True)
greeted = 0
for connection in held:
    try:
        greeted += connection.recv(512).startswith(b"220")
    except OSError:
        pass
print(f"greeted {greeted}", flush=True)
sys.stdin.read()
