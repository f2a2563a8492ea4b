//! The mailboxes here, as the dispatcher of what leaves needs them.

use std::io;
use std::path::PathBuf;

use std::sync::Arc;

use daemon::clock::Clock;
use directory::Directory;
use mail::{Address, Domain, EnhancedCode, Outcome, UnixTime};
use outbound::{House, Leaving, Reached};

use crate::keeper::{Keeper, LocalMessage};

/// The directory and the mailboxes.
pub(crate) struct OwnHouse {
    /// The accounts and aliases.
    pub(crate) directory: Directory,
    /// The mailboxes of the accounts.
    pub(crate) keeper: Keeper,
    /// A directory for files without a name.
    pub(crate) scratch: PathBuf,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

impl House for OwnHouse {
    fn is_local(&self, domain: &Domain) -> bool {
        self.directory.is_local_domain(domain)
    }

    fn resolve(&self, address: &Address, taken: UnixTime) -> Option<Reached> {
        let found = self.directory.resolve_taken(address, taken)?;
        let accounts = found.accounts.iter().map(|account| account.as_str().to_owned()).collect();
        Some(Reached { accounts, outside: found.outside })
    }

    async fn deliver(&self, message: Leaving, recipients: Vec<(Address, Vec<String>)>) -> Vec<Outcome> {
        let Leaving { item, reverse_path, content } = message;
        let scratch = self.scratch.clone();
        let read = tokio::task::spawn_blocking(move || {
            content::gather(content.octets(), content.reader(0), &scratch)
        });
        let content = match read.await.map_err(io::Error::other).flatten() {
            Ok(content) => content,
            Err(error) => {
                return vec![Outcome::deferred(EnhancedCode(4, 3, 0), error.to_string()); recipients.len()];
            }
        };
        let message = LocalMessage { item, reverse_path, content, now: self.clock.now() };
        let mut outcomes = Vec::with_capacity(recipients.len());
        for (address, accounts) in &recipients {
            outcomes.push(message.deliver(&self.keeper, address, accounts).await);
        }
        outcomes
    }
}
