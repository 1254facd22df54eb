//! What the public types are, beyond what they do.

use std::error::Error;
use std::mem::size_of;

use tower_drain::*;

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send + 'static>() {}
fn copied<T: Copy>() {}
fn cloned<T: Clone>() {}
fn error<T: Error + Send + Sync + 'static>() {}

#[test]
fn handles_and_futures_may_go_anywhere() {
    shared::<Drain>();
    shared::<DrainLayer>();
    shared::<DrainService<()>>();
    shared::<Permit>();
    shared::<Readiness>();
    shared::<Reached>();
    shared::<DrainWait>();
    shared::<Report>();
    shared::<ResponseBody<()>>();
    sent::<ResponseFuture<(), ()>>();
    sent::<ReadinessFuture>();
}

#[test]
fn copies_and_clones() {
    copied::<Phase>();
    copied::<Closed>();
    cloned::<Drain>();
    cloned::<Permit>();
    cloned::<DrainLayer>();
    cloned::<DrainService<()>>();
    cloned::<Readiness>();
}

#[test]
fn errors_are_errors() {
    error::<Closed>();
    error::<TimedOut>();
}

#[test]
fn phases_are_in_order() {
    assert!(Phase::Serving < Phase::LameDuck);
    assert!(Phase::LameDuck < Phase::Draining);
    assert!(Phase::Draining < Phase::Drained);
}

#[test]
fn a_permit_is_two_words() {
    assert_eq!(size_of::<Permit>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Option<Permit>>(), size_of::<Permit>());
}
