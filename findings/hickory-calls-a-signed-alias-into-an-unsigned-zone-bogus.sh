#!/bin/sh
# hickory-resolver 0.26.3 (Rust): a signed alias whose target lies in an unsigned zone is called bogus.
#
# `mail.test` and `*.wild.test` are aliases in a signed zone, the target is in a zone that is delegated without DS. The aliases are
# proven, and the target is provably unsigned (an NSEC at the delegation has no DS: RFC 4035 section 5.2), so the answer as a whole
# is insecure and not bogus (RFC 4033 section 5, RFC 4035 section 4.3) and is to be given. Unbound 1.26.2 does so, without AD, with the
# NSEC in the authority section. hickory-resolver, which asks Unbound and validates by itself, ends with an error, although it
# gives the target when it is asked for that alone. Whoever asks it can't send mail to a host that is such an alias.
#
# Seen: Unbound NOERROR without AD and with the address for both; hickory: the target "192.0.2.25", the aliases "DNSSEC validation failed".
set -eu
. "$(dirname "$0")/lib/room.sh"

cat > "$room/crate/src/main.rs" <<'RUST'
use hickory_resolver::{config::*, net::runtime::TokioRuntimeProvider, proto::dnssec::TrustAnchors, proto::rr::RecordType, TokioResolver};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let anchors = TrustAnchors::from_file(std::path::Path::new(&arguments.next().unwrap())).unwrap();
    let mut server = NameServerConfig::udp_and_tcp("127.0.0.1".parse().unwrap());
    server.connections.iter_mut().for_each(|connection| connection.port = 5353);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let resolver = builder.with_trust_anchor(std::sync::Arc::new(anchors)).build().unwrap();
    match resolver.lookup(arguments.next().unwrap(), RecordType::A).await {
        Ok(answer) => {
            let addresses = answer.answers().iter().filter(|record| record.record_type() == RecordType::A);
            println!("{}", addresses.map(|record| record.data.to_string()).collect::<Vec<_>>().join(" "));
        }
        Err(error) => println!("error: {error}"),
    }
}
RUST
crate <<'TOML'
hickory-resolver = { version = "=0.26.3", default-features = false, features = ["tokio", "dnssec-ring"] }
tokio = { version = "=1.54.1", features = ["rt", "macros"] }
TOML
debian trixie knot=3.4.6-2 knot-dnsutils=3.4.6-2 unbound=1.26.2-0+deb13u1
alone

mkdir -p "$root/dns"
cat > "$root/dns/test.zone" <<'ZONE'
$ORIGIN test.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
unsigned NS ns
mail CNAME host.unsigned
*.wild CNAME host.unsigned
ZONE
cat > "$root/dns/unsigned.test.zone" <<'ZONE'
$ORIGIN unsigned.test.
$TTL 60
@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60
@ NS ns.test.
host A 192.0.2.25
ZONE
cat > "$root/dns/knot.conf" <<'CONF'
server:
  rundir: "/dns"
  listen: 127.0.0.1@5300
log:
  - target: stdout
    any: info
database:
  storage: "/dns"
policy:
  - id: signed
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: "/dns"
    file: "%s.zone"
    zonefile-sync: -1
    journal-content: none
zone:
  - domain: test
    dnssec-signing: on
    dnssec-policy: signed
  - domain: unsigned.test
CONF
inside knotd --config /dns/knot.conf > "$room/knot.log" 2>&1 &
wait_for_port 5300
key=$(inside kdig @127.0.0.1 -p 5300 +short test DNSKEY 2> "$room/kdig.log")
[ -n "$key" ] || could_not_be_tried "no key"
# Flags, protocol, algorithm, and the key, which kdig breaks into parts.
echo "test. 60 IN DNSKEY $(echo "$key" | awk '{ line = $1 " " $2 " " $3 " "; for (i = 4; i <= NF; i++) line = line $i; print line }')" > "$root/dns/anchor"
cat > "$root/dns/unbound.conf" <<'CONF'
server:
  interface: 127.0.0.1@5353
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "/dns"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  local-zone: "test." nodefault
  trust-anchor-file: "/dns/anchor"
remote-control:
  control-enable: no
stub-zone:
  name: "test"
  stub-addr: 127.0.0.1@5300
CONF
inside unbound -c /dns/unbound.conf > "$room/unbound.log" 2>&1 &
wait_for_port 5353

# Status, whether AD is set, and the address.
unbound_says() {
    inside kdig @127.0.0.1 -p 5353 +dnssec "$1" A 2> "$room/kdig.log" | awk '
        /status:/ { gsub(";", ""); for (i = 1; i < NF; i++) if ($i == "status:") status = $(i + 1) }
        /Flags:/ { ad = /[ ]ad[ ;]/ ? "AD" : "no-AD" }
        $4 == "A" { address = $5 }
        END { print status, ad, address }'
}
as_described "Unbound, alias" "$(unbound_says mail.test)" "NOERROR no-AD 192.0.2.25"
as_described "Unbound, wildcard alias" "$(unbound_says mx.wild.test)" "NOERROR no-AD 192.0.2.25"
as_described "hickory-resolver, target" "$("$room/program" "$root/dns/anchor" host.unsigned.test.)" "192.0.2.25"
as_described "hickory-resolver, alias" "$("$room/program" "$root/dns/anchor" mail.test.)" "error: DNS error: DNSSEC validation failed"
as_described "hickory-resolver, wildcard alias" "$("$room/program" "$root/dns/anchor" mx.wild.test.)" "error: DNS error: DNSSEC validation failed"
