//! Functions that return iterators and streams: the stage is what pulling items costs, not what making the iterator does.

use std::iter::FusedIterator;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use stagelight::{LabelStats, StageStats, query, snapshot, stage, stage_all};

fn of(name: &str) -> StageStats {
    snapshot().stage(name).unwrap_or_else(|| panic!("{name} was not called")).clone()
}

fn tenant(name: &str) -> LabelStats {
    snapshot().tenants.iter().find(|tenant| tenant.value == name).unwrap().clone()
}

/// The innermost stage that the thread is in.
fn innermost() -> &'static str {
    stagelight::__private::stage_by_id(stagelight::__private::current().0).1
}

const PULL: Duration = Duration::from_millis(2);

/// What an item costs.
fn produce(n: u32) -> u32 {
    std::thread::sleep(PULL);
    n
}

fn ns(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[test]
fn the_time_is_that_of_pulling_items_and_not_of_what_is_done_with_them() {
    #[stage(name = "iter.rows")]
    fn rows(n: u32) -> impl Iterator<Item = u32> {
        produce(0);
        (0..n).map(|n| {
            assert_eq!(innermost(), "iter.rows");
            produce(n)
        })
    }
    #[stage(name = "iter.consume")]
    fn consume() -> u32 {
        let mut sum = 0;
        for row in rows(10) {
            assert_eq!(innermost(), "iter.consume");
            std::thread::sleep(4 * PULL);
            sum += row;
        }
        sum
    }
    assert_eq!(consume(), 45);
    let (rows, consume) = (of("iter.rows"), of("iter.consume"));
    assert_eq!((rows.calls, rows.errors, rows.polls, rows.cancelled), (1, 0, 11, 0));
    assert!(rows.total_ns >= 11 * ns(PULL), "{rows:?}");
    // The consumer works four times as long as the iterator.
    assert!(rows.total_ns < consume.total_ns / 2, "{rows:?} within {consume:?}");
    assert_eq!((rows.total_ns, rows.awaiting_ns), (rows.self_ns, 0));
    assert!(consume.self_ns >= 40 * ns(PULL) && consume.self_ns <= consume.total_ns - rows.total_ns);
    assert!(rows.histogram.max() >= 11 * ns(PULL), "one call of the whole length");
}

#[test]
fn adapters_of_the_consumer_stay_his_own_time() {
    #[stage(name = "iter.folded")]
    fn rows() -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator {
        0..10
    }
    let start = Instant::now();
    let work = |row: u32| {
        assert_eq!(innermost(), "");
        produce(row)
    };
    assert_eq!(rows().map(work).sum::<u32>() + rows().rev().map(work).fold(0, |bits, row| bits ^ row), 46);
    rows().for_each(|row| assert_eq!(work(row), row));
    let rows = of("iter.folded");
    assert_eq!((rows.calls, rows.polls), (3, 33));
    assert!(rows.total_ns + 30 * ns(PULL) <= ns(start.elapsed()), "{rows:?}");
}

#[test]
fn an_iterator_is_all_that_its_type_says() {
    #[stage(name = "iter.all")]
    fn all()
    -> impl DoubleEndedIterator<Item = u8> + ExactSizeIterator + FusedIterator + Clone + std::fmt::Debug {
        [1, 2, 3, 4, 5].into_iter()
    }
    #[stage(name = "iter.send")]
    fn send<'a>(items: &'a [String]) -> impl Iterator<Item = &'a str> + Send + Sync + Unpin + 'a {
        items.iter().map(String::as_str)
    }
    fn is_sent<T: Send + Sync + Unpin>(_: &T) {}
    let mut iterator = all();
    is_sent(&iterator);
    assert_eq!(format!("{iterator:?}"), "IntoIter([1, 2, 3, 4, 5])");
    assert_eq!((iterator.len(), iterator.size_hint()), (5, (5, Some(5))));
    assert_eq!((iterator.nth(1), iterator.next_back(), iterator.nth_back(0)), (Some(2), Some(5), Some(4)));
    let clone = iterator.clone();
    assert_eq!((iterator.next(), iterator.next(), iterator.next()), (Some(3), None, None));
    assert_eq!((clone.count(), all().last(), all().next_back()), (1, Some(5), Some(5)));
    drop(iterator);
    assert_eq!(of("iter.all").calls, 4, "a clone is a call of its own");
    let items = ["a".to_owned(), "b".to_owned()];
    let sent = send(&items);
    is_sent(&sent);
    let joined = std::thread::scope(|scope| scope.spawn(move || sent.collect::<String>()).join().unwrap());
    assert_eq!((joined.as_str(), of("iter.send").calls), ("ab", 1));
}

