//! Records, clients and what they get: RFC 7208's rules, one by one.

use super::*;
use crate::dns::Record as Dns;
use crate::dns::zone::Zone;

const IP: &str = "192.0.2.1";

fn query<'a>(ip: &str, mail_from: &'a str) -> Query<'a> {
    Query {
        ip: ip.parse().unwrap(),
        helo: "mail.example.com",
        mail_from,
        receiver: "mx.home.example",
        now: 7,
    }
}

async fn spf(zone: &Zone, ip: &str, mail_from: &str) -> Spf {
    check(zone, &query(ip, mail_from)).await
}

async fn result(zone: &Zone, ip: &str) -> SpfResult {
    spf(zone, ip, "bob@example.com").await.result
}

fn a(ip: &str) -> Dns {
    Dns::A(ip.parse().unwrap())
}

fn domain(record: &str) -> Zone {
    Zone::default().txt("example.com", record)
}

#[tokio::test]
async fn no_record_is_none_and_two_are_an_error() {
    assert_eq!(result(&Zone::default(), IP).await, SpfResult::None);
    assert_eq!(result(&domain("something else"), IP).await, SpfResult::None);
    assert_eq!(result(&domain("v=spf1 -all").txt("example.com", "v=spf1"), IP).await, SpfResult::PermError);
    assert_eq!(result(&domain("v=spf1 -all").txt("example.com", "v=spf10"), IP).await, SpfResult::Fail);
    assert_eq!(result(&Zone::default().silent("example.com"), IP).await, SpfResult::TempError);
    assert_eq!(result(&domain("v=spf1"), IP).await, SpfResult::Neutral);
}

#[tokio::test]
async fn names_that_are_no_domains_are_none() {
    let zone = domain("v=spf1 +all").txt("localhost", "v=spf1 -all");
    let long = format!("a@{}.example.com", "x".repeat(64));
    for from in
        ["a@localhost", "a@[192.0.2.1]", "a@b..example.com", long.as_str(), "a@", "a@\u{e9}.example.com"]
    {
        assert_eq!(spf(&zone, IP, from).await.result, SpfResult::None, "{from}");
    }
    assert_eq!(spf(&zone, IP, "a@example.com.").await.result, SpfResult::Pass);
}

#[tokio::test]
async fn the_null_reverse_path_stands_for_the_client_itself() {
    let zone = Zone::default().txt("mail.example.com", "v=spf1 exists:%{l}.%{o}.check.test -all");
    let zone = zone.with("postmaster.mail.example.com.check.test", a("127.0.0.2"));
    let said = spf(&zone, IP, "").await;
    assert_eq!((said.result, said.identity), (SpfResult::Pass, Identity::Helo));
    assert_eq!(check_helo(&zone, &query(IP, "x@example.com")).await.result, SpfResult::Pass);
}

/// RFC 7208 section 2.3 recommends to check it always; a host whose name is wrong and whose mail is right is judged by
/// its mail (docs/src/operation.md).
#[tokio::test]
async fn the_client_s_name_is_not_checked_beside_a_reverse_path() {
    let zone = domain("v=spf1 +all").txt("mail.example.com", "v=spf1 -all");
    let journal = crate::dns::Journal::new(zone);
    assert_eq!(check(&journal, &query(IP, "bob@example.com")).await.result, SpfResult::Pass);
    let names: Vec<String> = journal.asked().into_iter().map(|asked| asked.name).collect();
    assert_eq!(names, ["example.com"]);
}

#[tokio::test]
async fn addresses_and_networks() {
    let cases = [
        ("ip4:192.0.2.1", IP, true),
        ("ip4:192.0.2.0/24", "192.0.2.255", true),
        ("ip4:192.0.2.0/24", "192.0.3.0", false),
        ("ip4:1.2.3.4/0", IP, true),
        ("ip4:192.0.2.1", "::ffff:192.0.2.1", true),
        ("ip6:::ffff:192.0.2.1", IP, false),
        ("ip6:2001:db8::/32", "2001:db8:ffff::1", true),
        ("ip6:2001:db8::/32", "2001:db9::1", false),
        ("ip6:::/0", "2001:db8::1", true),
        ("ip6:::/0", IP, false),
    ];
    for (mechanism, ip, matches) in cases {
        let zone = domain(&format!("v=spf1 {mechanism} -all"));
        let wanted = if matches { SpfResult::Pass } else { SpfResult::Fail };
        assert_eq!(result(&zone, ip).await, wanted, "{mechanism} {ip}");
    }
}

