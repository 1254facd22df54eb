//! Decides when a lame duck is over.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::builder::Config;
use super::conditions::{first, reached};
use super::log;
use crate::drain::Drain;

/// Waits until the lame duck has lasted for its maximum, or until the conditions of `config` end it early.
///
/// The maximum counts from the beginning of the lame duck, which may have been before the signal.
pub(super) async fn over(drain: &Drain, config: &Config) {
    let since = drain.lame_duck_since();
    let longest = since.and_then(|since| since.checked_add(config.lame_duck));
    drain.announce_lame_duck_end(longest);
    let early = async {
        if config.min_failed_probes.is_none() && config.quiet_period.is_none() {
            pending().await
        }
        if let Some(probes) = config.min_failed_probes {
            // Never an error: the drain, which owns the sender, outlives this.
            let _ = drain
                .failed_probes()
                .wait_for(|failed| *failed >= probes)
                .await;
        }
        if let Some(quiet) = config.quiet_period {
            quiet_for(drain, quiet).await;
        }
        true
    };
    let longest = async {
        reached(longest).await;
        false
    };
    log::lame_duck_ended(first(longest, early).await);
}

/// Waits until no request has arrived for `quiet`.
async fn quiet_for(drain: &Drain, quiet: Duration) {
    // A period that is too long for the clock never ends.
    while let Some(until) = drain
        .quiet_since()
        .and_then(|since| since.checked_add(quiet))
    {
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
    pending().await
}
