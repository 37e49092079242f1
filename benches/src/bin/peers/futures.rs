//! A poll of an async stage beside a call of the sync one.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::body::{in_query, staged};
use stagelight_benches::harness::{interleave, per_call};
use stagelight_benches::report::{Bar, Report};

const ROUNDS: usize = 41;
const CALLS: u32 = 500_000;

/// Never done: each poll does the body's work once.
#[stagelight::stage]
async fn async_stage() {
    work().await;
}

async fn work() {
    poll_fn(|_| {
        black_box(1);
        Poll::<()>::Pending
    })
    .await;
}

pub fn measure(report: &mut Report) {
    eprintln!("futures");
    let [call, poll, plain] = interleave(
        ROUNDS,
        [
            Box::new(|| in_query(|| per_call(CALLS, staged))),
            Box::new(|| in_query(|| polls(async_stage()))),
            Box::new(|| in_query(|| polls(work()))),
        ],
    );
    report.add("poll-ns", "a poll of an async stage", poll.clone(), "ns", Bar::None);
    report.add("poll-plain-ns", "a poll of the same future without the stage", plain, "ns", Bar::None);
    report.add("poll", "a poll ÷ a call of the sync stage", poll.over(&call), "×", Bar::AtMost(1.5));
    let grown = size_of_val(&async_stage()) - size_of_val(&work());
    report.add("future-bytes", "what a stage adds to its future", grown as f64, "B", Bar::AtMost(64.0));
}

fn polls(future: impl Future<Output = ()>) -> f64 {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    per_call(CALLS, |value| {
        let _ = black_box(future.as_mut().poll(&mut context));
        value
    })
}