#[test]
fn boxed_ones_are_stages_whatever_makes_the_box() {
    type Boxed<'a> = Box<dyn Iterator<Item = u32> + Send + 'a>;
    #[stage(name = "iter.boxed")]
    fn boxed(n: u32) -> Box<dyn Iterator<Item = u32>> {
        Box::new((0..n).map(produce))
    }
    #[stage(name = "iter.boxed_early")]
    fn early(n: u32) -> Box<dyn DoubleEndedIterator<Item = u32> + Send> {
        if n == 0 {
            return Box::new(std::iter::empty());
        }
        Box::new((0..n).map(produce))
    }
    // Behind an alias of the user's it is not seen, and its making is timed.
    #[stage(name = "iter.alias")]
    fn alias<'a>(n: &'a u32) -> Boxed<'a> {
        Box::new((0..*n).map(produce))
    }
    struct Table;
    #[stage_all]
    impl Table {
        fn scan(&self) -> Box<dyn Iterator<Item = u32> + '_> {
            Box::new((0..3).map(produce))
        }
    }
    assert_eq!(boxed(3).sum::<u32>(), 3);
    assert_eq!((early(0).count(), early(3).next_back()), (0, Some(2)));
    assert_eq!(alias(&3).sum::<u32>() + Table.scan().sum::<u32>(), 6);
    assert!(of("iter.boxed").total_ns >= 3 * ns(PULL));
    assert!(of("iter.boxed_early").calls == 2 && of("iter.boxed_early").total_ns >= ns(PULL));
    assert!(of("Table::scan").total_ns >= 3 * ns(PULL));
    assert!(2 * of("iter.alias").total_ns < of("Table::scan").total_ns);
}

#[test]
fn items_that_are_errors_make_the_call_one() {
    #[stage(name = "iter.errors")]
    fn rows(fails_at: u32) -> impl Iterator<Item = Result<u32, String>> {
        (0..3).map(move |n| if n == fails_at { Err("broken".into()) } else { Ok(n) })
    }
    #[query(name = "iter.open", key = "open", tenant = "iter open")]
    fn open(name: &str) -> Result<impl Iterator<Item = Result<u32, String>>, std::num::ParseIntError> {
        let fails_at: u32 = name.parse()?;
        Ok(rows(fails_at).take(5))
    }
    #[stage(name = "iter.find")]
    fn find(known: bool) -> Option<Box<dyn Iterator<Item = u32>>> {
        known.then(|| Box::new(0..3_u32) as Box<dyn Iterator<Item = u32>>)
    }
    assert_eq!(rows(9).filter_map(Result::ok).count(), 3);
    assert_eq!(rows(1).collect::<Result<Vec<_>, _>>(), Err("broken".into()));
    assert_eq!((of("iter.errors").calls, of("iter.errors").errors), (2, 1));
    assert!(open("x").is_err());
    assert_eq!(open("2").unwrap().filter(Result::is_err).count(), 1);
    assert_eq!(open("7").unwrap().count(), 3);
    let (stage, labels) = (of("iter.open"), tenant("iter open"));
    assert_eq!((stage.calls, stage.errors), (3, 2));
    assert_eq!((labels.calls, labels.errors), (3, 2));
    assert_eq!((find(false).is_none(), find(true).unwrap().sum::<u32>()), (true, 3));
    assert_eq!((of("iter.find").calls, of("iter.find").errors), (2, 0));
}

#[test]
fn a_query_s_labels_hold_while_its_items_are_pulled() {
    #[stage(name = "iter.step")]
    fn step(n: u32) -> u32 {
        produce(n)
    }
    #[query(name = "iter.query", key = sql, tenant = tenant)]
    fn execute(sql: &str, tenant: &'static str) -> impl Iterator<Item = u32> {
        (0..5).map(move |n| {
            let (_, labels) = stagelight::__private::current();
            assert_eq!(stagelight::__private::label_set(labels).get(stagelight::LabelKind::Tenant), tenant);
            stagelight::rows(1);
            step(n)
        })
    }
    let names = ["iter one", "iter other"];
    let mut truth = [0; 2];
    let timed = |truth: &mut u64, next: &mut dyn FnMut() -> Option<u32>| {
        let start = Instant::now();
        let item = next();
        *truth += ns(start.elapsed());
        assert_eq!(stagelight::__private::current(), (0, 0));
        item
    };
    let mut iterators = names.map(|name| execute("a", name));
    // In turns, so that each is between its items while the other gives one.
    for _ in 0..6 {
        for (truth, rows) in truth.iter_mut().zip(&mut iterators) {
            timed(truth, &mut || rows.next());
        }
    }
    drop(iterators);
    for (name, truth) in names.into_iter().zip(truth) {
        let tenant = tenant(name);
        assert_eq!((tenant.calls, tenant.rows, tenant.errors), (1, 5, 0), "{name}");
        // Beside its items only making it is in it.
        let making = 2 * ns(PULL);
        assert!((5 * ns(PULL)..=truth + making).contains(&tenant.total_ns), "{} of {truth}", tenant.total_ns);
    }
    assert_eq!(of("iter.step").calls, 10);
}

