//! The heap profile and the stages' allocated bytes, against a truth that the test controls.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::collections::HashMap;
use std::sync::Mutex;

use stagelight::{query, stage};
use stagelight_tests::totals::allocated;

stagelight_profiler::heap_profiler!(lg_sample = 16);

/// A test that looks at the process's heap wants no other to change it.
static ALONE: Mutex<()> = Mutex::new(());

/// A piece of memory that is made, grown and freed by hand.
struct Piece {
    memory: *mut u8,
    layout: Layout,
}

// SAFETY: a piece owns its memory.
unsafe impl Send for Piece {}

impl Piece {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not 0.
        Self { memory: unsafe { alloc(layout) }, layout }
    }

    fn grow(&mut self, size: usize) {
        // SAFETY: the memory was allocated by this layout.
        self.memory = unsafe { realloc(self.memory, self.layout, size) };
        self.layout = Layout::from_size_align(size, 8).unwrap();
    }

    /// What the allocator set aside for it, which is what it counts.
    fn usable(&self) -> u64 {
        // SAFETY: the memory is allocated.
        unsafe { libc::malloc_usable_size(self.memory.cast()) as u64 }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated by this layout.
        unsafe { dealloc(self.memory, self.layout) };
    }
}

/// Sizes from 64 B to 128 KiB, log-uniform, by a generator of the test's own.
fn size(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (64 << ((*seed >> 33) % 11)) + ((*seed >> 45) % 64) as usize
}

/// Allocates for a tenant, keeps a share of it and gives back the rest; some pieces grow in between.
#[query(key = "fill", tenant = tenant)]
fn fill(tenant: &str, bytes: u64, keep: u64, seed: &mut u64) -> Vec<Piece> {
    let (mut allocated, mut kept) = (0, Vec::new());
    while allocated < bytes {
        let mut piece = Piece::new(size(seed));
        if *seed >> 60 == 0 {
            piece.grow(piece.layout.size() + piece.layout.size() / 8);
        }
        allocated += piece.usable();
        if (*seed >> 40) % 100 < keep {
            kept.push(piece);
        }
    }
    kept
}

#[test]
fn live_bytes_by_tenant_are_within_sampling_error() {
    let _alone = ALONE.lock().unwrap();
    let mut seed = 42;
    let mut pieces = HashMap::new();
    for (tenant, bytes, keep) in [("half", 200 << 20, 50), ("all", 150 << 20, 100), ("none", 200 << 20, 0)] {
        let kept = std::thread::scope(|scope| {
            // A thread that ends, while its pieces live on.
            scope.spawn(|| fill(tenant, bytes, keep, &mut seed)).join().unwrap()
        });
        pieces.insert(tenant, kept);
    }
    let profile = stagelight_profiler::heap().run().unwrap();
    let stats = profile.stats();
    assert_eq!(stats.rung, "jemalloc with framehop");
    let complete = stats.complete_stacks as f64 / stats.samples as f64;
    assert!(complete >= 0.99, "{complete} of the stacks reach their thread's start");
    let estimates: HashMap<String, i64> = profile.label_totals("tenant").into_iter().collect();
    for (tenant, kept) in &pieces {
        let truth = kept.iter().map(Piece::usable).sum::<u64>() as f64;
        let estimate = estimates.get(*tenant).copied().unwrap_or(0) as f64;
        // Each sample stands for 2^16 bytes or more, so at least this many are expected: three standard errors.
        let expected_samples = truth / (128 << 10) as f64;
        let error = 3.0 / expected_samples.max(1.0).sqrt();
        eprintln!("{tenant}: {estimate:.0} for {truth:.0}, allowed {:.1} %", 100.0 * error);
        assert!((estimate - truth).abs() <= truth * error + 1.0, "{tenant}: {estimate} for {truth}");
    }

    let mut folded = Vec::new();
    let with_lines = stagelight_profiler::heap().lines().run().unwrap();
    with_lines.filter("tenant", "all").write_folded(&mut folded).unwrap();
    let text = std::mem::take(&mut folded);
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("prof_backtrace") && text.contains("heap::fill"), "the same with lines: {text}");
    profile.by_label("tenant").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let own: Vec<&str> = folded.lines().filter(|line| line.starts_with("tenant: all;")).collect();
    assert!(!own.is_empty());
    for line in own {
        assert!(line.contains("heap::fill"), "{line}");
        let leaf = line.rsplit_once(' ').unwrap().0.rsplit(';').next().unwrap();
        let programs = leaf.starts_with("heap::") || leaf.contains("RawVec");
        assert!(programs, "the allocator's own frames are trimmed: {line}");
    }
}

