#!/bin/sh
# OpenSMTPD 7.6.0p1 (Debian 13): a ClientHello in the same packet as the PROXY header is lost, and the TLS handshake never ends.
#
# `listen on … smtps proxy-v2` lets a proxy in front tell who the client is. With TLS from the first octet (RFC 8314 section 3)
# the client speaks first, so a proxy has the ClientHello in hand when it writes the header, and one write or TCP may put
# both into one packet. The header says by itself how long it is (PROXY protocol, section 2.2), and what follows is the
# connection's. OpenSMTPD throws away what it has read beyond the header, and waits for what it has thrown away.
#
# Seen: the header, then the ClientHello: TLS and "220"; both in one packet: nothing.
set -eu
. "$(dirname "$0")/lib/room.sh"

debian trixie opensmtpd=7.6.0p1-1
user opensmtpd 64901
user opensmtpq 64902
alone
mkdir -p "$root/var/lib/opensmtpd/empty" "$root/var/spool/smtpd" "$root/var/mail" "$root/etc/tls"
chmod 711 "$root/var/spool/smtpd"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mx.example \
    -keyout "$root/etc/tls/key.pem" -out "$root/etc/tls/certificate.pem" 2> /dev/null
chmod 600 "$root/etc/tls/key.pem"
# It wants a list of authorities to be there.
mkdir -p "$root/etc/ssl/certs"
cp "$root/etc/tls/certificate.pem" "$root/etc/ssl/certs/ca-certificates.crt"
cat > "$root/etc/smtpd.conf" <<'CONF'
pki own cert "/etc/tls/certificate.pem"
pki own key "/etc/tls/key.pem"
listen on 127.0.0.1 port 4465 smtps pki own proxy-v2 hostname mx.example
action box mbox
match from any for local action box
CONF
inside /usr/sbin/smtpd -d > "$room/log" 2>&1 &
wait_for_port 4465

cat > "$room/session.py" <<'PYTHON'
import socket, ssl, struct, sys, time

# PROXY, TCP over IPv4: 192.0.2.9:40000 to 192.0.2.1:465.
addresses = socket.inet_aton("192.0.2.9") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 40000, 465)
header = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11]) + struct.pack("!H", len(addresses)) + addresses

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(received, to_send)
connection = socket.create_connection(("127.0.0.1", 4465), 8)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

def wanting(step):
    """Does a step of TLS with as many octets as it takes."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            connection.sendall(to_send.read())
            octets = connection.recv(4096)
            if not octets:
                raise ConnectionError("closed")
            received.write(octets)

try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    pass
hello = to_send.read()
if sys.argv[1] == "together":
    connection.sendall(header + hello)
else:
    connection.sendall(header)
    time.sleep(0.5)
    connection.sendall(hello)
try:
    wanting(tls.do_handshake)
    print(wanting(lambda: tls.read(3)).decode())
except TimeoutError:
    print("nothing")
PYTHON
as_described "the header, then the ClientHello" "$(python3 "$room/session.py" apart)" "220"
as_described "both in one packet" "$(python3 "$room/session.py" together)" "nothing"
