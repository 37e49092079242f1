use super::*;
use crate::record::block::{Block, LabelFigures, StageFigures};
use crate::record::clock::Clock;
use crate::record::stage::Call;

/// A clock that goes back by a minute while a stage runs.
const BACK: u64 = 60_000_000_000;

fn put_forward(frame: &mut Frame) {
    // SAFETY: the tests only do it to calls that are timed.
    unsafe { frame.0.assume_init_mut() }.start += BACK;
}

#[test]
fn a_clock_that_goes_backwards_makes_a_duration_of_nothing() {
    let block = Block::map().unwrap();
    block.adopt(7, None, Clock { tsc: false, ns_per_tick: 1 << 32 });
    let (root, stage) =
        (Call { stage: 100, timed: true, spans: true }, Call { stage: 101, timed: true, spans: true });
    let (mut query_frame, mut frame) = (QueryFrame::new(), Frame::new());
    let query = EnteredQuery::new(block, root, 2, &mut query_frame);
    let inner = Entered::new(block, stage, &mut frame);
    put_forward(&mut frame);
    // What looks from outside meanwhile sees a query that has just begun.
    block.query_start.add(BACK);
    assert_eq!(block.activity().map(|(.., since)| since), Some(Some(0)));
    inner.leave(block, stage.stage, &frame, false);
    put_forward(&mut query_frame.stage);
    query.leave(block, root.stage, &query_frame, false);
    for stage in [100, 101] {
        let mut sum = StageFigures::default();
        block.read_stage(stage, &mut sum);
        assert_eq!((sum.timed, sum.total_ns, sum.self_ns, sum.max_ns), (1, 0, 0, 0));
        assert_eq!(sum.cells.iter().collect::<Vec<_>>(), [(0, 1)]);
    }
    let mut labels = vec![LabelFigures::default(); 3];
    block.read_labels(&mut labels);
    assert_eq!((labels[2].calls, labels[2].self_ns, labels[2].max_ns), (1, 0, 0));
    assert_eq!((block.depth(), block.labels()), (0, 0));
}

#[test]
fn a_parent_that_seems_shorter_than_its_child_has_no_time_of_its_own() {
    let block = Block::map().unwrap();
    block.adopt(7, None, Clock { tsc: false, ns_per_tick: 1 << 32 });
    let mut frames = [Frame::new(), Frame::new()];
    let parent = Entered::new(block, Call { stage: 100, timed: true, spans: true }, &mut frames[0]);
    let child = Entered::new(block, Call { stage: 101, timed: true, spans: true }, &mut frames[1]);
    child.leave(block, 101, &frames[1], false);
    block.child_ns.add(BACK);
    parent.leave(block, 100, &frames[0], false);
    let mut sum = StageFigures::default();
    block.read_stage(100, &mut sum);
    assert_eq!((sum.timed, sum.self_ns), (1, 0));
}
