//! The registry of tracked requests: their names, and how each of them is cancelled.
//!
//! A drain has one registry, made when a layer first asks for it. Like a gate it is `&'static`, so that
//! services hold it without a reference count, and it is reused once its drain has been drained. It is
//! sharded like a gate, so that threads write to shards of their own. Readers lock one shard at a time,
//! and wake nothing while they hold it.

use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::request::{InFlightRequest, MethodText, PathText, RequestStage};
use crate::gate::{Sharded, lock};

/// Registries that no drain uses. All their slots are free.
static FREE: Mutex<Vec<&'static Registry>> = Mutex::new(Vec::new());

/// What the middleware wants to know about a request that has been cancelled.
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

/// A request in the registry. Dropping it removes the request.
pub(crate) struct TrackedRequest {
    registry: &'static Registry,
    shard: u32,
    index: u32,
}

/// Slots that are used and freed. Memory for the highest number so far is kept.
#[derive(Default)]
struct Slots {
    /// In chunks, so that growing moves nothing.
    chunks: Vec<Box<[Slot]>>,
    /// The head of the list of free slots.
    free: Option<u32>,
}

const CHUNK: usize = 64;

/// Aligned, so that no two threads write to the same cache lines, wherever the allocator puts them.
#[repr(align(128))]
struct Slot {
    request: Option<Entry>,
    /// The next free slot, if this one is free.
    next_free: Option<u32>,
    // Outside of the entry, so that only as much is copied as the texts are long.
    method: MethodText,
    path: PathText,
}

struct Entry {
    since: Instant,
    stage: RequestStage,
    cancelled: bool,
    tag: Tag,
    /// Of the task that runs the handler or sends the body, while it waits.
    waker: Option<Waker>,
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

    /// Makes the registry available to other drains. Only for one that no service writes to any more.
    pub(super) fn recycle(&mut self) {
        lock(&FREE).extend(self.registry.take());
    }
}

// === impl Registry ===

impl Registry {
    pub(crate) fn insert(&'static self, method: &str, path: &str, tag: Tag) -> TrackedRequest {
        let entry = Entry {
            since: Instant::now(),
            stage: RequestStage::Handler,
            cancelled: false,
            tag,
            waker: None,
        };
        let (shard, mut slots) = self.shards.current();
        let index = slots.take();
        let slot = slots.get(index);
        slot.request = Some(entry);
        slot.method.set(method);
        slot.path.set(path);
        TrackedRequest {
            registry: self,
            // At most 64.
            shard: shard as u32,
            index,
        }
    }

    /// Returns all requests, oldest first.
    pub(super) fn requests(&self) -> Vec<InFlightRequest> {
        let now = Instant::now();
        let mut requests = Vec::new();
        for slots in self.shards.iter() {
            requests.extend(slots.used().map(|(slot, entry)| slot.snapshot(entry, now)));
        }
        requests.sort_by_key(|request| std::cmp::Reverse(request.age()));
        requests
    }

    /// Returns the `limit` oldest requests, oldest first.
    pub(super) fn oldest(&self, limit: usize) -> Vec<InFlightRequest> {
        let now = Instant::now();
        let mut requests: Vec<InFlightRequest> = Vec::with_capacity(limit + 1);
        for slots in self.shards.iter() {
            for (slot, entry) in slots.used() {
                let age = now.saturating_duration_since(entry.since);
                let place = requests.partition_point(|request| request.age() >= age);
                if place < limit {
                    requests.truncate(limit - 1);
                    requests.insert(place, slot.snapshot(entry, now));
                }
            }
        }
        requests
    }

    /// Cancels each request and wakes its task. Returns how many had not been cancelled before.
    pub(super) fn cancel(&self) -> usize {
        let mut cancelled = 0;
        let mut wakers = Vec::new();
        for mut slots in self.shards.iter() {
            for slot in slots.chunks.iter_mut().flatten() {
                if let Some(entry) = &mut slot.request {
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
    /// Returns the tag if the request has been cancelled. If not, registers the task to be woken when
    /// it is.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<Tag> {
        // A waker may run any code when it is cloned or dropped, so neither happens under the lock.
        let mut waker = Some(cx.waker().clone());
        self.with_entry(|entry| {
            if entry.cancelled {
                return Poll::Ready(entry.tag);
            }
            mem::swap(&mut entry.waker, &mut waker);
            Poll::Pending
        })
        .unwrap_or(Poll::Pending)
    }

    /// Returns the tag if the request has been cancelled.
    pub(crate) fn cancelled(&self) -> Option<Tag> {
        self.with_entry(|entry| entry.cancelled.then_some(entry.tag))
            .flatten()
    }

    /// Notes that the handler has responded. Returns the tag if the request had been cancelled.
    pub(crate) fn mark_responded(&self) -> Option<Tag> {
        self.with_entry(|entry| {
            entry.stage = RequestStage::Body;
            entry.cancelled.then_some(entry.tag)
        })
        .flatten()
    }

    /// Always `Some`: the entry exists until the drop.
    fn with_entry<T>(&self, f: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.slots().get(self.index).request.as_mut().map(f)
    }

    fn slots(&self) -> MutexGuard<'static, Slots> {
        self.registry.shards.get(self.shard as usize)
    }

    /// Out of line, because most responses are not tracked.
    #[inline(never)]
    fn remove(&mut self) {
        let mut slots = self.slots();
        let entry = slots.release(self.index);
        // A waker may run any code when it is dropped.
        drop(slots);
        drop(entry);
    }
}

impl Drop for TrackedRequest {
    #[inline]
    fn drop(&mut self) {
        self.remove();
    }
}

// === impl Slots ===

impl Slots {
    fn take(&mut self) -> u32 {
        let index = self.free.unwrap_or_else(|| self.grow());
        self.free = self.get(index).next_free;
        index
    }

    fn release(&mut self, index: u32) -> Option<Entry> {
        let free = self.free.replace(index);
        let slot = self.get(index);
        slot.next_free = free;
        slot.request.take()
    }

    /// Adds a chunk of free slots and returns the first.
    #[cold]
    fn grow(&mut self) -> u32 {
        let first = self.chunks.len() * CHUNK;
        let slot = |index: usize| Slot {
            request: None,
            // 2^32 slots would be a terabyte.
            next_free: (index + 1 < CHUNK).then_some((first + index + 1) as u32),
            method: MethodText::EMPTY,
            path: PathText::EMPTY,
        };
        self.chunks.push((0..CHUNK).map(slot).collect());
        first as u32
    }

    fn get(&mut self, index: u32) -> &mut Slot {
        let index = index as usize;
        &mut self.chunks[index / CHUNK][index % CHUNK]
    }

    fn used(&self) -> impl Iterator<Item = (&Slot, &Entry)> {
        let slots = self.chunks.iter().flatten();
        slots.filter_map(|slot| Some((slot, slot.request.as_ref()?)))
    }
}

// === impl Slot ===

impl Slot {
    fn snapshot(&self, entry: &Entry, now: Instant) -> InFlightRequest {
        let age = now.saturating_duration_since(entry.since);
        InFlightRequest::new(self.method, self.path, age, entry.stage)
    }
}
