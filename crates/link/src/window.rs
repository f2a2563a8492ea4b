//! The window that bounds one body in flight, so that a large message or a slow disk fills no memory and one
//! message never blocks the link for the others.

/// Octets of one body that may be under way before the receiver has asked for more. A message below this
/// size crosses without a single credit.
pub const WINDOW_OCTETS: u64 = 256 * 1024;

/// The peer sent more than it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a body ran past its window")]
pub struct WindowError;

/// The window on the sender's side, in octets.
#[derive(Debug, Clone)]
pub struct SendWindow {
    open: u64,
}

impl Default for SendWindow {
    fn default() -> Self {
        Self { open: WINDOW_OCTETS }
    }
}

impl SendWindow {
    /// Octets that may be sent now.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.open
    }

    /// Counts octets that are about to be sent.
    ///
    /// # Errors
    /// [`WindowError`] when it is more than is open: our own fault.
    pub fn take(&mut self, octets: usize) -> Result<(), WindowError> {
        self.open = self.open.checked_sub(octets as u64).ok_or(WindowError)?;
        Ok(())
    }

    /// The receiver granted more. A peer that grants without end only lets itself be flooded; the sum stays
    /// bounded all the same.
    pub fn credit(&mut self, octets: u32) {
        self.open = self.open.saturating_add(u64::from(octets)).min(u64::from(u32::MAX));
    }
}

/// The receiver's side: how much the sender may still send, and what to grant next.
#[derive(Debug, Clone)]
pub struct ReceiveWindow {
    open: u64,
    consumed: u64,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self { open: WINDOW_OCTETS, consumed: 0 }
    }
}

impl ReceiveWindow {
    /// Octets arrived.
    ///
    /// # Errors
    /// [`WindowError`] when the peer broke the window; the link must end.
    pub fn arrived(&mut self, octets: usize) -> Result<(), WindowError> {
        self.open = self.open.checked_sub(octets as u64).ok_or(WindowError)?;
        Ok(())
    }

    /// Octets were put away. Returns the credit to send, in steps of half a window.
    pub fn consumed(&mut self, octets: usize) -> Option<u32> {
        self.consumed += octets as u64;
        if self.consumed < WINDOW_OCTETS / 2 {
            return None;
        }
        let credit = std::mem::take(&mut self.consumed);
        self.open += credit;
        u32::try_from(credit).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_needs_no_credit_and_a_large_one_gets_it_in_halves() {
        let mut send = SendWindow::default();
        let mut receive = ReceiveWindow::default();
        let half = usize::try_from(WINDOW_OCTETS / 2).unwrap();
        send.take(half - 1).unwrap();
        receive.arrived(half - 1).unwrap();
        assert_eq!(receive.consumed(half - 1), None);
        send.take(1).unwrap();
        receive.arrived(1).unwrap();
        let credit = receive.consumed(1).unwrap();
        assert_eq!(credit as usize, half);
        send.credit(credit);
        assert_eq!(send.open(), WINDOW_OCTETS);
    }

    #[test]
    fn the_window_is_taken_to_its_limit_and_not_one_octet_past_it() {
        let whole = usize::try_from(WINDOW_OCTETS).unwrap();
        let mut send = SendWindow::default();
        let mut receive = ReceiveWindow::default();
        send.take(whole).unwrap();
        receive.arrived(whole).unwrap();
        assert_eq!(send.take(1), Err(WindowError));
        assert_eq!(receive.arrived(1), Err(WindowError));
    }

    #[test]
    fn endless_credit_does_not_overflow() {
        let mut send = SendWindow::default();
        for _ in 0..10 {
            send.credit(u32::MAX);
        }
        assert_eq!(send.open(), u64::from(u32::MAX));
    }
}
