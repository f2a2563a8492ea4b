//! The ledger of TLS sessions: a row is one report (RFC 8460), by UTC day and domain, and how far it is.

use mail::{Domain, ItemId};

use crate::StoreError;

/// The state of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportState {
    /// It is counted, or is to be sent.
    Open,
    /// Everybody who wanted it has it, or has it in the outbound queue.
    Sent,
    /// Nobody wants the report.
    Unwanted,
    /// It could not be delivered in time.
    Dropped,
}

impl ReportState {
    /// The state as the word that is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sent => "sent",
            Self::Unwanted => "unwanted",
            Self::Dropped => "dropped",
        }
    }

    /// The state of a stored word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Sent, Self::Unwanted, Self::Dropped]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How far a report is, with what is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The state of the report.
    pub state: ReportState,
    /// Where it still has to go; `None` as long as nobody was asked.
    pub targets: Option<Vec<String>>,
    /// Attempts that failed so far.
    pub tries: u32,
}

/// One report. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// The report's id.
    pub id: ItemId,
    /// The day, counted from 1970.
    pub day: u64,
    /// The recipients' domain.
    pub domain: Domain,
    /// The first second that it is about.
    pub begun: u64,
    /// The last second that it is about.
    pub ended: u64,
    /// The time when it is to be sent.
    pub due: u64,
    /// What was counted: JSON that only who counts reads.
    pub results: String,
    /// The state, and what is left to do.
    pub progress: Progress,
}

/// A change of the table of reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportChange {
    /// A new report.
    Begin(ReportRow),
    /// More was counted for one that is there.
    Results {
        /// The report's id.
        id: ItemId,
        /// The results: all that was counted.
        results: String,
    },
}

/// All reports. A row that can't be read is as good as none: it is gone after a few days.
pub trait Reports: Send + Sync {
    /// Of an open report of this day and domain that ends at `now` or later: its id and what was counted.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn counting(&self, day: u64, domain: &Domain, now: u64) -> Result<Option<(ItemId, String)>, StoreError>;

    /// How many reports a day has, and how many of them are of this domain.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn count(&self, day: u64, domain: &Domain) -> Result<(u64, u64), StoreError>;

    /// Makes changes, all or none, after forgetting the days before `oldest_day`.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn write(&self, oldest_day: u64, changes: &[ReportChange]) -> Result<(), StoreError>;

    /// Open reports that are due by `now` and over, of `oldest_day` or later, who is due first first; no more than `most`.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn due(&self, now: u64, oldest_day: u64, most: u32) -> Result<Vec<ReportRow>, StoreError>;

    /// All of one domain, or of all, the newest last.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn entries(&self, domain: Option<&Domain>) -> Result<Vec<ReportRow>, StoreError>;

    /// Ends all open reports before `now`, and makes them due. None ends before it has begun.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn cut_short(&self, now: u64) -> Result<(), StoreError>;

    /// Notes how far a report is, and when it is tried again.
    ///
    /// # Errors
    /// The disk's errors: see [`StoreError`].
    fn update(&self, id: ItemId, progress: &Progress, due: u64) -> Result<(), StoreError>;
}
