//! Four hosts as people run them, and one that holds every trap.

use std::path::Path;

use daemon::config;
use home::config::{HomeConfig, OnFailure, TlsStart};

use super::*;

fn import(files: &[(&str, &str)]) -> Imported {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let main = std::fs::read_to_string(dir.path().join("main.cf")).unwrap();
    translate(&main, &Files::new(dir.path()))
}

fn home(imported: &Imported) -> HomeConfig {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("home.toml");
    std::fs::write(path, &imported.home).unwrap();
    config::load(path).unwrap()
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}\n\n{text}");
    }
}

/// What accounts.sh does, in order.
fn steps(imported: &Imported) -> Vec<&str> {
    imported
        .commands
        .lines()
        .filter(|line| line.starts_with("user '") || line.starts_with("leads '"))
        .collect()
}

/// A directory of `cases`.
fn case(name: &str) -> Imported {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/cases").join(name);
    let main = std::fs::read_to_string(dir.join("main.cf")).unwrap();
    translate(&main, &Files::new(&dir))
}

#[test]
fn a_host_with_system_users_and_an_alias_file() {
    let imported = import(&[
        (
            "main.cf",
            "myhostname = mail.example.org\nmydomain = example.org\nmyorigin = $mydomain\n\
             mydestination = $myhostname, $mydomain, localhost.$mydomain, localhost\nrelayhost =\n\
             mynetworks = 127.0.0.0/8 [::1]/128 192.168.1.0/24\nrecipient_delimiter = +\nmessage_size_limit = 52428800\n\
             maximal_queue_lifetime = 3d\nhome_mailbox = Maildir/\ninet_interfaces = all\n\
             smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated,\n  reject_unauth_destination,\n  \
             reject_rbl_client zen.example.net, check_policy_service unix:private/policyd-spf\n",
        ),
        (
            "aliases",
            "root: carol\npostmaster: root\nsales: \"bob\", carol, dave@elsewhere.example\nbob: \\bob, bob@phone.example\n\
             list: :include:/etc/list\nwork: |/usr/bin/work\n",
        ),
    ]);
    let config = home(&imported);
    assert_eq!(config.domains.iter().map(Domain::as_str).collect::<Vec<_>>(), ["example.org"]);
    assert_eq!((config.limits.message.0, config.queue.expire.0), (52_428_800, 259_200));
    assert_eq!(config.subaddress_separators, "+");
    assert_eq!(
        steps(&imported),
        [
            "user 'bob@example.org'",
            "user 'carol@example.org'",
            "leads 'root@example.org' 'carol@example.org'",
            "leads 'sales@example.org' 'bob@example.org' 'carol@example.org' 'dave@elsewhere.example'",
            "leads 'postmaster@example.org' 'root@example.org'",
        ]
    );
    holds(
        &imported.report,
        &[
            "mail.example.org is the host's own name",
            "mynetworks: 192.168.1.0/24 may send without a login",
            "list leads to :include:/etc/list",
            "work leads to |/usr/bin/work",
            "work@example.org leads to nobody who is here, and is left out",
            "bob@example.org keeps its mail and leads to bob@phone.example as well",
            "sales@example.org reaches those of its members who are here; dave@elsewhere.example not before",
            "accounts.sh makes the account carol@example.org",
            "home_mailbox: mailboxes are Home's own store",
            "the system's users are its recipients",
            "zone = \"zen.example.net\"",
            "check_policy_service unix:private/policyd-spf",
        ],
    );
    assert!(!imported.report.contains("Not known"), "{}", imported.report);
}