#[test]
fn growth_shows_what_came_and_what_went() {
    let _alone = ALONE.lock().unwrap();
    let mut seed = 7;
    let before = fill("shrinks", 64 << 20, 100, &mut seed);
    let session = stagelight_profiler::heap().start().unwrap();
    drop(before);
    let after = fill("grows", 64 << 20, 100, &mut seed);
    let profile = session.stop().unwrap();
    let growth: HashMap<String, i64> = profile.label_totals("tenant").into_iter().collect();
    assert!(growth["grows"] > 48 << 20, "{growth:?}");
    assert!(growth["shrinks"] < -(48 << 20), "{growth:?}");
    drop(after);
}

#[test]
fn what_a_window_saw_allocated_counts_what_was_freed_and_no_more() {
    let _alone = ALONE.lock().unwrap();
    let mut seed = 99;
    let early = fill("early", 32 << 20, 100, &mut seed);
    let session = stagelight_profiler::allocs().start().unwrap();
    let held = std::thread::scope(|scope| {
        // At the pace of a program that does more than allocate.
        let paced = |tenant: &str, keep, mut seed| -> Vec<Piece> {
            let part = |_| {
                std::thread::sleep(std::time::Duration::from_millis(2));
                fill(tenant, 5 << 20, keep, &mut seed)
            };
            (0..30).flat_map(part).collect()
        };
        let freed = scope.spawn(move || drop(paced("freed", 0, 101)));
        let held = paced("held", 100, 102);
        freed.join().unwrap();
        held
    });
    // What is freed in the window is not taken off.
    drop(early);
    let profile = session.stop().unwrap();
    drop((fill("late", 32 << 20, 0, &mut seed), held));

    let stats = profile.stats();
    assert_eq!((stats.rung.as_str(), stats.period), ("jemalloc with framehop", 1 << 16));
    assert!(stats.dropped.iter().all(|(_, count)| *count == 0), "{stats:?}");
    let complete = stats.complete_stacks as f64 / stats.samples as f64;
    assert!(complete >= 0.99, "{complete} of the stacks reach their thread's start");
    let estimates: HashMap<String, i64> = profile.label_totals("tenant").into_iter().collect();
    assert!(!estimates.contains_key("early") && !estimates.contains_key("late"), "{estimates:?}");
    for tenant in ["freed", "held"] {
        let (truth, estimate) = (allocated(tenant) as f64, estimates[tenant] as f64);
        let error = 3.0 / (truth / (128 << 10) as f64).sqrt();
        eprintln!("{tenant}: {estimate:.0} for {truth:.0}, allowed {:.1} %", 100.0 * error);
        assert!((estimate - truth).abs() <= truth * error, "{tenant}: {estimate} for {truth}");
    }
    let mut folded = Vec::new();
    profile.filter("tenant", "freed").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    assert!(folded.lines().all(|line| line.contains("heap::fill")), "{folded}");
    let mut top = Vec::new();
    profile.write_top(&mut top).unwrap();
    assert!(String::from_utf8(top).unwrap().starts_with("Allocated memory, freed or not: "));
}

