//! The registry of tracked requests: names and cancels them.
//!
//! A drain has one registry, created when a layer first asks for it. Like a gate it is `&'static`, so that
//! services hold it without a reference count, and it is reused once its drain has been drained. It is
//! sharded like a gate, so that each thread writes to its own shard. Readers lock one shard at a time, and
//! wake nothing while they hold it.

use std::mem;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::Drain;
use super::request::{InFlightRequest, MethodText, PathText, RequestStage};
use crate::gate::{Sharded, lock};

/// Registries that no drain uses. All their slots are free.
static FREE: Mutex<Vec<&'static Registry>> = Mutex::new(Vec::new());

/// What the middleware needs to answer a cancelled request.
pub(crate) type Tag = u64;

#[derive(Default)]
pub(crate) struct Registry {
    shards: Sharded<Slots>,
}

/// A drain's claim to a registry.
#[derive(Default)]
pub(super) struct RegistryOwner {
    registry: OnceLock<&'static Registry>,
}

/// A request in the registry. Dropping it removes the request. One word, because untracked futures and bodies
/// reserve space for it too.
pub(crate) struct TrackedRequest {
    slot: &'static Slot,
}

/// Used and free slots. Memory for the highest number so far is kept.
#[derive(Default)]
struct Slots {
    chunks: Vec<&'static [Slot]>,
    /// The head of the list of free slots.
    free: Option<&'static Slot>,
}

const CHUNK: usize = 64;

/// Aligned, so that no two threads write to the same cache lines, wherever the allocator puts the slots.
#[repr(align(128))]
struct Slot {
    /// Where the slot is returned.
    shard: &'static Mutex<Slots>,
    /// Locked after the shard, or alone.
    state: Mutex<SlotState>,
}

struct SlotState {
    request: Option<Entry>,
    /// The next free slot, if this one is free.
    next_free: Option<&'static Slot>,
    // Outside of the entry, so that setting them copies only the bytes of the texts.
    method: MethodText,
    path: PathText,
}

struct Entry {
    since: Instant,
    stage: RequestStage,
    cancelled: bool,
    tag: Tag,
    /// Wakes the task that runs the handler or sends the body, while it waits.
    waker: Option<Waker>,
}

impl Drain {
    /// Returns the requests in flight, oldest first.
    ///
    /// Lists only requests of layers that [track requests](crate::DrainLayer::track_requests). For 100,000
    /// requests this takes some milliseconds, and may delay requests that start or end meanwhile.
    pub fn requests(&self) -> Vec<InFlightRequest> {
        let registry = self.shared.registry.get();
        registry.map_or_else(Vec::new, Registry::requests)
    }

    /// Cancels the requests in flight, in any phase, and returns how many this call cancelled.
    ///
    /// Only requests of layers that [track them](crate::DrainLayer::track_requests) are cancelled:
    ///
    /// - A handler that is still running is dropped, and may have done a part of its work. Its client gets the
    ///   default refusal. A handler that responds at the same time is not dropped, and its response is sent.
    /// - A response body that is still being sent ends with an error, so that it does not look complete:
    ///   without a last chunk on HTTP/1, by a reset on HTTP/2. A gRPC response ends with trailers that carry
    ///   status 14. A body that completes at the same time is not cut off.
    ///
    /// The request's task is woken, and this happens when it runs next. So wait for
    /// [`drained`](Self::drained) afterwards. Cancelling does not reach a handler that blocks its thread,
    /// work that was spawned, an upgraded connection, or a body that the server does not poll, because it has
    /// buffered all of it or because its client reads too slowly. It does not start draining: new requests
    /// are admitted or refused as before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(drain: tower_drain::Drain) {
    /// // With `drain.layer().track_requests()`:
    /// for request in drain.requests() {
    ///     eprintln!("{request}"); // GET /export (body, 64.1s)
    /// }
    /// drain.cancel();
    /// # }
    /// ```
    pub fn cancel(&self) -> usize {
        let registry = self.shared.registry.get();
        registry.map_or(0, Registry::cancel)
    }
}

// === impl RegistryOwner ===

impl RegistryOwner {
    pub(super) fn get_or_init(&self) -> &'static Registry {
        self.registry.get_or_init(|| {
            let free = lock(&FREE).pop();
            free.unwrap_or_else(|| Box::leak(Box::default()))
        })
    }

    pub(super) fn get(&self) -> Option<&'static Registry> {
        self.registry.get().copied()
    }

    /// Makes the registry available to other drains. No service may write to it any more.
    pub(super) fn recycle(&mut self) {
        lock(&FREE).extend(self.registry.take());
    }
}

// === impl Registry ===

