//! Off-CPU profiles against truths that the test controls.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use prost::Message as _;
use stagelight::query;
use stagelight_profiler::{Error, OffCpuBuilder, OffCpuSession, off_cpu, serve};
use stagelight_tests::cpu::forbid;
use stagelight_tests::totals::{assert_near, total};
use stagelight_tests::{burn, child, is_child, skip, succeed, thread_cpu_ns, until_asleep};

/// Starts a profile, if that is permitted here.
fn start(what: &str, builder: OffCpuBuilder) -> Option<OffCpuSession> {
    match builder.start() {
        Ok(session) => Some(session),
        Err(Error::Refused(why)) => {
            skip(what, &why);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// One profile runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds off the CPU meanwhile, by the thread's own clocks.
fn away(work: impl FnOnce()) -> u64 {
    let (start, cpu) = (Instant::now(), thread_cpu_ns());
    work();
    (start.elapsed().as_nanos() as u64).saturating_sub(thread_cpu_ns() - cpu)
}

fn pause() {
    std::thread::sleep(Duration::from_millis(8));
}

#[query(name = "off.sleep", key = "sleep", tenant = "night")]
fn sleep() -> u64 {
    away(pause)
}

#[query(name = "off.lock", key = "lock", tenant = "night")]
fn lock(mutex: &Mutex<()>, taken: &Barrier) -> u64 {
    taken.wait();
    away(|| drop(mutex.lock()))
}

#[query(name = "off.receive", key = "receive", tenant = "day")]
fn receive(channel: &mpsc::Receiver<()>) -> u64 {
    away(|| channel.recv().unwrap())
}

#[query(name = "off.read", key = "read", tenant = "day")]
fn read(pipe: &mut std::io::PipeReader) -> u64 {
    away(|| pipe.read_exact(&mut [0]).unwrap())
}

#[test]
fn waits_agree_with_the_truth_by_stage_statement_and_tenant() {
    let _alone = alone();
    const TIMES: u64 = 40;
    let Some(session) = start("an off-CPU profile", off_cpu()) else { return };
    let (mutex, taken) = (Mutex::new(()), Barrier::new(2));
    let (sender, receiver) = mpsc::channel();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let truth = std::thread::scope(|scope| {
        let times = |mut wait: Box<dyn FnMut() -> u64 + Send>| (0..TIMES).map(|_| wait()).sum::<u64>();
        let waits: [Box<dyn FnMut() -> u64 + Send>; 4] = [
            Box::new(sleep),
            Box::new(|| {
                let away = lock(&mutex, &taken);
                taken.wait();
                away
            }),
            Box::new(move || receive(&receiver)),
            Box::new(|| read(&mut reader)),
        ];
        let waiting = waits.map(|wait| scope.spawn(move || times(wait)));
        scope.spawn(|| {
            for _ in 0..TIMES {
                let held = mutex.lock();
                taken.wait();
                pause();
                drop(held);
                taken.wait();
            }
        });
        for _ in 0..TIMES {
            pause();
            sender.send(()).unwrap();
            writer.write_all(&[1]).unwrap();
        }
        waiting.map(|thread| thread.join().unwrap())
    });
    let profile = session.stop().unwrap();
    let [asleep, locked, received, read] = truth;
    assert!(asleep >= TIMES * 8_000_000 && locked >= TIMES * 4_000_000, "{truth:?}");
    for (stage, truth) in [("off.sleep", asleep), ("off.receive", received), ("off.read", read)] {
        assert_near(stage, total(&profile, "stage", stage), truth);
    }
    // Two threads wait for each other at the barrier too, within the stage.
    assert!(total(&profile, "stage", "off.lock") as f64 > 0.9 * locked as f64);
    assert_near("day", total(&profile, "tenant", "day"), received + read);
    assert_near("statement sleep", total(&profile, "statement", "sleep"), asleep);
    // The same labels as CPU samples have.
    let sleeping = profile.filter("path", "off.sleep");
    assert_eq!(sleeping.total(), profile.filter("stage", "off.sleep").total());
    assert!(sleeping.label_totals("thread").iter().all(|(name, _)| !name.is_empty()));
    assert!(sleeping.filter("state", "waiting").total() > 0);
    let stats = profile.stats();
    assert_eq!(stats.rung, "context-switches");
    assert!(
        stats.samples > 4 * TIMES && stats.complete_stacks as f64 > 0.99 * stats.samples as f64,
        "{stats:?}"
    );
    assert!(stats.dropped.iter().all(|(cause, count)| *cause == "first_waits" || *count == 0), "{stats:?}");

    let mut folded = Vec::new();
    profile.by_label("state").by_label("stage").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let waits = |stage: &str, function: &str| {
        let root = format!("stage: {stage};state: waiting;");
        assert!(
            folded.lines().any(|line| line.starts_with(&root) && line.contains(function)),
            "{stage} in {function}: {folded}"
        );
    };
    waits("off.sleep", "nanosleep");
    waits("off.lock", "off_cpu::lock");
    waits("off.receive", "off_cpu::receive");
    waits("off.read", "read");
}

#[query(name = "off.busy", key = "busy")]
fn busy() -> u64 {
    away(|| burn(300_000_000))
}

#[test]
fn threads_that_the_scheduler_takes_the_cpu_from_are_preempted() {
    let _alone = alone();
    let Some(session) = start("preemption", off_cpu()) else { return };
    let threads = std::thread::available_parallelism().unwrap().get() + 2;
    let truth: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(busy)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let profile = session.stop().unwrap();
    assert_near("preempted", total(&profile, "stage", "off.busy"), truth);
    let mut folded = Vec::new();
    profile.by_label("stage").by_label("state").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let sum = |root: &str| -> u64 {
        let lines = folded.lines().filter(|line| line.starts_with(root));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    let preempted = sum("state: preempted;stage: off.busy;");
    let waiting = sum("state: waiting;stage: off.busy;");
    assert!(preempted > 10 * waiting, "{preempted} us preempted, {waiting} us waiting");
}

/// The part of `profile.proto` that tells how many switches there were.
#[derive(Clone, PartialEq, prost::Message)]
struct Pprof {
    #[prost(message, repeated, tag = "2")]
    sample: Vec<PprofSample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PprofSample {
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

fn sums(pprof: &[u8]) -> [i64; 2] {
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(pprof).read_to_end(&mut raw).unwrap();
    let samples = Pprof::decode(&raw[..]).unwrap().sample;
    [0, 1].map(|index| samples.iter().map(|sample| sample.value[index]).sum())
}

#[query(name = "off.ping", key = "ping")]
fn ping(to: &mpsc::Sender<()>, from: &mpsc::Receiver<()>, rounds: usize) -> u64 {
    away(|| {
        for _ in 0..rounds {
            let _ = to.send(());
            let _ = from.recv();
        }
    })
}

fn switches() -> u64 {
    // SAFETY: all-zero is a valid `rusage`, which the call writes to.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    (usage.ru_nvcsw + usage.ru_nivcsw) as u64
}

#[test]
fn short_waits_are_thinned_and_their_sums_stay_right() {
    let _alone = alone();
    let Some(session) = start("thinning", off_cpu().min_wait(Duration::from_micros(200))) else { return };
    let before = switches();
    let ((a, from_a), (b, from_b)) = (mpsc::channel(), mpsc::channel());
    let truth = std::thread::scope(|scope| {
        let one = scope.spawn(move || ping(&a, &from_b, 40_000));
        let other = scope.spawn(move || ping(&b, &from_a, 40_000));
        one.join().unwrap() + other.join().unwrap()
    });
    let truth_switches = switches() - before;
    let profile = session.stop().unwrap();
    assert_near("short waits", total(&profile, "stage", "off.ping"), truth);
    let stats = profile.stats();
    eprintln!("{} sampled, {} thinned of {truth_switches}", stats.samples, stats.thinned);
    assert!(stats.thinned > 2 * stats.samples, "most are shorter by far: {stats:?}");
    let mut pprof = Vec::new();
    profile.write_pprof(&mut pprof).unwrap();
    assert_near("switches, by their weights", sums(&pprof)[0] as u64 * 1_000_000, truth_switches * 1_000_000);
}

/// 400 blocking calls, of which a signal would interrupt three in four for good, and how many were.
fn interrupted() -> usize {
    let (polled, mut to_polled) = std::io::pipe().unwrap();
    let (read, mut to_read) = std::io::pipe().unwrap();
    let rest = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let (mut one, mut byte) =
        (libc::pollfd { fd: polled.as_raw_fd(), events: libc::POLLIN, revents: 0 }, 0_u8);
    let mut interrupted = 0;
    let mut call = |result: libc::c_int| {
        let error = std::io::Error::last_os_error();
        interrupted += usize::from(result < 0 && error.raw_os_error() == Some(libc::EINTR));
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(6));
                to_polled.write_all(&[1]).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                to_read.write_all(&[1]).unwrap();
            }
        });
        for _ in 0..100 {
            // SAFETY: all calls read and write variables of this function.
            unsafe {
                call(libc::nanosleep(&raw const rest, std::ptr::null_mut()));
                call(libc::poll(std::ptr::null_mut(), 0, 1));
                call(libc::poll(&raw mut one, 1, -1));
                libc::read(polled.as_raw_fd(), (&raw mut byte).cast(), 1);
                call(libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1) as libc::c_int);
            }
        }
    });
    interrupted
}

