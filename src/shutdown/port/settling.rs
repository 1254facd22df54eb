//! Whether what has reached a port has been read: a state over what the kernel says. Knows no network.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::tcp::{TcpSocket, TcpState};

/// How long a handshake may take: a lost SYN/ACK is sent again after a second.
const LONGEST_HANDSHAKE: Duration = Duration::from_millis(1300);
/// How old a connection may become before its first request arrives.
const LONGEST_REQUEST: Duration = Duration::from_secs(1);
/// The same while handshakes lose segments: a client whose SYN was sent twice, which only it knows, sends a lost request
/// again after some 3 s.
const LONGEST_RESENT_REQUEST: Duration = Duration::from_secs(4);
/// How long the server has to accept and read what has arrived, once `settle` has passed.
const LONGEST_UNREAD: Duration = Duration::from_secs(1);
/// How long all of this may take, once `settle` has passed.
const LONGEST: Duration = Duration::from_secs(5);

/// A port that accepts no new handshakes.
#[derive(Debug)]
pub(super) struct Settling {
    began: Instant,
    /// When `settle` has passed. `None` is never.
    settled: Option<Instant>,
    /// Whether the kernel knows all connections, so that none means that there is nothing to wait for.
    knows_all: bool,
    /// Cookies of the connections that were there before `settle` had passed. Later ones are strangers.
    followed: HashSet<u64>,
    /// Whether a handshake has lost a segment.
    loses: bool,
    /// The connections that had unread bytes when `settle` had passed, and how much of each had been read.
    unread: Option<HashMap<u64, u64>>,
}

/// What a port still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Whether `settle` has not passed.
    pub(super) time: bool,
    /// Whether a connection waits to be accepted.
    pub(super) queued: bool,
    /// Handshakes.
    pub(super) half_open: usize,
    /// Connections whose first request may be on its way.
    pub(super) unused: usize,
    /// Connections with bytes that the server has not read.
    pub(super) unread: usize,
    /// Handshakes and connections with unread bytes that are no longer waited for.
    pub(super) given_up: usize,
}

impl Settling {
    pub(super) fn new(now: Instant, settle: Duration, knows_all: bool) -> Self {
        Self {
            began: now,
            settled: now.checked_add(settle),
            knows_all,
            followed: HashSet::new(),
            loses: false,
            unread: None,
        }
    }

    /// Returns when it ends at the latest.
    pub(super) fn longest(&self) -> Option<Instant> {
        self.settled?.checked_add(LONGEST)
    }

    /// Returns when `settle` has passed.
    pub(super) fn settled(&self) -> Option<Instant> {
        self.settled
    }

    /// Returns what is missing. `sockets` is `None` if the kernel cannot be asked.
    pub(super) fn look(
        &mut self,
        now: Instant,
        sockets: Option<&[TcpSocket]>,
        queued: bool,
    ) -> Missing {
        let after = self.settled.and_then(|at| now.checked_duration_since(at));
        let is_within = |longest| after.is_none_or(|after| after < longest);
        if !is_within(LONGEST) {
            // A stranger is not given up.
            return Missing::default();
        }
        let mut missing = Missing {
            time: after.is_none(),
            queued: queued && is_within(LONGEST_UNREAD),
            ..Missing::default()
        };
        let Some(sockets) = sockets else {
            return missing;
        };
        let open = || {
            let is_open =
                |socket: &&TcpSocket| matches!(socket.state, TcpState::HalfOpen | TcpState::Open);
            sockets.iter().filter(is_open)
        };
        if self.knows_all && !queued && open().next().is_none() {
            return Missing::default();
        }
        if self.unread.is_none() {
            self.followed.extend(open().map(|socket| socket.cookie));
        }
        let is_followed = |socket: &&TcpSocket| self.followed.contains(&socket.cookie);
        self.loses |= open()
            .filter(is_followed)
            .filter(|socket| socket.received == 0 && socket.retransmitted > 0)
            .any(|socket| socket.quiet < LONGEST_RESENT_REQUEST);
        let handshakes = now.saturating_duration_since(self.began) < LONGEST_HANDSHAKE;
        for socket in open().filter(is_followed) {
            if socket.state == TcpState::HalfOpen {
                if handshakes {
                    missing.half_open += 1;
                } else {
                    missing.given_up += 1;
                }
            } else if socket.received == 0 && socket.quiet < self.longest_request(socket) {
                missing.unused += 1;
            }
        }
        if after.is_some() {
            let unread = self.unread.get_or_insert_with(|| {
                let unread = open().filter(|socket| socket.unread > 0);
                unread.map(|socket| (socket.cookie, read(socket))).collect()
            });
            let is_unread = |socket: &&TcpSocket| unread.get(&socket.cookie) == Some(&read(socket));
            let unread = open().filter(is_unread).count();
            if is_within(LONGEST_UNREAD) {
                missing.unread = unread;
            } else {
                missing.given_up += unread;
            }
        }
        missing
    }