#[test]
fn one_window_is_open_at_a_time_and_one_that_is_dropped_is_closed() {
    use stagelight_profiler::{Error, allocs};
    use std::time::Duration;

    let _alone = ALONE.lock().unwrap();
    let session = allocs().owner("the night watch").start().unwrap();
    let error = allocs().start().unwrap_err();
    assert!(matches!(error, Error::Busy(_)) && error.to_string().contains("the night watch"), "{error}");
    let error = stagelight_profiler::sample_heap(Some(17)).unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "one rate for all of its time: {error}");
    drop(session);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while let Err(error) = allocs().duration(Duration::from_millis(10)).run() {
        assert!(matches!(error, Error::Busy(_)) && std::time::Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
    let error = allocs().duration(Duration::ZERO).run().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[test]
fn live_bytes_by_tenant_are_metrics_once_asked_for() {
    use std::time::Duration;

    let _alone = ALONE.lock().unwrap();
    let metrics = || {
        let mut text = Vec::new();
        stagelight_profiler::write_metrics(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let figure = |metrics: &str, series: &str| -> Option<f64> {
        metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    };
    assert!(!metrics().contains("live_bytes"));
    assert!(stagelight_profiler::heap_metrics(Duration::from_millis(1)).is_err());
    stagelight_profiler::heap_metrics(Duration::from_secs(3600)).unwrap();
    let mut seed = 5;
    let hoard = fill("hoards", 100 << 20, 100, &mut seed);
    let truth = hoard.iter().map(Piece::usable).sum::<u64>() as f64;
    let text = metrics();
    let series = "stagelight_tenant_live_bytes{tenant=\"hoards\"}";
    let live = figure(&text, series).unwrap();
    let error = 3.0 / (truth / (128 << 10) as f64).sqrt();
    assert!((live - truth).abs() <= truth * error, "{live} for {truth}");
    let of_component = figure(&text, "stagelight_component_live_bytes{component=\"heap\"}").unwrap();
    assert!(of_component >= live, "{of_component}");
    assert!(figure(&text, "stagelight_heap_samples").unwrap() >= truth / (160 << 10) as f64, "{text}");
    drop(hoard);
    let later = metrics();
    assert_eq!(figure(&later, series), Some(live), "within the hour nobody looks again");
    let age = |text| figure(text, "stagelight_heap_age_seconds").unwrap();
    assert!(age(&later) > age(&text));
    stagelight_profiler::heap_metrics(Duration::from_secs(1)).unwrap();
    assert!(figure(&metrics(), series).unwrap_or(0.0) < live / 10.0);
}

#[test]
fn a_stage_knows_its_allocated_bytes() {
    #[stage(name = "alloc.outer")]
    fn outer() {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 16)));
        inner();
    }
    #[stage(name = "alloc.inner")]
    fn inner() {
        // By C's own function, as a C library would: jemalloc serves that too.
        // SAFETY: the memory is freed once.
        unsafe { libc::free(std::hint::black_box(libc::malloc(1 << 18))) };
    }
    outer();
    let snapshot = stagelight::snapshot();
    let bytes = |name: &str| snapshot.stage(name).unwrap().alloc_bytes;
    assert_eq!((bytes("alloc.inner"), bytes("alloc.outer")), (1 << 18, (1 << 18) + (1 << 16)));
}

#[test]
fn cpu_and_heap_profiles_go_together() {
    let session = stagelight_profiler::cpu().hz(999).start().unwrap();
    let mut seed = 1;
    for _ in 0..5 {
        drop(fill("both", 32 << 20, 50, &mut seed));
        stagelight_profiler::heap().run().unwrap();
    }
    let profile = session.stop().unwrap();
    assert!(profile.label_totals("tenant").iter().any(|(tenant, _)| tenant == "both"));
}

/// `vm.memfd_noexec` belongs to a namespace of process ids, so one is made for it.
#[test]
fn a_host_that_forbids_executable_memory_files_gets_its_heap_profile() {
    use stagelight_tests::{child, is_child, skip, succeed};

    let test = "a_host_that_forbids_executable_memory_files_gets_its_heap_profile";
    if is_child() {
        // SAFETY: the name is null-terminated; whatever comes back is left open.
        let executable = unsafe { libc::memfd_create(c"test".as_ptr(), 0x10) };
        assert!(executable < 0, "the setting is in force");
        assert!(stagelight_profiler::heap().run().is_ok());
        return;
    }
    let command = child(test);
    let forbid = |then: &str| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--pid", "--mount", "--fork", "--mount-proc", "sh", "-c"]);
        unshare.arg(format!("echo 2 > /proc/sys/vm/memfd_noexec && {then}"));
        unshare
    };
    if !forbid("true").output().is_ok_and(|output| output.status.success()) {
        return skip("vm.memfd_noexec=2", "it can't be set in a namespace of process ids here");
    }
    let mut unshare = forbid("exec \"$0\" \"$@\"");
    unshare.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        unshare.env(name, value.unwrap_or_default());
    }
    succeed(&mut unshare);
}
