//! The registry of tracked requests: names and cancels them.
//!
//! A drain has one registry, created when a layer first asks for it. Like a gate it is `&'static`, so that
//! services hold it without a reference count, and it is reused once its drain has been drained. It is
//! sharded like a gate, so that each thread writes to its own shard.
//!
//! # Invariants
//!
//! 1. A slot that is marked as used has a request, for all who lock its shard and then the slot.
//! 2. A request is cancelled once: by the reader that finds it, or as it is inserted, if a final cancel came first.
//! 3. A registry on the free list has no request, and no service writes to it.
//!
//! # Locks
//!
//! In this order; none is taken under one that comes later:
//!
//! 1. The free list. Nothing else is locked under it.
//! 2. One shard.
//! 3. One of its slots.
//!
//! Under none of them does code of others run: wakers are taken out, and woken and dropped outside.

use std::mem;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::request::{InFlightRequest, RequestStage};
use super::slots::{CancelReply, Entry, Slot, SlotState, Slots};
use super::{Drain, Phase};
use crate::gate::{Sharded, lock, wake_each};

/// Registries that no drain uses. All their slots are free.
static FREE: Mutex<Vec<&'static Registry>> = Mutex::new(Vec::new());

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
    /// inner service: those that wait until it is ready are cancelled when their turn comes, after one poll of the handler.
    /// They are not in the number that is returned.
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
    /// Adds a request. If it comes after a final cancel, it is cancelled.
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

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: CancelReply = CancelReply {
        grpc: None,
        has_trailers: false,
        retry_after: 1,
    };

    fn registry() -> &'static Registry {
        Box::leak(Box::default())
    }

    fn used(registry: &Registry) -> Vec<*const Slot> {
        let shards = registry.shards.iter();
        let used =
            shards.flat_map(|slots| slots.used().map(std::ptr::from_ref).collect::<Vec<_>>());
        used.collect()
    }

    #[test]
    fn readers_visit_what_is_in_flight_and_not_what_once_was() {
        let registry = registry();
        let mut burst: Vec<_> = (0..10_000)
            .map(|_| registry.insert("GET", "/", REPLY))
            .collect();
        let slots = used(registry);
        assert_eq!(slots.len(), 10_000);
        for kept in [9_999, 64, 0] {
            burst.truncate(kept);
            assert_eq!(used(registry).len(), kept);
        }
        // The slots are used again.
        let again: Vec<_> = (0..10_000)
            .map(|_| registry.insert("GET", "/", REPLY))
            .collect();
        assert_eq!(used(registry), slots);
        drop(again);
        assert_eq!(registry.requests().len(), 0);
    }

    #[test]
    fn the_slots_in_use_are_found_in_any_pattern() {
        let registry = registry();
        let mut requests: Vec<_> = (0..200)
            .map(|_| Some(registry.insert("GET", "/", REPLY)))
            .collect();
        for step in [3, 2, 7] {
            for request in requests.iter_mut().step_by(step) {
                *request = None;
            }
            assert_eq!(used(registry).len(), requests.iter().flatten().count());
            assert_eq!(registry.requests().len(), requests.iter().flatten().count());
        }
        for request in &mut requests {
            request.get_or_insert_with(|| registry.insert("GET", "/", REPLY));
        }
        assert_eq!((used(registry).len(), registry.cancel(false)), (200, 200));
    }
}
