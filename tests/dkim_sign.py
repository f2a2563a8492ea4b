"""Signs the message on standard input with python3-dkim; the options are in the arguments.

dkim_sign.py DOMAIN SELECTOR KEY-FILE ALGORITHM CANONICALIZATION
"""
import sys

import dkim

domain, selector, key_file, algorithm, forms = sys.argv[1:]
message = sys.stdin.buffer.read()
with open(key_file, "rb") as file:
    key = file.read()
header, body = forms.encode().split(b"/")
signature = dkim.sign(
    message,
    selector.encode(),
    domain.encode(),
    key,
    canonicalize=(header, body),
    signature_algorithm=algorithm.encode(),
    include_headers=[b"from", b"to", b"subject"],
)
sys.stdout.buffer.write(signature + message)
