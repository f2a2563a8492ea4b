# A Postfix in $root that listens on 127.0.0.1:25 and has Debian's services, none of them in a chroot of its own.

# postfix_start: writes main.cf from standard input, on top of where everything is, and starts it.
postfix_start() {
    {
        printf 'compatibility_level = 9999\nqueue_directory = /var/spool/postfix\ncommand_directory = /usr/sbin\n'
        printf 'daemon_directory = /usr/lib/postfix/sbin\ndata_directory = /var/lib/postfix\nmail_owner = postfix\n'
        printf 'setgid_group = postdrop\nmyhostname = relay.example\nmydestination =\nalias_maps =\nalias_database =\n'
        printf 'inet_interfaces = loopback-only\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nmaillog_file = /var/log/postfix\n'
        printf 'smtp_host_lookup = native\nsmtp_dns_support_level = disabled\n'
        cat
    } > "$root/etc/postfix/main.cf"
    # The fifth column says whether a service changes its root.
    awk '/^[a-z]/ && NF >= 8 { $5 = "n" } { print }' "$root/usr/share/postfix/master.cf.dist" > "$root/etc/postfix/master.cf"
    mkdir -p "$root/var/spool/postfix" "$root/var/lib/postfix"
    # What Debian does before a start: files for services that change their root, of which there are none.
    printf '#!/bin/sh\n' > "$root/usr/lib/postfix/configure-instance.sh"
    chown 64901:64901 "$root/var/lib/postfix"
    inside postfix start > "$room/postfix.log" 2>&1 || could_not_be_tried "Postfix does not start: $(tail -n 5 "$room/postfix.log")"
    wait_for_port 25
}
