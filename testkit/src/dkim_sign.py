"""Signs the message on standard input with python3-dkim.

dkim_sign.py KEY-FILE TAG=VALUE...

The tags a, c, d, and s say how. Any other is written into the signature as it is, in the place of the one that
would stand there, and signed with it; but l= is the true length of the body, whatever its value.
"""
import sys

import dkim

tags = dict(argument.encode().split(b"=", 1) for argument in sys.argv[2:])
algorithm, forms, domain, selector = (tags.pop(tag) for tag in (b"a", b"c", b"d", b"s"))
length = tags.pop(b"l", None) is not None


class Signer(dkim.DKIM):
    def gen_header(self, fields, *how, **else_how):
        fields = [(name, tags.pop(name, value)) for name, value in fields]
        # Behind b= nothing may stand: it is the last to be written.
        fields[1:1] = tags.items()
        return super().gen_header(fields, *how, **else_how)


with open(sys.argv[1], "rb") as file:
    key = file.read()
message = sys.stdin.buffer.read()
signature = Signer(message).sign(
    selector,
    domain,
    key,
    signature_algorithm=algorithm,
    canonicalize=tuple(forms.split(b"/")),
    include_headers=[b"from", b"to", b"subject"],
    length=length,
)
sys.stdout.buffer.write(signature + message)