#[test]
fn an_iterator_that_panics_or_is_dropped_early_is_one_call() {
    #[stage(name = "iter.ends")]
    fn rows(panics: bool) -> impl Iterator<Item = u32> {
        (0..).inspect(move |n| assert!(!panics || *n < 2, "as the test wants"))
    }
    assert_eq!(rows(false).take(3).sum::<u32>(), 3);
    drop(rows(false));
    assert!(std::panic::catch_unwind(|| rows(true).take(5).sum::<u32>()).is_err());
    let ends = of("iter.ends");
    assert_eq!((ends.calls, ends.panics, ends.errors, ends.cancelled), (3, 1, 0, 0));
    assert_eq!(stagelight::__private::current(), (0, 0));
}

/// A stream that is pending once before each item.
struct Rows {
    next: u32,
    ready: bool,
}

impl Stream for Rows {
    type Item = Result<u32, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        assert_eq!(innermost().split('.').next(), Some("stream"));
        if !std::mem::replace(&mut self.ready, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = false;
        self.next += 1;
        Poll::Ready(match self.next {
            n @ ..4 => Some(Ok(produce(n))),
            4 => Some(Err("broken".into())),
            _ => None,
        })
    }
}

/// Takes items, with a pause where each is awaited and one after it.
fn consume<S: Stream>(stream: S, most: usize) -> usize {
    let mut stream = Box::pin(stream);
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut items = 0;
    while items < most {
        match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(_)) => {
                items += 1;
                std::thread::sleep(4 * PULL);
            }
            Poll::Pending => std::thread::sleep(PULL),
        }
        assert_eq!(stagelight::__private::current(), (0, 0));
    }
    items
}

#[test]
fn a_stream_takes_what_its_items_take_from_asking_to_getting() {
    #[stage(name = "stream.rows")]
    fn rows() -> impl Stream<Item = Result<u32, String>> + Send {
        Rows { next: 0, ready: false }
    }
    #[query(name = "stream.boxed", key = "stream", tenant = "stream")]
    fn boxed() -> Pin<Box<dyn Stream<Item = Result<u32, String>> + Send>> {
        Box::pin(Rows { next: 2, ready: false })
    }
    #[stage(name = "stream.alias")]
    fn alias<'a>() -> BoxStream<'a, Result<u32, String>> {
        Box::pin(Rows { next: 3, ready: false })
    }
    let start = Instant::now();
    assert_eq!(consume(rows(), 9), 4);
    let elapsed = ns(start.elapsed());
    let stats = of("stream.rows");
    // Five times asked, each twice.
    assert_eq!((stats.calls, stats.errors, stats.polls, stats.cancelled), (1, 1, 10, 0));
    assert!(stats.self_ns >= 3 * ns(PULL) && stats.awaiting_ns >= 5 * ns(PULL), "{stats:?}");
    assert_eq!(stats.total_ns, stats.self_ns + stats.awaiting_ns);
    assert!(stats.total_ns + 16 * ns(PULL) <= elapsed, "what the consumer does is not in it: {stats:?}");
    assert_eq!((consume(boxed(), 1), consume(alias(), 9)), (1, 1));
    let (boxed, labels) = (of("stream.boxed"), tenant("stream"));
    assert_eq!((boxed.calls, boxed.errors, boxed.cancelled, labels.calls), (1, 0, 0, 1));
    assert_eq!((of("stream.alias").calls, of("stream.alias").errors), (1, 1));
    // Dropped while it is waited for.
    let mut waiting = Box::pin(rows());
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll_next(&mut context).is_pending());
    drop(waiting);
    assert_eq!((of("stream.rows").calls, of("stream.rows").cancelled), (2, 1));
}

#[test]
fn a_query_whose_items_another_query_pulls_leaves_the_other_its_trace() {
    #[stage(name = "iter.leaf")]
    fn leaf(n: u32) -> u32 {
        n
    }
    #[query(name = "iter.cursor", key = "cursor")]
    fn cursor() -> impl Iterator<Item = u32> {
        (0..3).map(leaf)
    }
    #[query(name = "iter.puller", key = "puller")]
    fn pull(rows: &mut dyn Iterator<Item = u32>) -> u32 {
        leaf(7) + rows.next().unwrap() + leaf(7)
    }
    let settings = stagelight::TraceSettings { head: 1.0, slow: None };
    let collector =
        stagelight::collector().every(Duration::from_millis(20)).traces(Some(settings)).start().unwrap();
    let mut rows = cursor();
    assert_eq!((rows.next(), pull(&mut rows), rows.next()), (Some(0), 15, Some(2)));
    drop(rows);
    let spans = |statement: &str| -> Vec<&'static str> {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let traces = stagelight::recent_traces();
            if let Some(trace) = traces.iter().find(|trace| trace.labels[0] == statement) {
                return trace.spans.iter().map(|span| span.name).collect();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{statement} left no trace");
    };
    // What is pulled in the other one is a part of neither: the thread's ring holds one query's spans.
    assert_eq!(spans("puller")[..2], ["iter.puller", "iter.leaf"]);
    assert_eq!(spans("cursor"), ["iter.cursor", "iter.leaf", "iter.leaf"]);
    drop(collector);
}
