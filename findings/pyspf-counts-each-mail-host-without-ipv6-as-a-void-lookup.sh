#!/bin/sh
# pyspf 2.0.14 (PyPI; what Debian's postfix-policyd-spf-python asks): three mail hosts without IPv6 make `mx` a permanent error.
#
# RFC 7208 section 4.6.4 limits the *terms* whose DNS queries find nothing ("void lookups"), to two. pyspf counts queries: for a
# client with an IPv6 address `mx` asks for AAAA of each mail host, and a domain whose three hosts have IPv4 only is in error before
# the `ip6:` behind it is looked at, which names the client. One term was void, the record is valid, the client is
# authorised. The same client passes when `ip6:` stands first, or when there are two mail hosts.
#
# Seen: "v=spf1 mx ip6:2001:db8::/32 -all" with three hosts: permerror; with two: pass; with `ip6:` first: pass.
set -eu
. "$(dirname "$0")/lib/room.sh"

python_packages pyspf==2.0.14 py3dns==4.0.2
cat > "$room/check.py" <<'PYTHON'
import sys

import spf

record, hosts = sys.argv[1], int(sys.argv[2])
zone = {("example.org", "TXT"): [(record.encode(),)]}
zone["example.org", "MX"] = [(10, f"mx{number}.example.org") for number in range(hosts)]
for number in range(hosts):
    zone[f"mx{number}.example.org", "A"] = [f"192.0.2.{number}"]

# In place of DNS: names with what is in the zone, and nothing for the rest.
spf.DNSLookup = lambda name, kind, *_, **__: [((name, kind), value) for value in zone.get((name.lower(), kind), [])]
result, _, reason = spf.query(i="2001:db8::25", s="alice@example.org", h="mail.example.org").check()
print(f"{result}, {reason}")
PYTHON
check() { python3 "$room/check.py" "$@"; }
as_described "mx before ip6, three hosts" "$(check 'v=spf1 mx ip6:2001:db8::/32 -all' 3)" "permerror, SPF Permanent Error: Void lookup limit of 2 exceeded"
as_described "mx before ip6, two hosts" "$(check 'v=spf1 mx ip6:2001:db8::/32 -all' 2)" "pass, sender SPF authorized"
as_described "ip6 before mx, three hosts" "$(check 'v=spf1 ip6:2001:db8::/32 mx -all' 3)" "pass, sender SPF authorized"
