//! Which requests are in flight, by name: kept for the layers that track them, and how each of them
//! is told to end.
//!
//! One book for the process and not one for each drain: a service reaches it without holding anything
//! that its clones would have to count. Each entry says whose it is. The book is in parts as a gate is
//! in shards, so that threads write into parts of their own; whoever reads it or tells all of them to
//! end has one part at a time, and wakes nobody while having it.

use std::mem;
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::request::{InFlightRequest, Path, Stage};
use crate::gate::{Entrance, Sharded};

static BOOK: LazyLock<Sharded<Part>> = LazyLock::new(Sharded::default);

/// An entry in the book: one request in flight. Dropping it strikes it out.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// The part above, and in the lower half one more than the index of the place in it, so that an
    /// `Option` of this is one word as well.
    place: NonZeroU64,
}

/// What has to be known of a request when it is gone, to answer in its place.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The request's content type, if that is gRPC's.
    pub(crate) grpc: Option<HeaderValue>,
    /// In seconds.
    pub(crate) retry_after: u64,
}

/// Places for entries, taken and given back. What was allocated for the most that there were at once
/// is kept for those to come.
#[derive(Default)]
struct Part {
    /// In pieces, so that growing moves none of them.
    places: Vec<Box<[Place]>>,
    free: Vec<u32>,
}

const PIECE: usize = 64;

struct Place {
    entry: Option<Entry>,
    /// Beside the entry and not in it, so that only what there is of a path is copied.
    path: Path,
}

struct Entry {
    drain: Entrance,
    since: Instant,
    method: Method,
    reply: Reply,
    stage: Stage,
    cancelled: bool,
    /// Of the task that runs the handler or sends the body, when it waits.
    waker: Option<Waker>,
}

// === impl Tracked ===

impl Tracked {
    pub(crate) fn new(drain: Entrance, method: &Method, path: &str, reply: Reply) -> Self {
        let entry = Entry {
            drain,
            since: Instant::now(),
            method: method.clone(),
            reply,
            stage: Stage::Handler,
            cancelled: false,
            waker: None,
        };
        let (part, mut guard) = BOOK.mine();
        let index = guard.take();
        let place = guard.place(index);
        place.entry = Some(entry);
        place.path.set(path);
        Self {
            place: NonZeroU64::MIN.saturating_add((part as u64) << 32 | u64::from(index)),
        }
    }

    /// What to tell the client, if the request has been cancelled.
    pub(crate) fn cancelled(&self) -> Option<Reply> {
        self.with(|entry| entry.cancelled.then(|| entry.reply.clone()))
            .flatten()
    }

    /// The same, for a task that is about to wait: pending, it is woken when the request is cancelled.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<Reply> {
        // Cloned before the lock is taken, and the one before it dropped afterwards: a waker may run
        // anything.
        let mut waker = Some(cx.waker().clone());
        self.with(|entry| {
            if entry.cancelled {
                return Poll::Ready(entry.reply.clone());
            }
            mem::swap(&mut entry.waker, &mut waker);
            Poll::Pending
        })
        .unwrap_or(Poll::Pending)
    }

    /// Notes that the handler has answered; an error if the request had been cancelled by then.
    pub(crate) fn answered(&self) -> Result<(), Reply> {
        self.with(|entry| {
            entry.stage = Stage::Body;
            match entry.cancelled {
                true => Err(entry.reply.clone()),
                false => Ok(()),
            }
        })
        .unwrap_or(Ok(()))
    }

    /// Out of line, for those who hold none most often.
    #[inline(never)]
    fn strike_out(&mut self) {
        let (part, index) = self.place();
        let mut part = BOOK.at(part);
        let entry = part.place(index).entry.take();
        part.free.push(index);
        // A waker's drop may run anything.
        drop(part);
        drop(entry);
    }

    fn place(&self) -> (usize, u32) {
        let place = self.place.get() - 1;
        ((place >> 32) as usize, place as u32)
    }

    /// Always `Some`: the entry is there until the drop.
    fn with<T>(&self, f: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let (part, index) = self.place();
        BOOK.at(part).place(index).entry.as_mut().map(f)
    }
}

impl Drop for Tracked {
    #[inline]
    fn drop(&mut self) {
        self.strike_out();
    }
}

// === impl Part ===

impl Part {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.grow())
    }

    /// Adds a piece, and takes the first of its places.
    #[cold]
    fn grow(&mut self) -> u32 {
        let first = self.places.len() * PIECE;
        let piece = (0..PIECE).map(|_| Place {
            entry: None,
            path: Path::EMPTY,
        });
        self.places.push(piece.collect());
        // Room for all of them, so that giving back allocates nothing. 2^32 places would be a
        // terabyte of them.
        self.free.reserve(first + PIECE);
        self.free
            .extend((first + 1..first + PIECE).rev().map(|index| index as u32));
        first as u32
    }

    fn place(&mut self, index: u32) -> &mut Place {
        let index = index as usize;
        &mut self.places[index / PIECE][index % PIECE]
    }

    fn of(&mut self, drain: Entrance) -> impl Iterator<Item = (&mut Entry, &Path)> {
        let places = self.places.iter_mut().flatten();
        places.filter_map(move |Place { entry, path }| {
            let entry = entry.as_mut().filter(|entry| entry.drain.is_same(drain))?;
            Some((entry, &*path))
        })
    }
}

impl Entry {
    fn request(&self, path: &Path, now: Instant) -> InFlightRequest {
        let age = now.saturating_duration_since(self.since);
        InFlightRequest::new(self.method.clone(), *path, age, self.stage)
    }
}

/// All that are tracked for this drain, oldest first.
pub(super) fn requests(drain: Entrance) -> Vec<InFlightRequest> {
    let now = Instant::now();
    let mut requests = Vec::new();
    for mut part in BOOK.each() {
        let these = part.of(drain);
        requests.extend(these.map(|(entry, path)| entry.request(path, now)));
    }
    requests.sort_by_key(|request| std::cmp::Reverse(request.age()));
    requests
}

/// The `most` oldest of them, oldest first.
pub(super) fn oldest(drain: Entrance, most: usize) -> Vec<InFlightRequest> {
    let now = Instant::now();
    let mut requests: Vec<InFlightRequest> = Vec::with_capacity(most + 1);
    for mut part in BOOK.each() {
        for (entry, path) in part.of(drain) {
            let age = now.saturating_duration_since(entry.since);
            let place = requests.partition_point(|request| request.age() >= age);
            if place < most {
                requests.truncate(most - 1);
                requests.insert(place, entry.request(path, now));
            }
        }
    }
    requests
}

/// Tells each of them to end, and returns how many had not been told before.
pub(super) fn cancel(drain: Entrance) -> usize {
    let mut cancelled = 0;
    let mut wakers = Vec::new();
    for mut part in BOOK.each() {
        for (entry, _) in part.of(drain) {
            cancelled += usize::from(!entry.cancelled);
            entry.cancelled = true;
            wakers.extend(entry.waker.take());
        }
    }
    wakers.into_iter().for_each(Waker::wake);
    cancelled
}
