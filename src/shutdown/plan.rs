use std::time::Duration;

/// What a [`Shutdown`](crate::Shutdown) has been told, as its methods document it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) lame_duck: Duration,
    pub(super) quiet: Option<Duration>,
    pub(super) probes: Option<u32>,
    pub(super) timeout: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            lame_duck: Duration::ZERO,
            quiet: None,
            probes: None,
            timeout: Duration::from_secs(30),
        }
    }
}
