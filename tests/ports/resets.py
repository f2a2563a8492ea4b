# Says one thing that is refused in each connection, and resets it. Prints how often until it is turned away.
import socket, struct, sys

host, port, lines = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
for number in range(1, 301):
    client = socket.create_connection((host, port), 30)
    said = client.recv(512)
    if said.startswith(b"421"):
        print(number, said.decode())
        break
    for line in lines:
        client.sendall(line.encode() + b"\r\n")
        said = client.recv(512)
    assert said.startswith(b"5"), said
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
else:
    print("never")
