#!/bin/sh
# postsrsd 2.4.1 (Debian sid): one in eight of the addresses that it writes is opened by no older SRS program with the same secret.
#
# draft-mehnle-srs, libsrs2, Mail::SRS and postsrsd 1.10 write the hash of `SRS0=HHHH=TT=domain=local@forwarder` in the alphabet of
# base64, with + and / (RFC 4648 section 4). postsrsd 2.4.1 writes - and _ in their place (section 5), without a mark in the address, and
# opens both. Whoever else has the same secret (a second forwarder, a way back to the older version, a program that took the secret
# over) refuses each address that has one of the two in its four characters, and bounces of forwarded mail get lost.
#
# Seen: 54 of 400 addresses have - or _ in the hash (another number each day); Mail::SRS 0.31 opens none of them and all others.
set -eu
. "$(dirname "$0")/lib/room.sh"

debian sid postsrsd=2.4.1-1 libmail-srs-perl=0.31-9
alone
echo 'sixteen letters.' > "$root/etc/secret"
cat > "$root/etc/postsrsd.conf" <<'CONF'
domains = { "forwarder.example" }
srs-domain = "forwarder.example"
secrets-file = "/etc/secret"
socketmap = "inet:127.0.0.1:10003"
unprivileged-user = ""
chroot-dir = ""
CONF
inside postsrsd -C /etc/postsrsd.conf > "$room/log" 2>&1 &
wait_for_port 10003

# A socketmap: netstrings, "map key" one way and "OK value" the other.
cat > "$room/rewrite.py" <<'PYTHON'
import socket

stream = socket.create_connection(("127.0.0.1", 10003), 20).makefile("rwb")
for number in range(400):
    question = b"forward user%d@example.net" % number
    stream.write(b"%d:%s," % (len(question), question))
    stream.flush()
    length = b""
    while (octet := stream.read(1)) != b":":
        length += octet
    print(stream.read(int(length) + 1)[:-1].decode().removeprefix("OK "))
PYTHON
python3 "$room/rewrite.py" > "$room/addresses"
[ "$(grep -c '^SRS0=....=.*@forwarder.example$' "$room/addresses")" = 400 ] || could_not_be_tried "it rewrites nothing"
grep '^SRS0=[^=]*[-_]' "$room/addresses" > "$root/tmp/with"
grep -v '^SRS0=[^=]*[-_]' "$room/addresses" > "$root/tmp/without"
cat > "$root/tmp/open.pl" <<'PERL'
use strict;
use Mail::SRS;
my $srs = Mail::SRS->new(Secret => ["sixteen letters."], HashLength => 4, HashMin => 4);
my ($opened, $all) = (0, 0);
while (my $address = <STDIN>) {
    chomp $address;
    $all++;
    $opened++ if eval { $srs->reverse($address) };
}
print $opened == $all ? "all opened" : $opened ? "some opened" : "none opened", "\n";
PERL
echo "with - or _ in the hash: $(wc -l < "$root/tmp/with"), for example $(head -n 1 "$root/tmp/with")"
as_described "these, by Mail::SRS" "$(inside perl /tmp/open.pl < "$root/tmp/with")" "none opened"
as_described "the others, by Mail::SRS" "$(inside perl /tmp/open.pl < "$root/tmp/without")" "all opened"
