"""Runs the OpenSPF suite of RFC 7208 through `postern check spf`.

run.py PROGRAM SUITE.yml: serves each scenario's zone on loopback, asks the program about each case, prints
the cases whose result or explanation is another than the suite's, and a last line with the count.
"""

import concurrent.futures
import json
import socket
import socketserver
import subprocess
import sys
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import yaml

# What the suite says of a name whose questions get no answer.
TIMEOUT = "TIMEOUT"


class Zone:
    """The records of a scenario, by lower case name and type."""

    def __init__(self, zonedata):
        self.records = {}
        self.timeouts = {}
        for name, entries in zonedata.items():
            node = self.records.setdefault(name.lower().rstrip("."), {})
            has_txt = any(isinstance(entry, dict) and "TXT" in entry for entry in entries)
            for entry in entries:
                if entry == TIMEOUT:
                    self.timeouts[name.lower().rstrip(".")] = True
                    continue
                for kind, value in entry.items():
                    if value == "NONE":
                        continue
                    node.setdefault(kind, []).append(value)
                    # So the suite's head says: an SPF record is a TXT record as well, unless there is one.
                    if kind == "SPF" and not has_txt:
                        node.setdefault("TXT", []).append(value)

    def answer(self, query):
        question = query.question[0]
        labels = [label.decode("latin-1") for label in question.name.labels if label]
        name = ".".join(labels).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query, recursion_available=True)
        node = self.records.get(name)
        owner = question.name
        # A CNAME is followed within the zone.
        for _ in range(10):
            if not node or "CNAME" not in node or kind == "CNAME":
                break
            target = dns.name.from_text(node["CNAME"][0])
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", target.to_text()))
            owner = target
            name = target.to_text(omit_final_dot=True).lower()
            node = self.records.get(name)
        known = node.get(kind, []) if node else []
        if not known and name in self.timeouts:
            return None
        if node is None and not any(other.endswith("." + name) for other in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if known:
            rrset = dns.rrset.RRset(owner, dns.rdataclass.IN, question.rdtype)
            rrset.ttl = 60
            for value in known:
                rrset.add(rdata(kind, value))
            response.answer.append(rrset)
        return response


def rdata(kind, value):
    if kind in ("TXT", "SPF"):
        # A text has one string at least (RFC 1035 section 3.3.14); where the suite has none it gets an empty one.
        parts = (value if isinstance(value, list) else [value]) or [""]
        wire = b""
        for part in parts:
            octets = part.encode("latin-1") if isinstance(part, str) else part
            for at in range(0, max(len(octets), 1), 255):
                piece = octets[at:at + 255]
                wire += bytes([len(piece)]) + piece
        return dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.from_text(kind), wire, 0, len(wire))
    if kind == "MX":
        text = "%d %s." % (value[0], value[1].rstrip("."))
    elif kind == "PTR":
        text = value.rstrip(".") + "."
    else:
        text = value
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text)


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        answer = self.server.zone.answer(query)
        if answer is None:
            return
        wire = answer.to_wire()
        if len(wire) > 1232:
            answer.answer = []
            answer.flags |= dns.flags.TC
            wire = answer.to_wire()
        sock.sendto(wire, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            length = self.rfile.read(2)
            if len(length) < 2:
                return
            query = dns.message.from_wire(self.rfile.read(int.from_bytes(length, "big")))
            answer = self.server.zone.answer(query)
            if answer is None:
                return
            wire = answer.to_wire()
            self.wfile.write(len(wire).to_bytes(2, "big") + wire)


def serve(zone):
    """Both on one port, chosen by the system."""
    while True:
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), Udp)
        try:
            tcp = socketserver.ThreadingTCPServer(udp.server_address, Tcp)
            break
        except OSError:
            udp.server_close()
    for server in (udp, tcp):
        server.daemon_threads = True
        server.zone = zone
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return udp.server_address[1]


def text(value):
    return "" if value is None else str(value)


def differs(program, port, name, case):
    """What is wrong with a case, or None."""
    command = [program, "check", "spf", "--json", "--resolver", f"127.0.0.1:{port}",
               f"--ip={case['host']}", f"--helo={text(case.get('helo'))}", f"--mail-from={text(case.get('mailfrom'))}"]
    run = subprocess.run(command, capture_output=True, timeout=120)
    try:
        found = json.loads(run.stdout)["spf"]
    except (ValueError, KeyError) as error:
        return f"{name}: no answer ({error}): {run.stderr.decode(errors='replace')[:300]}"
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    if found["result"] not in [str(result).lower() for result in wanted]:
        return f"{name}: {found['result']}, the suite says {wanted}"
    # DEFAULT is the suite's word for "the receiver's own".
    explanation = case.get("explanation")
    if explanation is not None and explanation != "DEFAULT" and found.get("explanation") != explanation:
        return f"{name}: explanation {found.get('explanation')!r}, the suite says {explanation!r}"
    return None


def main(program, suite):
    cases = []
    with open(suite, encoding="utf-8") as file, concurrent.futures.ThreadPoolExecutor(8) as pool:
        for scenario in yaml.safe_load_all(file):
            port = serve(Zone(scenario["zonedata"]))
            for name, case in scenario["tests"].items():
                cases.append(pool.submit(differs, program, port, name, case))
        wrong = [found for found in (case.result() for case in cases) if found]
    for line in wrong:
        print(line)
    print(f"{len(cases)} cases, {len(wrong)} differ")
    return 1 if wrong else 0


sys.exit(main(*sys.argv[1:]))
