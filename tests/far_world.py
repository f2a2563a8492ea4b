"""The world as a home behind NAT would see it, if it looked: a name server, a mail host of `far.test` that knows no
TLS, and the web server that wants reports on that. Each says who came.

Arguments: address, certificate, key.
"""
import gzip
import http.server
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading

ADDRESS, CERTIFICATE, KEY = sys.argv[1:]
A, MX, TXT = 1, 15, 16


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def text(value):
    return bytes([len(value)]) + value.encode()


RECORDS = {
    ("far.test", MX): struct.pack(">H", 10) + name("mx.far.test"),
    ("mx.far.test", A): socket.inet_aton(ADDRESS),
    ("reports.far.test", A): socket.inet_aton(ADDRESS),
    ("_smtp._tls.far.test", TXT): text("v=TLSRPTv1;rua=https://reports.far.test/v1"),
}


class Names(socketserver.BaseRequestHandler):
    def handle(self):
        query, server = self.request
        labels, end = [], 12
        while query[end]:
            labels.append(query[end + 1 : end + 1 + query[end]].decode().lower())
            end += query[end] + 1
        question, (kind,) = query[12 : end + 5], struct.unpack(">H", query[end + 1 : end + 3])
        asked = ".".join(labels)
        print("names", self.client_address[0], asked, flush=True)
        data = RECORDS.get((asked, kind))
        known = any(asked == known for known, _ in RECORDS)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data if data else b""
        flags = 0x8180 if known else 0x8183
        counts = struct.pack(">HHHHH", flags, 1, 1 if data else 0, 0, 0)
        server.sendto(query[:2] + counts + question + answer, self.client_address)


class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        print("mail", self.client_address[0], flush=True)
        self.wfile.write(b"220 mx.far.test ESMTP\r\n")
        body = False
        for line in self.rfile:
            if body and line != b".\r\n":
                continue
            verb = line.strip().upper()
            body = verb == b"DATA"
            self.wfile.write(b"354 go on\r\n" if body else b"250 fine\r\n")
            if verb == b"QUIT":
                return


class Reports(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        report = json.loads(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
        print("report", self.client_address[0], json.dumps([dict(self.headers), report]), flush=True)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
reports = http.server.ThreadingHTTPServer((ADDRESS, 443), Reports)
reports.socket = context.wrap_socket(reports.socket, server_side=True)
names = socketserver.ThreadingUDPServer((ADDRESS, 53), Names)
mail = socketserver.ThreadingTCPServer((ADDRESS, 25), Mail)
for server in [reports, names, mail]:
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