impl Registry {
    pub(crate) fn insert(&'static self, method: &str, path: &str, tag: Tag) -> TrackedRequest {
        let since = Instant::now();
        let shard = self.shards.current();
        let mut slots = lock(shard);
        let slot = match slots.free {
            Some(free) => free,
            None => slots.grow(shard),
        };
        let mut state = lock(&slot.state);
        slots.free = state.next_free.take();
        drop(slots);
        state.request = Some(Entry {
            since,
            stage: RequestStage::Handler,
            cancelled: false,
            tag,
            waker: None,
        });
        state.method.set(method);
        state.path.set(path);
        TrackedRequest { slot }
    }

    /// Returns all requests, oldest first.
    pub(super) fn requests(&self) -> Vec<InFlightRequest> {
        let now = Instant::now();
        let mut requests = Vec::new();
        self.for_each(|state, entry| requests.push(entry.snapshot(state, now)));
        requests.sort_by_key(|request| std::cmp::Reverse(request.age()));
        requests
    }

    /// Returns the `limit` oldest requests, oldest first.
    pub(super) fn oldest(&self, limit: usize) -> Vec<InFlightRequest> {
        let now = Instant::now();
        let mut requests: Vec<InFlightRequest> = Vec::with_capacity(limit + 1);
        self.for_each(|state, entry| {
            let age = now.saturating_duration_since(entry.since);
            let place = requests.partition_point(|request| request.age() >= age);
            if place < limit {
                requests.truncate(limit - 1);
                requests.insert(place, entry.snapshot(state, now));
            }
        });
        requests
    }

    fn for_each(&self, mut f: impl FnMut(&SlotState, &Entry)) {
        for slots in self.shards.iter() {
            for slot in slots.chunks.iter().copied().flatten() {
                let state = lock(&slot.state);
                if let Some(entry) = &state.request {
                    f(&state, entry);
                }
            }
        }
    }

    /// Cancels each request and wakes its task. Returns how many had not been cancelled before.
    pub(super) fn cancel(&self) -> usize {
        let mut cancelled = 0;
        let mut wakers = Vec::new();
        for slots in self.shards.iter() {
            for slot in slots.chunks.iter().copied().flatten() {
                if let Some(entry) = &mut lock(&slot.state).request {
                    cancelled += usize::from(!mem::replace(&mut entry.cancelled, true));
                    wakers.extend(entry.waker.take());
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        cancelled
    }
}

// === impl TrackedRequest ===

impl TrackedRequest {
    /// Returns the tag if the request has been cancelled. If not, registers the task to be woken when it is.
    #[inline]
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Option<Tag> {
        self.slot.poll_cancelled(cx)
    }

    /// Records that the handler has responded. Returns the tag if the request has been cancelled.
    #[inline]
    pub(crate) fn responded(&self) -> Option<Tag> {
        self.slot.responded()
    }
}

impl Drop for TrackedRequest {
    #[inline]
    fn drop(&mut self) {
        self.slot.free();
    }
}

// === impl Slot ===

/// The operations of requests. Out of line, because most requests are not tracked. On the slot, not on a
/// field of the future: a future whose fields are not borrowed stays in registers.
impl Slot {
    #[inline(never)]
    fn poll_cancelled(&'static self, cx: &mut Context<'_>) -> Option<Tag> {
        // A waker may run any code when it is cloned or dropped, so neither happens under the lock.
        let mut waker = Some(cx.waker().clone());
        let mut state = lock(&self.state);
        // Always `Some`: the entry exists until the drop.
        let entry = state.request.as_mut()?;
        if entry.cancelled {
            return Some(entry.tag);
        }
        mem::swap(&mut entry.waker, &mut waker);
        drop(state);
        None
    }

    #[inline(never)]
    fn responded(&'static self) -> Option<Tag> {
        let mut state = lock(&self.state);
        let entry = state.request.as_mut()?;
        entry.stage = RequestStage::Body;
        entry.cancelled.then_some(entry.tag)
    }

    #[inline(never)]
    fn free(&'static self) {
        let mut slots = lock(self.shard);
        let mut state = lock(&self.state);
        state.next_free = slots.free.replace(self);
        let entry = state.request.take();
        drop(state);
        drop(slots);
        // A waker may run any code when it is dropped.
        drop(entry);
    }
}

// === impl Slots ===

impl Slots {
    /// Adds a chunk of free slots and returns the first.
    #[cold]
    fn grow(&mut self, shard: &'static Mutex<Slots>) -> &'static Slot {
        let slot = |_| Slot {
            shard,
            state: Mutex::new(SlotState {
                request: None,
                next_free: None,
                method: MethodText::EMPTY,
                path: PathText::EMPTY,
            }),
        };
        let chunk: &'static [Slot] = Box::leak((0..CHUNK).map(slot).collect());
        for (slot, next) in chunk.iter().zip(&chunk[1..]) {
            lock(&slot.state).next_free = Some(next);
        }
        self.chunks.push(chunk);
        &chunk[0]
    }
}

// === impl Entry ===

impl Entry {
    fn snapshot(&self, state: &SlotState, now: Instant) -> InFlightRequest {
        let age = now.saturating_duration_since(self.since);
        InFlightRequest::new(state.method, state.path, age, self.stage)
    }
}
