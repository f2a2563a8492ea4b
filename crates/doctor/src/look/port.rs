//! A mail port, looked at by several strangers at one time: one sees the certificate, one asks for what has to be refused,
//! two offer what nobody should take.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::clock::{Clock as _, SystemClock};
use daemon::problem::io_words;
use net::mta_tls::RootCertStore;
use net::probe::{Dialogue, Offer, Reply, ShownCertificate, show, takes};
use tlspolicy::certificate::validity;
use tokio::net::TcpStream;

use super::world::MailQuestions;
use crate::facts::{Certificate, Fact, MailPort};

/// What these strangers call themselves: no name of ours, which would stand in logs.
const NAME: &str = "doctor.invalid";
/// A recipient for whom nobody but an open relay takes mail (RFC 2606).
const STRANGER: &str = "stranger@example.com";

type Talk = Dialogue<TcpStream>;

pub(super) async fn mail(
    place: SocketAddr,
    questions: &MailQuestions,
    roots: &Arc<RootCertStore>,
) -> Fact<MailPort> {
    let (greeting, offers_starttls) = greeted(place).await?;
    let (certificate, old, weak, refusals) = tokio::join!(
        certificate(place, &questions.name, roots),
        taken(place, Offer::OldVersions),
        taken(place, Offer::WeakCiphers),
        refusals(place, questions),
    );
    let (relay, nobody) = match refusals {
        Ok(both) => both,
        Err(why) => (Err(why.clone()), Err(why)),
    };
    Ok(MailPort {
        greeting,
        offers_starttls,
        certificate,
        old_versions: old,
        weak_ciphers: weak,
        relay,
        nobody,
    })
}

pub(super) async fn tls(place: SocketAddr, name: &str, roots: &Arc<RootCertStore>) -> Fact<Certificate> {
    let stream = TcpStream::connect(place).await.map_err(|error| io_words(&error))?;
    let (_stream, shown) = show(stream, name, (Arc::clone(roots), SystemClock.now().as_secs()))
        .await
        .map_err(|error| io_words(&error))?;
    Ok(certificate_of(shown))
}

fn certificate_of(shown: ShownCertificate) -> Certificate {
    let validity = shown.chain.first().and_then(|own| validity(own));
    Certificate { chain: shown.chain, names_host: shown.names_host, trusted: shown.trusted, validity }
}

async fn begin(place: SocketAddr) -> Fact<(Talk, Reply)> {
    let stream = TcpStream::connect(place).await.map_err(|error| io_words(&error))?;
    let mut session = Dialogue::new(stream);
    let greeting = session.reply().await.map_err(|error| io_words(&error))?;
    Ok((session, greeting))
}

async fn say(session: &mut Talk, line: &str) -> Fact<Reply> {
    session.say(line).await.map_err(|error| io_words(&error))
}

async fn greeted(place: SocketAddr) -> Fact<(Reply, bool)> {
    let (mut session, greeting) = begin(place).await?;
    if greeting.code != 220 {
        return Ok((greeting, false));
    }
    let offered = say(&mut session, &format!("EHLO {NAME}")).await?;
    let _ = say(&mut session, "QUIT").await;
    Ok((greeting, offered.offers("STARTTLS")))
}

/// A session in which TLS is about to begin.
async fn before_tls(place: SocketAddr) -> Fact<TcpStream> {
    let (mut session, _) = begin(place).await?;
    say(&mut session, &format!("EHLO {NAME}")).await?;
    let reply = say(&mut session, "STARTTLS").await?;
    if reply.code == 220 { Ok(session.into_stream()) } else { Err(format!("STARTTLS was refused: {reply}")) }
}

async fn certificate(place: SocketAddr, name: &str, roots: &Arc<RootCertStore>) -> Fact<Certificate> {
    let stream = before_tls(place).await?;
    let (stream, shown) = show(stream, name, (Arc::clone(roots), SystemClock.now().as_secs()))
        .await
        .map_err(|error| io_words(&error))?;
    let _ = Dialogue::new(stream).say("QUIT").await;
    Ok(certificate_of(shown))
}

async fn taken(place: SocketAddr, offer: Offer) -> Fact<bool> {
    takes(before_tls(place).await?, offer).await.map_err(|error| io_words(&error))
}

/// What has to be refused. No message follows, whatever is said.
async fn refusals(place: SocketAddr, questions: &MailQuestions) -> Fact<(Fact<Reply>, Fact<Reply>)> {
    let (mut session, _) = begin(place).await?;
    say(&mut session, &format!("EHLO {NAME}")).await?;
    let from = say(&mut session, "MAIL FROM:<>").await?;
    if !from.is_positive() {
        return Err(format!("a message could not be begun: {from}"));
    }
    let relay = say(&mut session, &format!("RCPT TO:<{STRANGER}>")).await;
    let nobody = match &questions.nobody {
        Some(address) => say(&mut session, &format!("RCPT TO:<{address}>")).await,
        None => Err("there is no domain to ask for".to_owned()),
    };
    let _ = say(&mut session, "RSET").await;
    let _ = say(&mut session, "QUIT").await;
    Ok((relay, nobody))
}
