"""Prints, as JSON, the message on standard input as some hosts in turn handed it on, sealed by python3-dkim.

arc_chain.py KEY-FILE COUNT: a list of the message after 1 .. COUNT seals by `sealer.test`, selector `sel`.
"""
import json
import sys

import dkim

key_file, count = sys.argv[1:]
message = sys.stdin.buffer.read()
with open(key_file, "rb") as file:
    key = file.read()
chain = []
for number in range(int(count)):
    verdict = b"none" if number == 0 else b"pass"
    heard = b"Authentication-Results: host.sealer.test; arc=" + verdict + b"; spf=pass smtp.mailfrom=ann@signed.test\r\n"
    names = [b"from", b"to", b"subject"]
    seal = dkim.arc_sign(heard + message, b"sel", b"sealer.test", key, b"host.sealer.test", include_headers=names)
    message = b"".join(seal) + message
    chain.append(message.decode())
json.dump(chain, sys.stdout)
