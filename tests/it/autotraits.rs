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
    shared::<InFlightRequest>();
    shared::<Status>();
    shared::<Shutdown>();
    shared::<signal::ShutdownSignal>();
    sent::<Run<(), (), (), ()>>();
    sent::<ResponseFuture<(), ()>>();
    sent::<ReadinessFuture>();
}

#[test]
fn copies_and_clones() {
    copied::<Phase>();
    copied::<Closed>();
    copied::<Stage>();
    copied::<Signal>();
    copied::<Cancelled>();
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
    error::<Cancelled>();
    error::<ShutdownError<std::io::Error>>();
}

#[test]
fn a_body_error_becomes_what_servers_want_whatever_the_inner_one_is() {
    type Boxed = Box<dyn Error + Send + Sync>;
    fn into<E: Into<Boxed>>() {}
    into::<BodyError<std::io::Error>>();
    into::<BodyError<std::convert::Infallible>>();
    into::<BodyError<Boxed>>();
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
