//! Answers that the library finds bogus as a whole, asked for once more and put together from parts: each alias by
//! itself, then the name that it leads to by itself. What comes of it is as secure as the weakest part.

use std::sync::Arc;

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::FirstAnswer as _;
use hickory_resolver::net::{DnsError as Said, DnsHandle as _, NetError, RetryDnsHandle};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::op::{DnsRequestOptions, Query};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::look_up::{Alias, Found};
use super::step::{Sections, Step};
use super::{Dns, name};

/// Asks the same name servers, and shows what is wrong with an answer instead of keeping it back.
#[derive(Clone)]
pub(super) struct Parts(DnssecDnsHandle<RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>>);

impl Parts {
    /// Asks the name servers that the resolver with this configuration asks.
    ///
    /// # Errors
    /// The errors of making such a resolver.
    pub(super) fn new(
        config: &ResolverConfig,
        options: &ResolverOpts,
        anchors: Arc<TrustAnchors>,
    ) -> Result<Self, NetError> {
        let context = Arc::new(PoolContext::new(options.clone(), TlsConfig::new()?));
        let servers = config.name_servers.iter().cloned();
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        Ok(Self(DnssecDnsHandle::with_trust_anchor(RetryDnsHandle::new(pool, options.attempts), anchors)))
    }

    async fn first_step(&self, asked: &Name, kind: RecordType) -> Option<Step> {
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        options.edns_set_dnssec_ok = true;
        let answer = self.0.lookup(Query::query(asked.clone(), kind), options).first_answer().await;
        let response = match answer {
            Ok(response) => response,
            Err(NetError::Dns(Said::Nsec { response, .. })) => *response,
            Err(_) => return None,
        };
        let sections = Sections { answers: &response.answers, authorities: &response.authorities };
        sections.first_step(asked, kind)
    }
}

impl Dns {
    /// What is found in parts of an answer that as a whole is no good, for this cause. So many more aliases are followed.
    pub(super) async fn in_parts(
        &self,
        asked: &Name,
        kind: RecordType,
        aliases_left: usize,
        cause: String,
    ) -> Result<Found, String> {
        let Some(parts) = self.parts.as_ref().filter(|_| aliases_left > 0) else { return Err(cause) };
        match parts.first_step(asked, kind).await {
            None => Err(cause),
            Some(Step::Records(records, secure)) => {
                Ok(Found { records, name_exists: true, secure, judged: true, alias: None })
            }
            Some(Step::Alias(target, secure)) => {
                let found = Box::pin(self.ask(&target, kind, aliases_left - 1)).await?;
                let end = found.alias.map_or_else(|| name::to_text(&target), |alias| alias.target);
                let alias = Some(Alias { target: end.to_ascii_lowercase(), secure });
                Ok(Found { secure: secure && found.secure, alias, ..found })
            }
        }
    }
}