#[test]
fn a_host_with_virtual_mailboxes_filters_and_a_certificate() {
    let imported = import(&[
        (
            "main.cf",
            "myhostname = mx.example.net\nmydestination = localhost\nvirtual_mailbox_domains = example.net, example.com\n\
             virtual_mailbox_maps = hash:/etc/postfix/vmailbox\nvirtual_alias_maps = hash:$config_directory/virtual, \
             regexp:/etc/postfix/virtual.re\nvirtual_transport = lmtp:unix:private/dovecot-lmtp\n\
             smtpd_milters = inet:127.0.0.1:11332, unix:/run/opendkim.sock\nnon_smtpd_milters = $smtpd_milters\n\
             smtpd_tls_cert_file = /etc/ssl/mx.pem\nsmtpd_tls_key_file = /etc/ssl/mx.key\nsmtpd_tls_security_level = may\n\
             smtpd_sasl_type = dovecot\nsmtp_tls_security_level = dane\ndelay_warning_time = 4h\nmy_own_parameter = 7\n",
        ),
        ("vmailbox", "ann@example.net example.net/ann/\nben@example.com x\n@example.com x\n"),
        (
            "virtual",
            "info@example.net ann@example.net, ben@example.com\n@example.net ann@example.net\nexample.com anything\n",
        ),
    ]);
    let config = home(&imported);
    assert_eq!(config.domains.iter().map(Domain::as_str).collect::<Vec<_>>(), ["example.com", "example.net"]);
    assert_eq!((config.filters.len(), config.queue.warn_after.0), (1, 14_400));
    assert_eq!(config.tls.key.as_deref(), Some(Path::new("/etc/ssl/mx.key")));
    let dovecot = "unix:/var/spool/postfix/private/dovecot-lmtp".parse().unwrap();
    assert_eq!(config.deliver.map(|deliver| deliver.lmtp), Some(dovecot));
    assert_eq!(
        steps(&imported),
        [
            "user 'ann@example.net'",
            "user 'ben@example.com'",
            "leads '*@example.net' 'ann@example.net'",
            "leads 'info@example.net' 'ann@example.net' 'ben@example.com'",
        ]
    );
    assert!(!imported.report.contains("system's users"), "{}", imported.report);
    holds(
        &imported.report,
        &[
            "virtual_alias_maps: regexp:/etc/postfix/virtual.re is no list",
            "unix:/run/opendkim.sock: Edge verifies",
            "every name of example.com is taken",
            "smtp_tls_security_level: TLS with other hosts",
            "my_own_parameter = 7",
            "non_smtpd_milters",
        ],
    );
}

#[test]
fn a_front_host_that_relays_to_an_inner_one() {
    let imported = import(&[
        (
            "main.cf",
            "myhostname = gate.example.org\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n\
             relay_domains = hash:/etc/postfix/relay_domains\nrelay_recipient_maps = hash:/etc/postfix/relay_recipients\n\
             transport_maps = hash:/etc/postfix/transport\nmynetworks = 127.0.0.0/8\nmessage_size_limit = 0\n\
             postscreen_greet_action = enforce\nsmtpd_client_restrictions = reject_unknown_reverse_client_hostname, \
             check_client_access cidr:/etc/postfix/clients, warn_if_reject reject_something\n",
        ),
        ("relay_domains", "example.org OK\nexample.net OK\n"),
        ("relay_recipients", "ann@example.org OK\nO'Hara@example.net OK\n"),
        (
            "transport",
            "example.org smtp:[10.0.0.5]\nexample.net relay:[10.0.0.5]:25\nslow.example smtp:[192.0.2.1]\n* :[192.0.2.2]\n",
        ),
    ]);
    let config = home(&imported);
    assert_eq!(config.domains.len(), 2);
    assert_eq!(
        steps(&imported),
        [
            "user 'ann@example.org'",
            "user 'o-hara@example.net'",
            "leads 'o'\\''hara@example.net' 'o-hara@example.net'",
        ]
    );
    holds(
        &imported.report,
        &[
            "transport_maps: slow.example smtp:[192.0.2.1]: Edge goes where MX records lead",
            "transport_maps: * :[192.0.2.2]: all other mail leaves by the edge",
            "[[foreign_home]]\ndomains = [\"example.net\", \"example.org\"]\naddress = \"10.0.0.5\"\n",
            "postscreen_greet_action: Edge's door",
            "message_size_limit: there is always a limit",
            "reject_unknown_reverse_client_hostname: counts as a sign",
            "check_client_access cidr:/etc/postfix/clients has no counterpart",
            "mynetworks: this host only",
        ],
    );
}

