"""An MTA that takes numbered messages, writes each number down right before it says 250, and hangs where it is told to.

Arguments: address, a file for the numbers, a file for the messages, each after its length and a line end, and a file that
names the stage at which to hang (greeting, EHLO, MAIL, RCPT, DATA, body, reply), or is empty. A connection that hangs is
closed when the file changes.
"""
import re, socketserver, sys, threading, time

address, numbers, messages, control = sys.argv[1:]
book, shelf, lock = open(numbers, "a"), open(messages, "ab"), threading.Lock()


def stage():
    with open(control) as file:
        return file.read().strip()


class Hung(Exception):
    pass


class Session(socketserver.StreamRequestHandler):
    timeout = 120

    def hang_at(self, name):
        if stage() == name:
            while stage() == name:
                time.sleep(0.05)
            raise Hung

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def handle(self):
        try:
            self.talk()
        except (Hung, OSError):
            pass

    def talk(self):
        self.hang_at("greeting")
        self.say("220 mx.sink.test ESMTP")
        while True:
            line = self.rfile.readline()
            if not line:
                return
            verb = line[:4].upper().decode("latin-1").strip()
            self.hang_at(verb)
            if verb == "DATA":
                self.say("354 go on")
                self.take()
            elif verb == "QUIT":
                return self.say("221 bye")
            else:
                self.say("250 fine")

    def take(self):
        number, message = None, b""
        while True:
            line = self.rfile.readline()
            if not line:
                raise Hung
            self.hang_at("body")
            if line == b".\r\n":
                break
            message += line[1:] if line.startswith(b".") else line
            found = re.match(rb"Subject: \w+-(\d+)", line)
            number = int(found.group(1)) if found else number
        self.hang_at("reply")
        with lock:
            shelf.write(b"%d\n" % len(message) + message)
            shelf.flush()
            print(number, file=book, flush=True)
        self.say("250 taken")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100


with Server((address, 25), Session) as server:
    print("ready", flush=True)
    server.serve_forever()
