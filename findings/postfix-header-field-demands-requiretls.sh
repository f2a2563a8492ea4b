#!/bin/sh
# Postfix 3.11.7 (Debian sid): a header field in a message, `Require-TLS-ESMTP: yes`, demands REQUIRETLS of the next host.
#
# RFC 8689 section 2 has the sender ask for REQUIRETLS by a parameter of MAIL; the only header field that it knows is
# `TLS-Required: No` (section 3), which asks for less. Postfix 3.11 keeps the parameter in a field of its own while a message
# passes filters, and heeds it in whatever comes in, from anybody and without the parameter
# (`requiretls_esmtp_header = yes`, the default). With the default TLS level such a message waits in the queue until it is
# given up, although no SMTP client asked for REQUIRETLS.
#
# Seen: without the field sent; with it deferred: "Sender requested REQUIRETLS, but my configured TLS security level 'may' …".
set -eu
. "$(dirname "$0")/lib/room.sh"
. "$(dirname "$0")/lib/postfix.sh"

debian sid postfix=3.11.7-1 dash coreutils sed grep findutils mawk
user postfix 64901
user postdrop 64902
alone

# The next host: takes what it is sent, and offers neither STARTTLS nor REQUIRETLS.
cat > "$room/next.py" <<'PYTHON'
import socketserver

class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 next.example ESMTP\r\n")
        data = False
        for line in self.rfile:
            if data and line != b".\r\n":
                continue
            word = line[:4].upper()
            data, reply = False, b"250 2.0.0 taken\r\n"
            if word == b"DATA":
                data, reply = True, b"354 go on\r\n"
            elif word == b"QUIT":
                reply = b"221 2.0.0 bye\r\n"
            self.wfile.write(reply)

socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 2525), Session).serve_forever()
PYTHON
python3 "$room/next.py" &
wait_for_port 2525
echo '127.0.0.1 next.example.com' >> "$root/etc/hosts"
echo 'relayhost = [next.example.com]:2525' | postfix_start

cat > "$room/send.py" <<'PYTHON'
import smtplib, sys

field = sys.argv[1] + "\r\n" if len(sys.argv) > 1 else ""
server = smtplib.SMTP("127.0.0.1", 25, "client.example", timeout=30)
server.sendmail("alice@example.org", ["bob@example.net"], "From: alice@example.org\r\nSubject: a test\r\n" + field + "\r\nHello.\r\n")
server.quit()
PYTHON

# What became of the messages to bob, each in one word.
fates() {
    for _ in $(seq 300); do
        fates=$(sed -n 's/.*to=<bob@example.net>.* status=\([a-z]*\) .*/\1/p' "$root/var/log/postfix" | tr '\n' ' ')
        [ "$(echo "$fates" | wc -w)" -lt "$1" ] || break
        sleep 0.1
    done
    echo "$fates"
}
as_described "the field is heeded by default" "$(inside postconf -h -d requiretls_esmtp_header)" "yes"
python3 "$room/send.py"
as_described "without the field" "$(fates 1)" "sent "
python3 "$room/send.py" "Require-TLS-ESMTP: yes"
as_described "without and with it" "$(fates 2)" "sent deferred "
sed -n 's/.*to=<bob@example.net>.* \(dsn=.* status=deferred .*\)/\1/p' "$root/var/log/postfix"