#[test]
fn a_satellite_that_logs_in_at_a_relay_host() {
    let main = "myhostname = nas.example.org\nmydestination = example.org\nalias_maps =\nlocal_recipient_maps =\n\
                relayhost = [mail.provider.example]:587\nsmtp_sasl_auth_enable = yes\n\
                smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd\nsmtp_sasl_security_options = noanonymous\n\
                smtp_tls_security_level = encrypt\nsmtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt\n\
                mailbox_transport = lmtp:inet:127.0.0.1:24\nlocal_transport = lmtp:unix:private/other\n\
                virtual_transport = lmtp:unix:unused\n";
    let imported = import(&[
        ("main.cf", main),
        ("sasl_passwd", "[mail.provider.example]:587 ann@provider.example:hunter2:x\n"),
    ]);
    let config = home(&imported);
    let smarthost = config.smarthost.unwrap();
    assert_eq!(smarthost.host_and_port(), Some(("mail.provider.example", 587)));
    assert_eq!((smarthost.tls, smarthost.roots), (TlsStart::StartTls, None));
    assert_eq!(smarthost.user.as_deref(), Some("ann@provider.example"));
    assert_eq!(config.deliver.unwrap().lmtp, "inet:127.0.0.1:24".parse().unwrap());
    holds(
        &imported.report,
        &[
            "write the password of ann@provider.example at [mail.provider.example]:587 into",
            "local_transport: unix:/var/spool/postfix/private/other: Home delivers to one program only",
            "virtual_transport: no mail takes it",
            "smtp_sasl_security_options: see [smarthost]",
        ],
    );
    for text in [&imported.home, &imported.commands, &imported.report] {
        assert!(!text.contains("hunter2"), "a password is taken nowhere");
    }
    assert!(!imported.report.contains("Not known"), "{}", imported.report);

    let address_only =
        import(&[("main.cf", "mydestination = example.org\nrelayhost = mail.provider.example\n")]);
    assert!(home(&address_only).smarthost.is_none());
    holds(&address_only.report, &["relayhost: mail.provider.example knows this host by its address"]);

    let pin = ["AB"; 32].join(":");
    let pinned = import(&[(
        "main.cf",
        &format!(
            "mydestination = example.org\nrelayhost = [10.8.0.1]:465\nsmtp_tls_wrappermode = yes\n\
             smtp_tls_security_level = fingerprint\nsmtp_tls_fingerprint_cert_match = {pin}\n\
             smtp_tls_cert_file = /etc/postfix/client.pem\n"
        ),
    )]);
    let smarthost = home(&pinned).smarthost.unwrap();
    assert_eq!((smarthost.tls, smarthost.fingerprint), (TlsStart::Implicit, Some(pin.parse().unwrap())));
    assert_eq!(smarthost.key, smarthost.certificate);
}

#[test]
fn what_stands_in_a_map_is_neither_a_command_nor_a_key() {
    let imported = import(&[
        (
            "main.cf",
            "mydestination = example.org\nrecipient_delimiter = +\"\nvirtual_alias_maps = hash:/etc/postfix/virtual\nalias_maps =\n",
        ),
        ("virtual", "x@example.org $HOME@example.org, a'`reboot`'@example.org\n"),
    ]);
    holds(&imported.home, &["subaddress_separators = \"+\\\"\""]);
    assert_eq!(
        steps(&imported),
        [
            "user '-home@example.org'",
            "user 'a--reboot--@example.org'",
            "leads '$home@example.org' '-home@example.org'",
            "leads 'a'\\''`reboot`'\\''@example.org' 'a--reboot--@example.org'",
            "leads 'x@example.org' '$home@example.org' 'a'\\''`reboot`'\\''@example.org'",
        ]
    );
    home(&imported);
}

