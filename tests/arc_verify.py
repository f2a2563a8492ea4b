"""Prints what python3-dkim makes of the ARC chain of the message on standard input.

arc_verify.py NAME=RECORD...: the result, then `d=` of each seal, the newest first.
"""
import sys

import dkim

records = dict(argument.encode().split(b"=", 1) for argument in sys.argv[1:])


def ask(name, timeout=None):
    return records.get(name.rstrip(b"."))


result, seals, reason = dkim.arc_verify(sys.stdin.buffer.read(), dnsfunc=ask)
print((result or b"none").decode(), *(seal["as-domain"].decode() for seal in seals), reason)
