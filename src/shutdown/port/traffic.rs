//! Follows the connections of a server that is closing, until they stand still or everything is delivered.

use std::time::Duration;

use tokio::time::Instant;

use super::still::{Left, Still};
use super::{Kernel, ask};
use crate::drain::Drain;
use crate::shutdown::session::reached;

/// How often to look where the kernel cannot be asked.
const INTERVAL: Duration = Duration::from_millis(20);

/// The connections that were there when the server was asked to close.
pub(in crate::shutdown) struct Traffic<'a> {
    drain: &'a Drain,
    kernel: Option<Kernel>,
    still: Still,
    left: Left,
}

impl<'a> Traffic<'a> {
    /// Counts from now.
    pub(super) fn new(drain: &'a Drain, kernel: Option<Kernel>, flush: Duration) -> Self {
        Self {
            drain,
            kernel,
            still: Still::new(Instant::now(), flush),
            left: Left::default(),
        }
    }

    /// Counts anew if requests are in flight, or were the last time.
    pub(in crate::shutdown) fn look_at_requests(&mut self) {
        let in_flight = self.drain.in_flight() > 0;
        let last_arrival = self.drain.gate().last_arrival();
        self.still
            .look_at_requests(Instant::now(), in_flight, last_arrival);
    }

    /// Waits until the connections have stood still for `flush`, and not before this time.
    pub(in crate::shutdown) async fn stood_still(&mut self, not_before: Option<Instant>) {
        loop {
            let now = Instant::now();
            if self.is_over(now) && not_before.is_none_or(|at| at <= now) {
                return;
            }
            self.next_look(not_before).await;
            self.look().await;
        }
    }

    /// Waits until the peers have acknowledged everything that they were sent, or have stood still for `flush`.
    /// Where the kernel cannot be asked, nothing is waited for.
    pub(in crate::shutdown) async fn delivered(&mut self) {
        while self.kernel.is_some() {
            // The first one at once.
            self.look().await;
            if self.left.undelivered == 0 || self.is_over(Instant::now()) {
                return;
            }
            self.next_look(None).await;
        }
    }

    /// Returns what was left at the last look. Nothing if the kernel cannot be asked.
    pub(in crate::shutdown) fn left(&self) -> Left {
        self.left
    }

    fn is_over(&self, now: Instant) -> bool {
        self.still.until().is_some_and(|at| at <= now)
    }

    /// Waits until a look is due. One is at `at`, if that is not over.
    async fn next_look(&mut self, at: Option<Instant>) {
        let now = Instant::now();
        let next = match &self.kernel {
            Some(kernel) => kernel.next(),
            None => now + INTERVAL,
        };
        let times = [self.still.until(), at].into_iter().flatten();
        let next = times.filter(|at| *at > now).fold(next, Instant::min);
        reached(Some(next)).await;
    }

    async fn look(&mut self) {
        let is_first = !self.still.follows();
        if let Some(sockets) = ask(&mut self.kernel, is_first).await {
            if is_first {
                self.still.follow(&sockets);
            }
            self.left = self.still.look_at_sockets(Instant::now(), &sockets);
        }
        self.look_at_requests();
    }
}
