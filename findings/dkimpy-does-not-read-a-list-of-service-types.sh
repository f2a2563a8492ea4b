#!/bin/sh
# dkimpy 1.1.8 (PyPI): a DKIM key that is for mail and for something else, `s=email:tlsrpt`, is not taken for mail.
#
# RFC 6376 section 3.6.1: `s=` is a colon-separated list of service types, a record is for mail if "email" or "*" is in it, and types that
# are not known are passed over. RFC 8460 section 3 registers "tlsrpt", so one key for mail and for TLS reports is published as
# `s=email:tlsrpt`. dkimpy compares the whole list with one word: no signature under such a key passes, and the error, an
# UnknownKeyTypeError without a text, is the one for `k=`, which is as it should be.
#
# Seen: "s=email" pass; "s=*" pass; "s=email:tlsrpt" UnknownKeyTypeError; "s=*:tlsrpt" UnknownKeyTypeError.
set -eu
. "$(dirname "$0")/lib/room.sh"

python_packages dkimpy==1.1.8 dnspython==2.9.2
openssl genrsa -out "$room/key" 2048 2> /dev/null
openssl rsa -in "$room/key" -pubout -outform DER -out "$room/public" 2> /dev/null
cat > "$room/check.py" <<'PYTHON'
import base64, sys

import dkim

directory, service = sys.argv[1:]
message = b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: a test\r\n\r\nHello.\r\n"
signature = dkim.sign(message, b"s", b"example.org", open(f"{directory}/key", "rb").read(), include_headers=[b"from", b"to", b"subject"])
record = b"v=DKIM1; k=rsa; s=" + service.encode() + b"; p=" + base64.b64encode(open(f"{directory}/public", "rb").read())
try:
    print("pass" if dkim.DKIM(signature + message).verify(dnsfunc=lambda name, timeout=5: record) else "fail")
except dkim.DKIMException as error:
    print(type(error).__name__)
PYTHON
verdict() { python3 "$room/check.py" "$room" "$1" 2> "$room/err"; }
as_described "s=email" "$(verdict email)" "pass"
as_described "s=*" "$(verdict '*')" "pass"
as_described "s=email:tlsrpt" "$(verdict email:tlsrpt)" "UnknownKeyTypeError"
as_described "s=*:tlsrpt" "$(verdict '*:tlsrpt')" "UnknownKeyTypeError"
