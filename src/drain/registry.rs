//! The registry of tracked requests: names and cancels them.
//!
//! A drain has one registry, created when a layer first asks for it. Like a gate it is `&'static`, so that
//! services hold it without a reference count, and it is reused once its drain has been drained. It is
//! sharded like a gate, so that each thread writes to its own shard. Readers lock one shard at a time, and
//! wake nothing while they hold it.
//!
//! Locks are taken in this order: a shard, then one of its slots. No code of others runs under them.

use std::mem;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::request::{InFlightRequest, MethodText, PathText, RequestStage};
use super::{Drain, Phase};
use crate::gate::{Sharded, lock, wake_each};

/// Registries that no drain uses. All their slots are free.
static FREE: Mutex<Vec<&'static Registry>> = Mutex::new(Vec::new());

/// How the middleware answers a request that is cancelled. The registry only stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CancelReply {
    /// The content type of a gRPC call.
    pub(crate) grpc: Option<&'static str>,
    /// Whether a body can end with trailers.
    pub(crate) has_trailers: bool,
    /// In seconds.
    pub(crate) retry_after: u32,
}

#[derive(Default)]
pub(crate) struct Registry {
    shards: Sharded<Slots>,
}

/// A drain's claim to a registry.
#[derive(Default)]
pub(super) struct RegistryOwner {
    registry: OnceLock<&'static Registry>,
}

/// A request in the registry. Dropping it removes the request. One word, because the futures of all requests have
/// room for it.
pub(crate) struct TrackedRequest {
    slot: &'static Slot,
}

/// The slots of one shard. Memory for the highest number so far is kept.
#[derive(Default)]
struct Slots {
    chunks: Vec<Chunk>,
    /// No chunk before this one has a free slot.
    first_free: usize,
    /// Whether requests are cancelled as they come.
    cancels: bool,
}

/// Some slots, and which of them are used, as bits. So a reader skips what once was in use.
struct Chunk {
    slots: &'static [Slot],
    used: u64,
}

/// Aligned, so that no two threads write to the same cache lines, wherever the allocator puts the slots.
#[repr(align(128))]
struct Slot {
    shard: &'static Mutex<Slots>,
    /// Its place in the shard.
    chunk: u32,
    bit: u32,
    state: Mutex<SlotState>,
}

struct SlotState {
    request: Option<Entry>,
    // Outside of the entry, so that setting them copies only the bytes of the texts.
    method: MethodText,
    path: PathText,
}

struct Entry {
    since: Instant,
    stage: RequestStage,
    cancelled: bool,
    reply: CancelReply,
    /// Wakes the task that runs the handler or sends the body, while it waits.
    waker: Option<Waker>,
}

impl Drain {
    /// Returns the requests in flight, oldest first.
    ///
    /// Lists only requests of layers that [track requests](crate::DrainLayer::track_requests), from the call of the
    /// inner service on: one that waits until that is ready has no name yet. For 100,000 requests this takes some
    /// milliseconds, and may delay requests that start or end meanwhile.
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
    /// Once draining has started, it also cancels the requests that were admitted before and have not reached the
    /// inner service: those that wait until it is ready are cancelled when their turn comes.
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
        let is_final = self.phase() >= Phase::Draining;
        registry.map_or(0, |registry| registry.cancel(is_final))
    }

    pub(crate) fn registry(&self) -> &'static Registry {
        self.shared.registry.get_or_init()
    }

    pub(crate) fn oldest(&self, limit: usize) -> Vec<InFlightRequest> {
        let registry = self.shared.registry.get();
        registry.map_or_else(Vec::new, |registry| registry.oldest(limit))
    }

    /// Whether a layer has asked for tracking.
    pub(super) fn tracks_requests(&self) -> bool {
        self.shared.registry.get().is_some()
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
        if let Some(registry) = self.registry.take() {
            registry
                .shards
                .iter()
                .for_each(|mut slots| slots.cancels = false);
            lock(&FREE).push(registry);
        }
    }
}

// === impl Registry ===

