//! Events, with the feature `tracing`. Without it they are nothing, and their fields are not evaluated.

/// Writes an event of the crate: a level, and what `tracing`'s macro for it takes.
macro_rules! event {
    ($level:ident, $($event:tt)+) => {
        {
            #[cfg(feature = "tracing")]
            tracing::$level!(target: "tower_drain", $($event)+);
        }
    };
}

/// For fields of events that are left out if there are none.
#[cfg(feature = "tracing")]
pub(crate) fn nonzero(number: usize) -> Option<usize> {
    Some(number).filter(|number| *number > 0)
}
