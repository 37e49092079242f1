use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::*;
use crate::record::block::{LabelFigures, StageFigures};
use crate::record::labels::Labels;
use crate::record::stage::Stage;
use crate::record::thread;
use crate::record::{guard, registry};
use std::pin::pin;
use std::task::Waker;

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn never_fails<T>(_: &T) -> bool {
    false
}

/// Figures of the stage, on this thread.
fn figures(stage: &'static Stage) -> StageFigures {
    let mut sum = StageFigures::default();
    thread::present().unwrap().read_stage(stage.running().stage, &mut sum);
    sum
}

#[test]
fn a_clock_that_goes_backwards_makes_times_of_nothing() {
    static STAGE: Stage = Stage::new("backwards", "future tests", file!(), line!());
    let mut future = Box::pin(stage_future(&STAGE, std::future::pending::<()>(), never_fails));
    assert!(poll(&mut future).is_pending());
    let busy_ns = future.call.busy_ns;
    // SAFETY: nothing is moved.
    unsafe { future.as_mut().get_unchecked_mut() }.call.start = u64::MAX;
    drop(future);
    let sum = figures(&STAGE);
    assert_eq!((sum.timed, sum.total_ns, sum.awaiting_ns, sum.cancelled), (1, busy_ns, 0, 1));
}

#[test]
fn a_query_that_is_switched_off_while_it_runs_finishes_as_it_began() {
    static QUERY: Stage = Stage::new("switched", "future tests", file!(), line!());
    let labels = Labels::new(&"switched off", &(), &(), &());
    let mut queries =
        [(); 2].map(|()| Box::pin(query_future(&QUERY, labels, std::future::pending::<()>(), never_fails)));
    let [dropped, polled] = &mut queries;
    assert!(poll(dropped).is_pending() && poll(polled).is_pending());
    crate::set_mode("future tests::switched", crate::Mode::Off);
    assert!(poll(polled).is_pending());
    drop(queries);
    crate::set_mode("future tests::switched", crate::Mode::Span);
    let sum = figures(&QUERY);
    assert_eq!((sum.timed + sum.untimed, sum.polls, sum.cancelled), (2, 3, 2));
    let mut sums = vec![LabelFigures::default(); labels.number() as usize + 1];
    thread::present().unwrap().read_labels(&mut sums);
    let sum = sums.pop().unwrap();
    let mut live = vec![0; sums.len() + 1];
    thread::present().unwrap().read_live(&mut live);
    assert_eq!((sum.calls, live.last()), (2, Some(&0)), "none is under way");
}
/// Polls until it is done, on a new thread each time.
fn run(future: impl Future<Output = ()> + Send) {
    let mut future = pin!(future);
    loop {
        let poll = || future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if std::thread::scope(|scope| scope.spawn(poll).join().unwrap()) {
            return;
        }
    }
}

/// A call of the stage in each of three polls.
async fn thrice(stage: &'static Stage) {
    for turn in 0..3 {
        drop(guard::enter(stage, &mut guard::Frame::new()));
        let mut waited = turn == 2;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Calls that were timed, and others, on all threads.
fn counts(stage: &'static Stage) -> (u64, u64) {
    let mut sum = StageFigures::default();
    registry::blocks().iter().for_each(|block| block.read_stage(stage.running().stage, &mut sum));
    (sum.timed, sum.untimed)
}

#[test]
fn what_is_within_a_stage_that_is_only_counted_is_timed_in_each_poll() {
    static QUERY: Stage = Stage::new("counted.query", "future tests", "", 0);
    static STAGE: Stage = Stage::new("counted.stage", "future tests", "", 0);
    static IN_QUERY: Stage = Stage::new("counted in query", "future tests", "", 0);
    static IN_STAGE: Stage = Stage::new("counted in stage", "future tests", "", 0);
    crate::set_mode("future tests::counted.*", crate::Mode::Count);
    run(query_future(&QUERY, Labels::new(&"counted", &(), &(), &()), thrice(&IN_QUERY), |()| false));
    run(stage_future(&STAGE, thrice(&IN_STAGE), |()| false));
    assert_eq!((counts(&QUERY), counts(&STAGE)), ((0, 1), (0, 1)));
    assert_eq!((counts(&IN_QUERY), counts(&IN_STAGE)), ((3, 0), (3, 0)));
}
