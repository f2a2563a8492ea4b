"""Verifies each DKIM signature of the message on standard input with python3-dkim.

dkim_verify.py NAME=RECORD...

Prints a line for each signature, from the top: its domain, its selector, and pass or fail. Of what is signed no field
may be added: a signature that does not name From twice, or covers a part of the body only, is printed as weak.
"""
import sys

import dkim

records = dict(argument.encode().split(b"=", 1) for argument in sys.argv[1:])
message = sys.stdin.buffer.read()


def ask(name, timeout=None):
    return records.get(name.rstrip(b"."))


verifier = dkim.DKIM(message)
count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
for place in range(count):
    try:
        result = "pass" if verifier.verify(idx=place, dnsfunc=ask) else "fail"
    except dkim.DKIMException as error:
        result = f"fail ({error})"
    signed = [name.strip().lower() for name in verifier.signature_fields.get(b"h", b"").split(b":")]
    if signed.count(b"from") < 2 or b"l" in verifier.signature_fields:
        result = f"weak {result}"
    print(verifier.domain.decode(), verifier.selector.decode(), result)
