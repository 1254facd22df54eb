//! The slots that hold tracked requests, and what a request does with its own.

use std::mem;
use std::sync::Mutex;
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::request::{InFlightRequest, MethodText, PathText, RequestStage};
use crate::gate::lock;

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

/// The slots of one shard. Memory for the highest number so far is kept.
#[derive(Default)]
pub(super) struct Slots {
    chunks: Vec<Chunk>,
    /// No chunk before this one has a free slot.
    first_free: usize,
    /// Whether requests are cancelled as they come.
    pub(super) cancels: bool,
}

/// Some slots, and which of them are used, as bits. So a reader skips what once was in use.
struct Chunk {
    slots: &'static [Slot],
    used: u64,
}

/// Aligned, so that no two threads write to the same cache lines, wherever the allocator puts the slots.
#[repr(align(128))]
pub(super) struct Slot {
    shard: &'static Mutex<Slots>,
    /// Its place in the shard.
    chunk: u32,
    bit: u32,
    pub(super) state: Mutex<SlotState>,
}

pub(super) struct SlotState {
    pub(super) request: Option<Entry>,
    // Outside of the entry, so that setting them copies only the bytes of the texts.
    pub(super) method: MethodText,
    pub(super) path: PathText,
}

pub(super) struct Entry {
    pub(super) since: Instant,
    pub(super) stage: RequestStage,
    pub(super) cancelled: bool,
    pub(super) reply: CancelReply,
    /// Wakes the task that runs the handler or sends the body, while it waits.
    pub(super) waker: Option<Waker>,
}

// === impl Slot ===

/// The operations of requests. Out of line, because most requests are not tracked. On the slot, not on a
/// field of the future: a future whose fields are not borrowed stays in registers.
impl Slot {
    #[inline(never)]
    pub(super) fn poll_cancelled(&'static self, cx: &mut Context<'_>) -> Option<CancelReply> {
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
    pub(super) fn responded(&'static self) -> Option<CancelReply> {
        let mut state = lock(&self.state);
        let entry = state.request.as_mut()?;
        entry.stage = RequestStage::Body;
        entry.cancelled.then_some(entry.reply)
    }

    #[inline(never)]
    pub(super) fn free(&'static self) {
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
    pub(super) fn take(&mut self, shard: &'static Mutex<Slots>) -> &'static Slot {
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

    pub(super) fn used(&self) -> impl Iterator<Item = &'static Slot> {
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
    pub(super) fn snapshot(&self, now: Instant) -> Option<InFlightRequest> {
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