#[test]
fn no_system_call_is_interrupted() {
    let _alone = alone();
    let Some(session) = start("EINTR", off_cpu().min_wait(Duration::ZERO)) else { return };
    let interrupted = interrupted();
    let profile = session.stop().unwrap();
    assert!(profile.stats().samples > 300, "{:?}", profile.stats());
    assert_eq!(interrupted, 0);
}

#[query(name = "off.long", key = "long")]
fn long(channel: &mpsc::Receiver<()>) -> u64 {
    away(|| channel.recv().unwrap())
}

#[test]
fn a_wait_that_began_before_is_left_out_and_falls_to_nobody_else() {
    let _alone = alone();
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            long(&receiver);
            (0..30).map(|_| sleep()).sum::<u64>()
        });
        std::thread::sleep(Duration::from_millis(100));
        let session = start("a wait that began before", off_cpu());
        std::thread::sleep(Duration::from_millis(500));
        sender.send(()).unwrap();
        let truth = waiting.join().unwrap();
        let Some(session) = session else { return };
        let profile = session.stop().unwrap();
        assert_near("the waits after it", total(&profile, "stage", "off.sleep"), truth);
        assert_eq!(total(&profile, "stage", "off.long"), 0);
        assert!(profile.stats().dropped.iter().any(|(cause, count)| *cause == "first_waits" && *count > 0));
    });
}

