"""An HTTPS server that gives each host's MTA-STS policy: the file with the host's name in a directory.

Arguments: address, port, certificate, key, directory. A file whose first line is "redirect" sends the client
elsewhere. What is posted is kept in the directory, in files whose names begin with "posted-"; what is posted to
/busy is refused.
"""
import http.server
import os
import ssl
import sys
import threading
import time

ADDRESS, PORT, CERTIFICATE, KEY, DIRECTORY = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = os.path.basename(self.headers.get("Host", ""))
        path = os.path.join(DIRECTORY, name)
        print("asked", name, self.path, flush=True)
        if self.path != "/.well-known/mta-sts.txt" or not os.path.isfile(path):
            return self.send_error(404)
        with open(path, "rb") as file:
            body = file.read()
        if body.startswith(b"redirect "):
            self.send_response(301)
            self.send_header("Location", body[9:].decode().strip())
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("posted", self.headers.get("Host"), self.path, self.headers.get("Content-Type"), flush=True)
        if self.path == "/busy":
            return self.send_error(503)
        # Two may be posted at one time: with one name for both, the second has nothing to rename.
        own = f"{threading.get_ident()}-{time.monotonic_ns()}"
        draft = os.path.join(DIRECTORY, f"draft-{own}")
        with open(draft, "wb") as file:
            file.write(body)
        os.rename(draft, os.path.join(DIRECTORY, f"posted-{own}"))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server = http.server.ThreadingHTTPServer((ADDRESS, int(PORT)), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
