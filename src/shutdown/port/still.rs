//! How long connections have stood still: a state over what the kernel says. Knows no network.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::tcp::{TcpSocket, TcpState};

/// The connections of a server that is closing, while nothing is in flight.
#[derive(Debug)]
pub(super) struct Still {
    /// How long they may stand still.
    flush: Duration,
    since: Instant,
    was_in_flight: bool,
    /// By cookie, how many bytes each peer has acknowledged. `None` until the kernel has answered.
    followed: Option<HashMap<u64, u64>>,
}

/// What is left of the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shutdown) struct Left {
    /// Connections that the server has open.
    pub(in crate::shutdown) open: usize,
    /// Connections with bytes that the peer has not acknowledged, those included that the server has closed.
    pub(in crate::shutdown) undelivered: usize,
}

impl Still {
    pub(super) fn new(now: Instant, flush: Duration) -> Self {
        Self {
            flush,
            since: now,
            was_in_flight: false,
            followed: None,
        }
    }

    /// Whether it follows connections.
    pub(super) fn follows(&self) -> bool {
        self.followed.is_some()
    }

    /// Follows these connections. Later ones are strangers.
    pub(super) fn follow(&mut self, sockets: &[TcpSocket]) {
        let acknowledged = |socket: &TcpSocket| (socket.cookie, socket.acknowledged);
        self.followed = Some(sockets.iter().map(acknowledged).collect());
    }

    /// Returns when they will have stood still for long enough. `None` is never, or while requests are in flight.
    pub(super) fn until(&self) -> Option<Instant> {
        let over = self.since.checked_add(self.flush);
        over.filter(|_| !self.was_in_flight)
    }

    /// Counts anew if requests are in flight, were in flight at the last look, or have arrived since.
    pub(super) fn look_at_requests(
        &mut self,
        now: Instant,
        in_flight: bool,
        last_arrival: Option<Instant>,
    ) {
        let last = Some(now).filter(|_| in_flight || self.was_in_flight);
        self.since = self.since.max(last.max(last_arrival).unwrap_or(self.since));
        self.was_in_flight = in_flight;
    }

    /// Counts anew if a peer has acknowledged anything since the last look. Returns what is left.
    pub(super) fn look_at_sockets(&mut self, now: Instant, sockets: &[TcpSocket]) -> Left {
        let mut left = Left::default();
        let Some(followed) = &mut self.followed else {
            return left;
        };
        for socket in sockets {
            let Some(acknowledged) = followed.get_mut(&socket.cookie) else {
                continue;
            };
            if socket.acknowledged > *acknowledged {
                *acknowledged = socket.acknowledged;
                self.since = now;
            }
            left.open += usize::from(socket.state == TcpState::Open);
            left.undelivered += usize::from(socket.unacknowledged > 0);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn socket(cookie: u64, acknowledged: u64, unacknowledged: u32) -> TcpSocket {
        TcpSocket {
            cookie,
            acknowledged,
            unacknowledged,
            ..TcpSocket::default()
        }
    }

    fn following(now: Instant, flush: Duration, sockets: &[TcpSocket]) -> Still {
        let mut still = Still::new(now, flush);
        still.follow(sockets);
        still
    }

    #[test]
    fn each_acknowledged_byte_counts_anew() {
        let now = Instant::now();
        let mut still = following(now, 5 * SECOND, &[socket(1, 10, 90), socket(2, 0, 0)]);
        assert_eq!(still.until(), Some(now + 5 * SECOND));
        let left = still.look_at_sockets(now + SECOND, &[socket(1, 10, 90), socket(2, 0, 0)]);
        assert_eq!(
            left,
            Left {
                open: 2,
                undelivered: 1
            }
        );
        assert_eq!(still.until(), Some(now + 5 * SECOND));
        still.look_at_sockets(now + 2 * SECOND, &[socket(1, 11, 89)]);
        assert_eq!(still.until(), Some(now + 7 * SECOND));
        // Also while nothing is queued: an HTTP/2 client gives the server room a little at a time.
        let left = still.look_at_sockets(now + 3 * SECOND, &[socket(1, 100, 0)]);
        assert_eq!(
            left,
            Left {
                open: 1,
                undelivered: 0
            }
        );
        assert_eq!(still.until(), Some(now + 8 * SECOND));
    }

    #[test]
    fn what_the_server_has_closed_is_still_to_be_delivered() {
        let now = Instant::now();
        let mut still = following(now, SECOND, &[socket(1, 10, 90)]);
        let closed = TcpSocket {
            state: TcpState::Closing,
            ..socket(1, 10, 90)
        };
        let left = still.look_at_sockets(now, &[closed]);
        assert_eq!(
            left,
            Left {
                open: 0,
                undelivered: 1
            }
        );
        assert_eq!(still.look_at_sockets(now, &[]), Left::default());
    }

    #[test]
    fn strangers_count_for_nothing() {
        let now = Instant::now();
        let mut still = following(now, SECOND, &[socket(1, 10, 0)]);
        let left = still.look_at_sockets(now + SECOND, &[socket(2, 500, 500)]);
        assert_eq!(left, Left::default());
        assert_eq!(still.until(), Some(now + SECOND));
    }

    #[test]
    fn requests_and_the_end_of_the_last_count_anew() {
        let now = Instant::now();
        let mut still = following(now, 5 * SECOND, &[]);
        let mut until = |second, in_flight, arrival: Option<u32>| {
            let arrival = arrival.map(|second| now + second * SECOND);
            still.look_at_requests(now + second * SECOND, in_flight, arrival);
            still.until().map(|at| at - now)
        };
        assert_eq!(until(1, false, None), Some(5 * SECOND));
        assert_eq!(until(2, true, None), None);
        assert_eq!(until(3, false, None), Some(8 * SECOND));
        assert_eq!(until(4, false, None), Some(8 * SECOND));
        // One that came and went between two looks.
        assert_eq!(until(6, false, Some(5)), Some(10 * SECOND));
        assert_eq!(until(7, false, Some(5)), Some(10 * SECOND));
    }

    #[test]
    fn it_may_last_for_ever() {
        assert_eq!(Still::new(Instant::now(), Duration::MAX).until(), None);
    }
}