#[query(name = "off.stuck", key = "stuck", tenant = tenant)]
fn stuck(tenant: &str, wait: impl FnOnce()) {
    wait();
}

/// What threads wait in until it is released.
struct Stuck {
    lock: Mutex<()>,
    channel: Mutex<mpsc::Receiver<()>>,
    /// To be read from, and to be polled.
    pipes: [std::io::PipeReader; 2],
}

const WAYS: usize = 5;

impl Stuck {
    fn new() -> (Self, impl FnOnce()) {
        let (sender, receiver) = mpsc::channel();
        let [(read, end_read), (polled, end_polled)] = [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
        let stuck = Self { lock: Mutex::new(()), channel: Mutex::new(receiver), pipes: [read, polled] };
        (stuck, move || drop((sender, end_read, end_polled)))
    }

    /// Threads that wait in all ways, those that a signal would end too.
    fn wait<'scope>(&'scope self, scope: &'scope std::thread::Scope<'scope, '_>, tenant: &'static str) {
        let held = until_asleep(scope, move || {
            let _held = self.lock.lock().unwrap();
            stuck(tenant, || _ = self.channel.lock().unwrap().recv());
        });
        let in_stage = |wait: Box<dyn FnOnce() + Send + 'scope>| {
            until_asleep(scope, move || stuck(tenant, wait));
        };
        in_stage(Box::new(|| drop(self.lock.lock().unwrap())));
        in_stage(Box::new(|| assert_eq!((&self.pipes[0]).read(&mut [0]).unwrap(), 0)));
        in_stage(Box::new(|| {
            let mut polled = libc::pollfd { fd: self.pipes[1].as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one descriptor, and a place of ours.
            assert_eq!(unsafe { libc::poll(&raw mut polled, 1, -1) }, 1, "{}", last_error());
        }));
        in_stage(Box::new(|| {
            let rest = libc::timespec { tv_sec: 4, tv_nsec: 0 };
            // SAFETY: the call reads a structure of ours.
            let rested = unsafe { libc::nanosleep(&raw const rest, std::ptr::null_mut()) };
            assert_eq!(rested, 0, "{}", last_error());
        }));
        assert!(held > 0);
    }
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}

