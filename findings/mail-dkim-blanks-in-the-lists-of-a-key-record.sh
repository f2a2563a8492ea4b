#!/bin/sh
# Mail::DKIM 1.20240923 (Perl, Debian 13; what SpamAssassin asks): `h=sha1 : sha256` in a key record does not contain sha256.
#
# RFC 6376 section 3.6.1: `key-h-tag = … key-h-tag-alg *( [FWS] ":" [FWS] key-h-tag-alg )`, and `s=` has the same form: blanks around
# the colon mean nothing. Mail::DKIM cuts at the colon alone and compares "sha1 " and " sha256": every signature under
# such a key is invalid, "does not support hash algorithm 'sha256'". opendkim 2.11, dkimpy 1.1.8 and mailauth 7.1 read such a record.
#
# Seen: "h=sha1:sha256" pass; "h=sha1 : sha256" invalid; "s=tlsrpt:email" pass; "s=tlsrpt : email" invalid.
set -eu
. "$(dirname "$0")/lib/room.sh"

debian trixie libmail-dkim-perl=1.20240923-1
alone
openssl genrsa -out "$root/tmp/key" 2048 2> /dev/null
cat > "$root/tmp/check.pl" <<'PERL'
use strict;
use warnings;
use Mail::DKIM::Signer;
use Mail::DKIM::Verifier;
use MIME::Base64;
use Net::DNS;

# A name server that knows one record.
package OneRecord {
    sub new { my ($class, $text) = @_; return bless { text => $text }, $class }
    sub answer {
        my ($self, $name, $type) = @_;
        my $answer = Net::DNS::Packet->new($name, $type);
        $answer->header->qr(1);
        return $answer if $type ne 'TXT' || $name !~ /^s\._domainkey\./;
        my @strings = $self->{text} =~ /(.{1,250})/g;
        $answer->push(answer => Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => \@strings));
        return $answer;
    }
    sub query { my $answer = answer(@_); return $answer->answer ? $answer : undef }
    sub send { return answer(@_) }
    sub errorstring { return 'NXDOMAIN' }
}

my $message = "From: alice\@example.org\r\nTo: bob\@example.net\r\nSubject: a test\r\n\r\nHello.\r\n";
my $signer = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => 'relaxed/relaxed', Domain => 'example.org', Selector => 's', KeyFile => '/tmp/key');
$signer->PRINT($message);
$signer->CLOSE;
open my $file, '<', '/tmp/public' or die;
my $public = join '', grep { !/-----/ } map { s/\s//gr } <$file>;
for my $tags (@ARGV) {
    Mail::DKIM::DNS::resolver(OneRecord->new("v=DKIM1; $tags; p=$public"));
    my $verifier = Mail::DKIM::Verifier->new;
    $verifier->PRINT($signer->signature->as_string . "\r\n" . $message);
    $verifier->CLOSE;
    (my $result = $verifier->result_detail) =~ s/\s+/ /g;
    print "$result\n";
}
PERL
openssl rsa -in "$root/tmp/key" -pubout -out "$root/tmp/public" 2> /dev/null
verdict() { inside perl /tmp/check.pl "$1"; }
as_described "h=sha1:sha256" "$(verdict 'h=sha1:sha256')" "pass"
as_described "h=sha1 : sha256" "$(verdict 'h=sha1 : sha256')" "invalid (public key: does not support hash algorithm 'sha256')"
as_described "s=tlsrpt:email" "$(verdict 's=tlsrpt:email')" "pass"
as_described "s=tlsrpt : email" "$(verdict 's=tlsrpt : email')" "invalid (public key: does not support email)"