    /// How old a connection may become before its first request arrives, if it is lost twice: the second
    /// retransmission comes after three times the first one's time.
    fn longest_request(&self, socket: &TcpSocket) -> Duration {
        if self.loses {
            LONGEST_RESENT_REQUEST
        } else {
            LONGEST_REQUEST.min(socket.rtt + 3 * socket.rto)
        }
    }
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        let Self { given_up, .. } = *self;
        *self
            == Self {
                given_up,
                ..Self::default()
            }
    }

    /// Returns the larger of each number.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            time: self.time || other.time,
            queued: self.queued || other.queued,
            half_open: self.half_open.max(other.half_open),
            unused: self.unused.max(other.unused),
            unread: self.unread.max(other.unread),
            given_up: self.given_up.max(other.given_up),
        }
    }
}

/// How much the server has read.
fn read(socket: &TcpSocket) -> u64 {
    socket.received.saturating_sub(socket.unread.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A connection that has been used, and has nothing to be read.
    fn idle(cookie: u64) -> TcpSocket {
        TcpSocket {
            cookie,
            received: 100,
            acknowledged: 100,
            quiet: Duration::from_secs(60),
            rtt: 60 * MILLISECOND,
            rto: 260 * MILLISECOND,
            ..TcpSocket::default()
        }
    }

    /// A connection on which nothing has arrived for so many milliseconds since its handshake.
    fn unused(cookie: u64, quiet: u32) -> TcpSocket {
        TcpSocket {
            received: 0,
            quiet: quiet * MILLISECOND,
            ..idle(cookie)
        }
    }

    fn half_open(cookie: u64) -> TcpSocket {
        TcpSocket {
            state: TcpState::HalfOpen,
            ..unused(cookie, 0)
        }
    }

    fn unread(cookie: u64, received: u64, unread: u32) -> TcpSocket {
        TcpSocket {
            received,
            unread,
            ..idle(cookie)
        }
    }

    /// A port that settles for 300 ms, and looks.
    struct Port(Instant, Settling);

    impl Port {
        fn new() -> Self {
            let now = Instant::now();
            Self(now, Settling::new(now, 300 * MILLISECOND, true))
        }

        fn look(&mut self, milliseconds: u32, sockets: &[TcpSocket]) -> Missing {
            let now = self.0 + milliseconds * MILLISECOND;
            self.1.look(now, Some(sockets), false)
        }
    }

    #[test]
    fn an_idle_port_has_settled_at_once() {
        assert!(Port::new().look(0, &[]).is_empty());
        // What this side has closed needs nothing more.
        let closed = |state| TcpSocket {
            state,
            ..unused(1, 0)
        };
        let sockets = [closed(TcpState::Closing), closed(TcpState::Closed)];
        assert!(Port::new().look(0, &sockets).is_empty());
        // Something arrives after the look.
        let missing = Port::new().1.look(Instant::now(), Some(&[]), true);
        assert!(missing.time && missing.queued);
        // Not if there are connections that the kernel does not list.
        let mut settling = Settling::new(Instant::now(), 300 * MILLISECOND, false);
        assert!(settling.look(Instant::now(), Some(&[]), false).time);
    }

    #[test]
    fn connections_get_the_least_time() {
        let mut port = Port::new();
        let time = Missing {
            time: true,
            ..Missing::default()
        };
        assert_eq!(port.look(0, &[idle(1)]), time);
        assert_eq!(port.look(299, &[idle(1)]), time);
        assert!(port.look(300, &[idle(1)]).is_empty());
        // They may all end before.
        let mut port = Port::new();
        assert_eq!(port.look(0, &[idle(1)]), time);
        assert!(port.look(50, &[]).is_empty());
    }

    #[test]
    fn without_the_kernel_there_is_time_and_the_queue() {
        let Port(now, mut settling) = Port::new();
        let mut look =
            |milliseconds, queued| settling.look(now + milliseconds * MILLISECOND, None, queued);
        assert!(look(0, false).time);
        assert!(look(299, false).time);
        assert!(look(300, false).is_empty());
        assert!(look(300, true).queued);
        assert!(look(1299, true).queued);
        assert!(look(1300, true).is_empty());
    }

    #[test]
    fn handshakes_are_waited_for() {
        let mut port = Port::new();
        assert_eq!(port.look(0, &[half_open(1)]).half_open, 1);
        assert_eq!(port.look(1299, &[half_open(1)]).half_open, 1);
        assert!(port.look(1300, &[half_open(1)]).is_empty());
    }

    #[test]
    fn a_handshake_that_completes_gets_time_for_its_request() {
        let mut port = Port::new();
        port.look(0, &[half_open(1)]);
        assert_eq!(port.look(1000, &[half_open(1)]).half_open, 1);
        let resent = |quiet| TcpSocket {
            retransmitted: 1,
            ..unused(1, quiet)
        };
        assert_eq!(port.look(1060, &[resent(0)]).unused, 1);
        assert_eq!(port.look(5059, &[resent(3999)]).unused, 1);
        assert!(port.look(5060, &[resent(4000)]).is_empty());
    }

    /// A client may have lost its SYN, which the server cannot see.
    #[test]
    fn while_handshakes_lose_segments_first_requests_get_more_time() {
        let mut port = Port::new();
        let resent = TcpSocket {
            retransmitted: 1,
            ..half_open(2)
        };
        assert_eq!(port.look(0, &[unused(1, 0), resent]).unused, 1);
        assert_eq!(port.look(3999, &[unused(1, 3999)]).unused, 1);
        assert!(port.look(4000, &[unused(1, 4000)]).is_empty());
        // What was lost on a connection that has been used, or long ago, shows nothing.
        let used = TcpSocket {
            retransmitted: 1,
            ..idle(2)
        };
        let mut port = Port::new();
        let long_ago = TcpSocket {
            retransmitted: 1,
            ..unused(3, 4000)
        };
        assert_eq!(port.look(0, &[unused(1, 0), used, long_ago]).unused, 1);
        assert!(port.look(840, &[unused(1, 840)]).is_empty());
    }

    #[test]
    fn a_first_request_may_be_lost_twice() {
        let mut port = Port::new();
        assert_eq!(port.look(0, &[unused(1, 0)]).unused, 1);
        assert_eq!(port.look(839, &[unused(1, 839)]).unused, 1);
        assert!(port.look(840, &[unused(1, 840)]).is_empty());
        // It is never waited for longer than a second.
        let slow = |quiet| TcpSocket {
            rto: Duration::from_secs(3),
            ..unused(2, quiet)
        };
        let mut port = Port::new();
        assert_eq!(port.look(999, &[slow(999)]).unused, 1);
        assert!(port.look(1000, &[slow(1000)]).is_empty());
    }

    #[test]
    fn what_has_arrived_is_read() {
        let mut port = Port::new();
        port.look(0, &[idle(1)]);
        assert_eq!(port.look(300, &[unread(1, 200, 100)]).unread, 1);
        // More arrives.
        assert_eq!(port.look(320, &[unread(1, 300, 200)]).unread, 1);
        // A part is read: the server is at it.
        assert!(port.look(340, &[unread(1, 300, 150)]).is_empty());
        // Or nothing is read, for a second.
        let mut port = Port::new();
        assert_eq!(port.look(300, &[unread(1, 200, 100)]).unread, 1);
        assert_eq!(port.look(1299, &[unread(1, 200, 100)]).unread, 1);
        assert!(port.look(1300, &[unread(1, 200, 100)]).is_empty());
    }

    #[test]
    fn connections_that_come_later_are_strangers() {
        let mut port = Port::new();
        port.look(0, &[idle(1)]);
        assert!(port.look(300, &[idle(1), unused(2, 300)]).unused == 1);
        assert!(
            port.look(350, &[unused(3, 0), half_open(4), unread(5, 10, 10)])
                .is_empty()
        );
    }

    #[test]
    fn it_ends_at_last() {
        let mut port = Port::new();
        let for_ever = TcpSocket {
            retransmitted: 1,
            ..unused(1, 0)
        };
        assert_eq!(port.look(5299, std::slice::from_ref(&for_ever)).unused, 1);
        assert!(port.look(5300, &[for_ever]).is_empty());
        // Or not, if that is wanted.
        let now = Instant::now();
        let mut settling = Settling::new(now, Duration::MAX, true);
        let later = now + Duration::from_secs(86_400);
        assert!(settling.look(later, Some(&[idle(1)]), false).time);
    }
}