#[tokio::test]
async fn hosts_and_mail_hosts() {
    let zone = |record: &str| {
        domain(record)
            .with("example.com", a("192.0.2.9"))
            .with("example.com", Dns::Aaaa("2001:db8::1".parse().unwrap()))
            .with("example.com", Dns::Mx(20, "mx2.example.com".to_owned()))
            .with("example.com", Dns::Mx(10, "mx1.example.com".to_owned()))
            .with("mx2.example.com", a(IP))
            .with("null.example", Dns::Mx(0, String::new()))
    };
    assert_eq!(result(&zone("v=spf1 a -all"), IP).await, SpfResult::Fail);
    assert_eq!(result(&zone("v=spf1 a/28 -all"), IP).await, SpfResult::Pass);
    assert_eq!(result(&zone("v=spf1 a//64 -all"), "2001:db8::ffff").await, SpfResult::Pass);
    assert_eq!(result(&zone("v=spf1 mx -all"), IP).await, SpfResult::Pass);
    assert_eq!(result(&zone("v=spf1 mx:null.example ?all"), IP).await, SpfResult::Neutral);
    assert_eq!(
        result(&zone("v=spf1 a:silent.example -all").silent("silent.example"), IP).await,
        SpfResult::TempError
    );
}

#[tokio::test]
async fn eleven_mail_hosts_are_an_error_and_ten_are_not() {
    for (hosts, wanted) in [(10, SpfResult::Pass), (11, SpfResult::PermError)] {
        let mut zone = domain("v=spf1 mx ~all");
        for host in 0..hosts {
            let name = format!("mx{host}.example.com");
            let address = if host == hosts - 1 { IP } else { "192.0.2.77" };
            zone = zone.with("example.com", Dns::Mx(host, name.clone())).with(&name, a(address));
        }
        assert_eq!(result(&zone, IP).await, wanted, "{hosts}");
    }
}

/// Symptom: `v=spf1 mx ip6:2001:db8::/32 -all` was a permanent error for an IPv6 client when three hosts of the domain have
/// IPv4 addresses only. Cause: each host's answer without records was counted. Analysis: RFC 7208 section 4.6.4 counts
/// terms, and the answers for one `mx` belong to one.
#[tokio::test]
async fn hosts_of_one_mx_without_an_address_of_the_client_s_family_are_one_void_term() {
    let hosts = |record: &str, count: u16| {
        (0..count).fold(domain(record), |zone, host| {
            let name = format!("mx{host}.example.com");
            zone.with("example.com", Dns::Mx(host, name.clone())).with(&name, a("192.0.2.77"))
        })
    };
    for (record, wanted) in [
        ("v=spf1 mx ip6:2001:db8::/32 -all", SpfResult::Pass),
        ("v=spf1 a:gone.example mx ip6:2001:db8::/32 -all", SpfResult::Pass),
        ("v=spf1 mx mx ip6:2001:db8::/32 -all", SpfResult::Pass),
        ("v=spf1 mx a:gone.example a:gone.example ip6:2001:db8::/32 -all", SpfResult::PermError),
        ("v=spf1 mx mx mx ip6:2001:db8::/32 -all", SpfResult::PermError),
        ("v=spf1 a:gone.example exists:gone.example ip6:2001:db8::/32 -all", SpfResult::Pass),
        ("v=spf1 a:gone.example exists:gone.example ptr ip6:2001:db8::/32 -all", SpfResult::PermError),
    ] {
        for count in [1, 3, 10] {
            assert_eq!(result(&hosts(record, count), "2001:db8::1").await, wanted, "{record}, {count} hosts");
        }
    }
}

#[tokio::test]
async fn includes_match_on_pass_only() {
    let cases = [
        ("v=spf1 +all", SpfResult::Pass),
        ("v=spf1 -all", SpfResult::SoftFail),
        ("v=spf1 ~all", SpfResult::SoftFail),
        ("v=spf1", SpfResult::SoftFail),
        ("v=spf1 bad", SpfResult::PermError),
        ("no record", SpfResult::PermError),
    ];
    for (included, wanted) in cases {
        let zone = domain("v=spf1 include:other.example ~all").txt("other.example", included);
        assert_eq!(result(&zone, IP).await, wanted, "{included}");
    }
    let zone = domain("v=spf1 include:other.example ~all").silent("other.example");
    assert_eq!(result(&zone, IP).await, SpfResult::TempError);
}

#[tokio::test]
async fn redirect_takes_over_when_nothing_matches() {
    let zone = domain("v=spf1 redirect=other.example ip4:10.0.0.0/8")
        .txt("other.example", "v=spf1 -all exp=why.test");
    let zone = zone.txt("why.test", "%{d} says no to %{i}");
    assert_eq!(result(&zone, "10.1.1.1").await, SpfResult::Pass);
    let said = spf(&zone, IP, "bob@example.com").await;
    assert_eq!(said.result, SpfResult::Fail);
    assert_eq!(said.explanation.as_deref(), Some("other.example says no to 192.0.2.1"));
    assert_eq!(result(&domain("v=spf1 redirect=none.example"), IP).await, SpfResult::PermError);
    assert_eq!(result(&domain("v=spf1 redirect=example.com"), IP).await, SpfResult::PermError);
}