#[test]
fn circles_and_times_and_empty_files_end() {
    let imported = import(&[
        ("main.cf", "mydestination = example.org\nalias_maps = hash:/etc/aliases\n"),
        ("aliases", "a: b\nb: a\n"),
    ]);
    assert!(steps(&imported).is_empty());
    holds(&imported.report, &["a@example.org is in a circle", "b@example.org is in a circle"]);
    holds(&import(&[("main.cf", "")]).report, &["no domain was found"]);
    assert_eq!(
        ["5d", "1w", "30", "90s", "x", ""].map(|text| seconds(text, 60)),
        [Some(432_000), Some(604_800), Some(1800), Some(90), None, None]
    );
}

/// Symptom: mail for a domain that had moved away would have been taken. Cause: comments in a file of domains.
#[test]
fn a_file_of_domains_with_comments_has_those_domains_that_postfix_sees() {
    let imported = case("comments");
    let domains = home(&imported).domains;
    assert_eq!(domains.iter().map(Domain::as_str).collect::<Vec<_>>(), ["home.example", "shop.example"]);
    assert_eq!(steps(&imported), ["user 'alice@home.example'", "user 'bob.smith@shop.example'"]);
}

#[test]
fn parameters_that_are_evaluated_come_to_what_postfix_makes_of_them() {
    let imported = case("defaults");
    let config = home(&imported);
    assert_eq!(
        config.domains.iter().map(Domain::as_str).collect::<Vec<_>>(),
        ["home.example", "shop.example"]
    );
    assert!(config.smarthost.is_none(), "relay_on is not set");
    assert_eq!(
        steps(&imported),
        [
            "user 'alice@home.example'",
            "leads 'info@shop.example' 'alice@home.example'",
            "leads 'postmaster@home.example' 'alice@home.example'",
        ]
    );
    holds(
        &imported.report,
        &[
            "$relay_on is set nowhere",
            "alias_maps = hash:/etc/aliases\n",
            "smtpd_relay_restrictions: permit: the end",
        ],
    );
    let main = "mydestination = example.org\nrd = +-\nrecipient_delimiter = $rd\nalias_maps =\n\
                virtual_alias_maps = inline:{ {info@example.org = ann@example.org} }\n\
                virtual_mailbox_maps = inline:{ann@example.org=x}\nrelayhost = ${gone\n";
    let imported = import(&[("main.cf", main)]);
    assert_eq!(home(&imported).subaddress_separators, "+-");
    assert_eq!(steps(&imported), ["user 'ann@example.org'", "leads 'info@example.org' 'ann@example.org'"]);
    holds(
        &imported.report,
        &["relayhost: ${gone has no end. Postfix does not start with that", "relayhost = ?"],
    );
}

#[test]
fn commands_in_an_alias_file_are_told_and_nothing_of_them_is_an_address() {
    let imported = case("commands");
    assert_eq!(
        steps(&imported),
        [
            "user 'alice@home.example'",
            "user 'bob@home.example'",
            "leads 'away@home.example' 'alice@home.example'",
            "leads 'root@home.example' 'alice@home.example'",
            "leads 'sales@home.example' 'alice@home.example' 'bob@home.example'",
            "leads 'postmaster@home.example' 'root@home.example'",
        ]
    );
    holds(
        &imported.report,
        &[
            "tickets leads to |/usr/bin/rt-mailgate --queue general --action correspond: programs",
            "list leads to |/usr/lib/mailman/mail/mailman post list: programs",
            "away leads to |/usr/bin/vacation -a away alice: programs",
            "tickets@home.example leads to nobody who is here",
            "accounts.sh makes the account bob@home.example",
        ],
    );
}

