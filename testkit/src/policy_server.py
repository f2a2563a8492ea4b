"""An HTTPS server that gives each host's MTA-STS policy: the file with the host's name in a directory.

Arguments: address, port, certificate, key, directory. A file whose first line is "redirect" sends the client
elsewhere.
"""
import http.server
import os
import ssl
import sys

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

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server = http.server.ThreadingHTTPServer((ADDRESS, int(PORT)), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
