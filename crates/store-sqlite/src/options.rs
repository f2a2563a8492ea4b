//! How the store works.

/// How the store works; the defaults fit a small host.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads that write, 1 to 64.
    pub writers: usize,
    /// Most jobs in one transaction.
    pub batch_jobs_max: usize,
    /// Most octets of message in one transaction; a larger message gets one of its own.
    pub batch_octets_max: usize,
    /// Most jobs that wait for one writer.
    pub queue_jobs_max: usize,
    /// Most octets of memory that the jobs waiting for one writer hold.
    pub queue_octets_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            writers: 2,
            batch_jobs_max: 512,
            batch_octets_max: 8 * 1024 * 1024,
            queue_jobs_max: 16 * 1024,
            queue_octets_max: 64 * 1024 * 1024,
        }
    }
}