/// Symptom: names of `/etc/aliases` became addresses of the first virtual domain by the alphabet.
#[test]
fn the_systems_aliases_are_of_the_systems_domains_and_of_no_others() {
    let aliases = ("aliases", "root: ann\npostmaster: root, daemon\nabuse: nobody\nann: ann@a.example\n");
    let main = "myhostname = mail.b.example\nmydestination = $myhostname, localhost\nvirtual_mailbox_domains = a.example\n\
                virtual_mailbox_maps = hash:/etc/postfix/vmailbox\nalias_maps = hash:/etc/aliases\n";
    let virtual_only = import(&[("main.cf", main), aliases, ("vmailbox", "ann@a.example x\n")]);
    assert_eq!(steps(&virtual_only), ["user 'ann@a.example'"]);
    holds(
        &virtual_only.report,
        &["root: ann: it is about a user of the host itself", "abuse: nobody: it is about"],
    );

    let main = "myhostname = mail.b.example\nmyorigin = b.example\nmydestination = b.example, $myhostname, c.example\n\
                virtual_mailbox_domains = a.example\nvirtual_mailbox_maps = hash:/etc/postfix/vmailbox\n\
                virtual_alias_maps = hash:/etc/postfix/virtual\nalias_maps = hash:/etc/aliases\n";
    let both = import(&[
        ("main.cf", main),
        aliases,
        ("vmailbox", "ann@a.example x\n"),
        ("virtual", "info@a.example ann, eve@mail.b.example\n@a.example @b.example\nx@other.example ann\n"),
    ]);
    assert_eq!(
        steps(&both),
        [
            "user 'ann@a.example'",
            "user 'eve@b.example'",
            "leads 'ann@b.example' 'ann@a.example'",
            "leads 'eve@c.example' 'eve@b.example'",
            "leads 'ann@c.example' 'ann@b.example'",
            "leads 'info@a.example' 'ann@b.example' 'eve@b.example'",
            "leads 'root@b.example' 'ann@b.example'",
            "leads 'postmaster@b.example' 'root@b.example'",
            "leads 'root@c.example' 'root@b.example'",
            "leads 'postmaster@c.example' 'postmaster@b.example'",
        ]
    );
    holds(
        &both.report,
        &[
            "an alias leads to daemon@b.example, whose mail nobody reads here",
            "abuse@b.example leads to nobody who is here",
            "@a.example leads each name of a domain to the same name of @b.example",
            "x@other.example can't be an alias: it is in none of the domains",
        ],
    );
    home(&both);
}

#[test]
fn what_leads_elsewhere_only_waits_until_home_sends_and_what_is_too_much_is_told() {
    let many: Vec<String> = (0..=100).map(|n| format!("n{n}@far.example")).collect();
    let imported = import(&[
        (
            "main.cf",
            "mydestination =\nalias_maps =\nvirtual_alias_domains = a.example\nvirtual_alias_maps = hash:/etc/postfix/v\n",
        ),
        (
            "v",
            &format!(
                "far@a.example Al@far.example\nboth@a.example far@a.example, ann@a.example\nann@a.example ann@a.example\n\
                 many@a.example {}, ann@a.example\nannex@a.example many@a.example\n",
                many.join(" ")
            ),
        ),
    ]);
    assert_eq!(
        steps(&imported),
        ["user 'ann@a.example'", "leads 'both@a.example' 'Al@far.example' 'ann@a.example'"]
    );
    holds(&imported.commands, &["# leads 'far@a.example' 'Al@far.example'\n"]);
    holds(
        &imported.report,
        &[
            "far@a.example leads elsewhere only",
            "many@a.example stands for 102 addresses, and 100 is the most",
            "annex@a.example leads to nobody",
        ],
    );
}

