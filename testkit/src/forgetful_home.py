"""An MTA within TLS that offers nothing, takes a message and gives no reply to it."""
import socket
import ssl
import sys

address, port, chain, key, manner = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
listener = socket.create_server((address, int(port)))
print("ready", flush=True)


def serve(stream):
    lines = stream.makefile("rb")

    def say(text):
        stream.sendall(text.encode() + b"\r\n")

    say("220 home.example.org ESMTP")
    for line in lines:
        verb = line.split()[0].upper()
        if verb == b"DATA":
            say("354 go on")
            octets = 0
            for part in lines:
                if part == b".\r\n":
                    break
                octets += len(part)
            else:
                return
            print("took", octets, flush=True)
            if manner == "close":
                return
            for _ in lines:
                pass
            print("given up", flush=True)
            return
        say("221 bye" if verb == b"QUIT" else "250 ok")


while True:
    connection, _ = listener.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as stream:
            serve(stream)
    except OSError as error:
        print(error, flush=True)