impl Registry {
    pub(crate) fn insert(
        &'static self,
        method: &str,
        path: &str,
        reply: CancelReply,
    ) -> TrackedRequest {
        let since = Instant::now();
        let shard = self.shards.current();
        let mut slots = lock(shard);
        let slot = slots.take(shard);
        let cancelled = slots.cancels;
        // Locked before the shard is released, so that no reader finds a used slot without a request.
        let mut state = lock(&slot.state);
        drop(slots);
        state.request = Some(Entry {
            since,
            stage: RequestStage::Handler,
            cancelled,
            reply,
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
        self.for_each(|state| requests.extend(state.snapshot(now)));
        requests.sort_by_key(|request| std::cmp::Reverse(request.age()));
        requests
    }

    /// Returns the `limit` oldest requests, oldest first.
    pub(super) fn oldest(&self, limit: usize) -> Vec<InFlightRequest> {
        let now = Instant::now();
        let mut requests: Vec<InFlightRequest> = Vec::with_capacity(limit + 1);
        self.for_each(|state| {
            let Some(entry) = &state.request else { return };
            let age = now.saturating_duration_since(entry.since);
            let place = requests.partition_point(|request| request.age() >= age);
            if place < limit {
                requests.truncate(limit - 1);
                requests.splice(place..place, state.snapshot(now));
            }
        });
        requests
    }

    fn for_each(&self, mut f: impl FnMut(&mut SlotState)) {
        for slots in self.shards.iter() {
            slots.used().for_each(|slot| f(&mut lock(&slot.state)));
        }
    }

    /// Cancels each request and wakes its task. If it is final, requests that are inserted later are cancelled too.
    /// Returns how many had not been cancelled before.
    pub(super) fn cancel(&self, is_final: bool) -> usize {
        let mut cancelled = 0;
        let mut wakers = Vec::new();
        for mut slots in self.shards.iter() {
            // Under the lock of the shard: a request is inserted before this, and found below, or sees it.
            slots.cancels |= is_final;
            for slot in slots.used() {
                if let Some(entry) = &mut lock(&slot.state).request {
                    cancelled += usize::from(!mem::replace(&mut entry.cancelled, true));
                    wakers.extend(entry.waker.take());
                }
            }
        }
        wake_each(wakers, Waker::wake);
        cancelled
    }
}

// === impl TrackedRequest ===

impl TrackedRequest {
    /// Returns how to answer if the request has been cancelled. If not, registers the task to be woken when it is.
    #[inline]
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Option<CancelReply> {
        self.slot.poll_cancelled(cx)
    }

    /// Records that the handler has responded. Returns how to answer if the request has been cancelled.
    #[inline]
    pub(crate) fn responded(&self) -> Option<CancelReply> {
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
    fn poll_cancelled(&'static self, cx: &mut Context<'_>) -> Option<CancelReply> {
        // A waker may run any code when it is cloned or dropped, so neither happens under the lock.
        let mut waker = Some(cx.waker().clone());
        let mut state = lock(&self.state);
        // Always `Some`: the entry exists until the drop.
        let entry = state.request.as_mut()?;
        if entry.cancelled {
            return Some(entry.reply);
        }
        mem::swap(&mut entry.waker, &mut waker);
        drop(state);
        None
    }

    #[inline(never)]
    fn responded(&'static self) -> Option<CancelReply> {
        let mut state = lock(&self.state);
        let entry = state.request.as_mut()?;
        entry.stage = RequestStage::Body;
        entry.cancelled.then_some(entry.reply)
    }

    #[inline(never)]
    fn free(&'static self) {
        let mut slots = lock(self.shard);
        let entry = lock(&self.state).request.take();
        slots.give_back(self);
        drop(slots);
        // A waker may run any code when it is dropped.
        drop(entry);
    }
}

// === impl Slots ===

impl Slots {
    /// Returns a free slot, which is used from now on.
    fn take(&mut self, shard: &'static Mutex<Slots>) -> &'static Slot {
        loop {
            match self.chunks.get_mut(self.first_free) {
                Some(chunk) if chunk.used != u64::MAX => {
                    let bit = chunk.used.trailing_ones();
                    chunk.used |= 1 << bit;
                    return &chunk.slots[bit as usize];
                }
                Some(_) => self.first_free += 1,
                None => self.grow(shard),
            }
        }
    }

    fn give_back(&mut self, slot: &Slot) {
        let chunk = slot.chunk as usize;
        self.chunks[chunk].used &= !(1 << slot.bit);
        self.first_free = self.first_free.min(chunk);
    }

    fn used(&self) -> impl Iterator<Item = &'static Slot> {
        self.chunks.iter().flat_map(|chunk| {
            let (slots, mut used) = (chunk.slots, chunk.used);
            std::iter::from_fn(move || {
                let slot = slots.get(used.trailing_zeros() as usize);
                used &= used.wrapping_sub(1);
                slot
            })
        })
    }

    #[cold]
    fn grow(&mut self, shard: &'static Mutex<Slots>) {
        let slot = |bit| Slot {
            shard,
            // More chunks than that do not fit into memory.
            chunk: self.chunks.len() as u32,
            bit,
            state: Mutex::new(SlotState {
                request: None,
                method: MethodText::EMPTY,
                path: PathText::EMPTY,
            }),
        };
        let slots = Box::leak((0..u64::BITS).map(slot).collect());
        self.chunks.push(Chunk { slots, used: 0 });
    }
}

// === impl SlotState ===

impl SlotState {
    fn snapshot(&self, now: Instant) -> Option<InFlightRequest> {
        let entry = self.request.as_ref()?;
        let age = now.saturating_duration_since(entry.since);
        Some(InFlightRequest::new(
            self.method,
            self.path,
            age,
            entry.stage,
        ))
    }
}