#[tokio::test]
async fn ten_terms_may_ask_dns_and_eleven_are_an_error() {
    for (terms, wanted) in [(10, SpfResult::Pass), (11, SpfResult::PermError)] {
        let mut record = "v=spf1".to_owned();
        let mut zone = Zone::default();
        for term in 0..terms {
            record.push_str(&format!(" a:h{term}.example.com"));
            zone = zone.with(&format!("h{term}.example.com"), a("192.0.2.200"));
        }
        record.push_str(" +all");
        assert_eq!(result(&zone.txt("example.com", &record), IP).await, wanted, "{terms}");
    }
}

#[tokio::test]
async fn two_answers_may_be_empty_and_three_are_an_error() {
    assert_eq!(result(&domain("v=spf1 a:x.test exists:y.test ?all"), IP).await, SpfResult::Neutral);
    assert_eq!(
        result(&domain("v=spf1 a:x.test exists:y.test mx:z.test ?all"), IP).await,
        SpfResult::PermError
    );
}

#[tokio::test]
async fn names_of_the_address_count_when_they_lead_back() {
    let zone = |record: &str| {
        domain(record)
            .with("1.2.0.192.in-addr.arpa", Dns::Ptr("liar.example.com".to_owned()))
            .with("1.2.0.192.in-addr.arpa", Dns::Ptr("Host.Example.com".to_owned()))
            .with("host.example.com", a(IP))
            .with("liar.example.com", a("192.0.2.2"))
    };
    assert_eq!(result(&zone("v=spf1 ptr -all"), IP).await, SpfResult::Pass);
    assert_eq!(result(&zone("v=spf1 ptr:liar.example.com -all"), IP).await, SpfResult::Fail);
    assert_eq!(result(&zone("v=spf1 ptr:le.com -all"), IP).await, SpfResult::Fail);
    let exists = zone("v=spf1 exists:%{p}.seen.test -all").with("host.example.com.seen.test", a("127.0.0.2"));
    assert_eq!(result(&exists, IP).await, SpfResult::Pass);
    let silent = domain("v=spf1 ptr -all").silent("1.2.0.192.in-addr.arpa");
    assert_eq!(result(&silent, IP).await, SpfResult::Fail);
    assert_eq!(result(&domain("v=spf1 ptr -all"), "2001:db8::1").await, SpfResult::Fail);
}

#[tokio::test]
async fn an_explanation_with_anything_wrong_is_left_out() {
    let failed = |text: &str| domain("v=spf1 -all exp=why.test").txt("why.test", text);
    let said = spf(&failed("%{s} from %{c} at %{t}"), IP, "bob@example.com").await;
    assert_eq!(said.explanation.as_deref(), Some("bob@example.com from 192.0.2.1 at 7"));
    let said = spf(&failed("for %{l}"), IP, "b\u{7}b@example.com").await;
    assert_eq!(said.explanation.as_deref(), Some("for b?b"));
    for text in ["%{x}", "\u{e9}", "tab\there"] {
        assert_eq!(spf(&failed(text), IP, "bob@example.com").await.explanation, None, "{text}");
    }
    let twice = failed("one").txt("why.test", "two");
    assert_eq!(spf(&twice, IP, "bob@example.com").await.explanation, None);
    let included = domain("v=spf1 include:other.example -all")
        .txt("other.example", "v=spf1 -all exp=why.test")
        .txt("why.test", "not this");
    assert_eq!(spf(&included, IP, "bob@example.com").await.explanation, None);
    let long = spf(&failed(&"x".repeat(5000)), IP, "bob@example.com").await;
    assert_eq!(long.explanation.map(|text| text.len()), Some(1024));
}

#[tokio::test]
async fn the_path_tells_what_was_tried() {
    let zone = domain("v=spf1 include:other.example -all").txt("other.example", "v=spf1 ip4:10.0.0.1");
    let query = query(IP, "bob@example.com");
    assert!(check(&zone, &query).await.path.is_empty(), "it costs something and is not asked for");
    let said = check_with_path(&zone, &query).await;
    assert_eq!(
        said.path,
        [
            "example.com: v=spf1 include:other.example -all",
            "  other.example: v=spf1 ip4:10.0.0.1",
            "    ip4:10.0.0.1 does not match",
            "  include:other.example does not match",
            "  -all matches",
        ]
    );
    assert_eq!(said.reason, "'-all' of example.com matches");
}
