"""A name server for a host of a test's own network: no name exists. The address is in the arguments."""
import socket
import struct
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(4096)
    end = 12
    while query[end]:
        end += query[end] + 1
    question = query[12 : end + 5]
    # A response, recursion available, NXDOMAIN; one question and nothing else.
    server.sendto(query[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question, client)