#[test]
fn waits_that_do_not_end_count_to_the_profiles_end_and_are_not_interrupted() {
    let _alone = alone();
    let ((early, end_early), (late, end_late)) = (Stuck::new(), Stuck::new());
    std::thread::scope(|scope| {
        early.wait(scope, "early");
        let session = start("waits that do not end", off_cpu());
        let start = Instant::now();
        let profile = session.map(|session| {
            late.wait(scope, "late");
            let since_late = Instant::now();
            std::thread::sleep(Duration::from_millis(500));
            let times = [start, since_late].map(|start| start.elapsed().as_nanos() as u64);
            (session.stop().unwrap(), times)
        });
        end_early();
        end_late();
        let Some((profile, [all, part])) = profile else { return };
        assert_near("from before", total(&profile, "tenant", "early"), WAYS as u64 * all);
        let late = total(&profile, "tenant", "late");
        let (least, most) = (WAYS as u64 * part, WAYS as u64 * all);
        assert!((least..=most).contains(&late), "{late} ns waited, {least} to {most} in truth");
        let mut folded = Vec::new();
        profile.by_label("tenant").write_folded(&mut folded).unwrap();
        let folded = String::from_utf8(folded).unwrap();
        for tenant in ["early", "late"] {
            let root = format!("tenant: {tenant};");
            let stacks: Vec<_> = folded
                .lines()
                .filter(|line| line.starts_with(&root) && line.contains(";[still waiting] "))
                .collect();
            assert!(stacks.len() >= WAYS, "{folded}");
            for stack in &stacks {
                assert!(stack.contains("thread_start") && stack.contains("off_cpu::stuck"), "{stack}");
            }
            for call in ["nanosleep", "poll", "read", "recv", "Mutex"] {
                assert!(stacks.iter().any(|stack| stack.contains(call)), "{call}: {stacks:?}");
            }
        }
        let notes = &profile.stats().notes;
        let throughout = notes.iter().find_map(|note| note.strip_suffix(" threads waited throughout"));
        let throughout: usize = throughout.unwrap().parse().unwrap();
        assert!(throughout >= WAYS, "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("more waits had not ended")), "{notes:?}");
    });
}

#[test]
fn where_it_is_forbidden_the_error_says_what_it_takes() {
    let _alone = alone();
    if is_child() {
        forbid(&[libc::SYS_perf_event_open]);
        for _ in 0..2 {
            let error = off_cpu().start().unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
            let text = error.to_string();
            for word in ["CAP_PERFMON", "perf_event_paranoid", "seccomp", "wall()"] {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
        let profile = stagelight_profiler::wall().duration(Duration::from_millis(200)).run().unwrap();
        assert!(profile.stats().samples > 0);
        return;
    }
    succeed(&mut child("where_it_is_forbidden_the_error_says_what_it_takes"));
}

#[test]
fn the_control_api_gives_it() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let url = |query: &str| format!("http://{}/debug/pprof/offcpu?{query}", server.local_addr());
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| (0..100).map(|_| sleep()).sum::<u64>());
        let mut response = agent.get(url("seconds=0.4&format=folded&by=tenant,state")).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        match response.status().as_u16() {
            403 => skip("off-CPU profiles over HTTP", &text),
            status => {
                assert_eq!(status, 200, "{text}");
                assert!(
                    text.contains("tenant: night;state: waiting;") && text.contains("off_cpu::sleep"),
                    "{text}"
                );
                let mut response = agent.get(url("seconds=0.2")).call().unwrap();
                let [switches, ns] = sums(&response.body_mut().read_to_vec().unwrap());
                assert!(switches > 0 && ns > 0);
            }
        }
        sleeping.join().unwrap();
    });
    assert_eq!(agent.get(url("seconds=0")).call().unwrap().status().as_u16(), 400);
    let error = off_cpu().min_wait(Duration::from_secs(2)).start().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("0ns to 1s"), "{error}");
}
