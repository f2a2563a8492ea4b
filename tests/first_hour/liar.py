"""A name server that gives every name the same address, as some providers' do, on 127.0.0.1:5300."""
import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5300))
print("lies", flush=True)
while True:
    query, peer = server.recvfrom(4096)
    end = query.index(b"\0", 12) + 5
    question, kind = query[12:end], query[end - 4 : end - 2]
    answers = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x63" if kind == b"\0\x01" else b""
    count = b"\0\x01" if answers else b"\0\0"
    server.sendto(query[:2] + b"\x81\x80\0\x01" + count + b"\0\0\0\0" + question + answers, peer)
