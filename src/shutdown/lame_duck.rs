use std::future::{Future, pending};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::plan::Plan;
use crate::drain::Drain;

/// Waits until the lame duck may end: when it has taken its longest, or early if the plan says by
/// what and all of that is so.
pub(super) async fn lame_duck(drain: Drain, plan: Plan, longest: Option<Instant>) {
    let early = async {
        if plan.probes.is_none() && plan.quiet.is_none() {
            pending().await
        }
        if let Some(probes) = plan.probes {
            probed(&drain, probes).await;
        }
        if let Some(quiet) = plan.quiet {
            quiet_for(&drain, quiet).await;
        }
    };
    match longest {
        // An error is the longest.
        Some(longest) => drop(timeout_at(longest, early).await),
        None => early.await,
    }
}

/// Waits until readiness has failed that often.
fn probed(drain: &Drain, times: u32) -> impl Future<Output = ()> + Send + use<> {
    let mut probes = drain.probes();
    async move {
        // Never an error: that is a drain without handles, and the caller has one.
        let _ = probes.wait_for(|probes| *probes >= times).await;
    }
}

/// Waits until no request has come for so long.
async fn quiet_for(drain: &Drain, quiet: Duration) {
    // Without notice, or with a time that no clock can tell, it is never quiet.
    while let Some(until) = drain.quiet_since().and_then(|it| it.checked_add(quiet)) {
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
    pending().await
}