#[test]
fn a_milter_fails_as_it_did_there() {
    let filters = |more: &str| {
        let main = format!("mydestination = example.org\nalias_maps =\n{more}");
        let imported = import(&[("main.cf", &main)]);
        let filters = home(&imported).filters;
        let found: Vec<_> = filters.iter().map(|f| (f.address.to_string(), f.on_failure)).collect();
        (found, imported.report)
    };
    let one = |action: &str| {
        let more = format!("smtpd_milters = inet:127.0.0.1:8891\n{action}");
        let (found, report) = filters(&more);
        (found[0].1, report)
    };
    for (action, meant) in [
        ("", OnFailure::Defer),
        ("milter_default_action = tempfail\n", OnFailure::Defer),
        ("milter_default_action = shutdown\n", OnFailure::Defer),
        ("milter_default_action = accept\n", OnFailure::Accept),
        ("milter_default_action = reject\n", OnFailure::Defer),
        ("milter_default_action = quarantine\n", OnFailure::Defer),
    ] {
        let (on_failure, report) = one(action);
        assert_eq!(on_failure, meant, "{action}");
        holds(&report, &["on_failure = \"", "for inet:127.0.0.1:8891"]);
    }
    let (found, report) = filters(
        "smtpd_milters = { inet:127.0.0.1:11332, connect_timeout=10s, default_action=accept }, unix:clamav/milter.sock\n",
    );
    assert_eq!(
        found,
        [
            ("127.0.0.1:11332".to_owned(), OnFailure::Accept),
            ("unix:/var/spool/postfix/clamav/milter.sock".to_owned(), OnFailure::Defer),
        ]
    );
    holds(&report, &["inet:127.0.0.1:11332: connect_timeout=10s: see [[filter]]"]);
}

/// Symptom: the import ended with an error, and its own file was to be corrected. Cause: values that Postfix takes, and
/// Home does not, were written as they were.
#[test]
fn what_home_does_not_take_is_told_and_left_out() {
    let main = "mydestination = example.org\nalias_maps =\nmessage_size_limit = 10\n\
                smtpd_milters = inet:nowhere\n";
    let imported = import(&[("main.cf", main)]);
    let config = home(&imported);
    assert!(config.limits.message.0 > 10 && config.filters.is_empty());
    holds(
        &imported.report,
        &[
            "does not take it: [limits] message = 10: home.toml: [limits] message has to be",
            "does not take it: [[filter]] kind = \"milter\" address = \"inet:nowhere\"",
        ],
    );
}

/// Symptom: mail for one went to another, whose account's name the importer had given to both.
#[test]
fn a_name_that_can_not_be_an_account_is_never_led_to_somebody_elses() {
    let imported = import(&[
        (
            "main.cf",
            "mydestination =\nalias_maps =\nvirtual_mailbox_domains = a.example\nvirtual_mailbox_maps = hash:/etc/postfix/v\n\
             virtual_alias_maps = inline:{ {all@a.example = o'hara@a.example, o-hara@a.example} }\n",
        ),
        ("v", "o'hara@a.example x\no-hara@a.example x\no!hara@a.example x\n"),
    ]);
    assert_eq!(steps(&imported), ["user 'o-hara@a.example'", "leads 'all@a.example' 'o-hara@a.example'"]);
    holds(
        &imported.report,
        &["o'hara@a.example can't be the name of an account", "o!hara@a.example can't be"],
    );
}

/// Symptom: an alias of one domain was taken for all domains of the system. Only its users have a name in each of them.
#[test]
fn an_address_of_a_table_is_of_its_own_domain_only() {
    let imported = import(&[
        (
            "main.cf",
            "myhostname = h.example\nmyorigin = b.example\nmydestination = b.example, c.example\n\
             alias_maps = hash:/etc/aliases\nvirtual_alias_maps = hash:/etc/postfix/virtual\n",
        ),
        ("aliases", "desk: ann\n"),
        ("virtual", "info@b.example ann@b.example\n"),
    ]);
    assert_eq!(
        steps(&imported),
        [
            "user 'ann@b.example'",
            "leads 'ann@c.example' 'ann@b.example'",
            "leads 'desk@b.example' 'ann@b.example'",
            "leads 'info@b.example' 'ann@b.example'",
            "leads 'desk@c.example' 'desk@b.example'",
        ]
    );
}
