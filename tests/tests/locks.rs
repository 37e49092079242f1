//! Profiles of locks against truths that the test controls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex as StdMutex, MutexGuard as StdGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use stagelight::query;
use stagelight_profiler::lock::{Condvar, Holder, Mutex, RwLock, Wait, waiting};
use stagelight_profiler::{Error, LockProfiles, Profile, locks, serve};
use stagelight_tests::totals::{assert_near, total};

#[path = "../fixtures/off/src/locks.rs"]
mod drop_in;

#[test]
fn the_locks_do_what_those_do_whose_place_they_take() {
    let _alone = alone();
    // The same file compiles with the feature off, in `invariants.rs`.
    drop_in::std_shape::run();
    drop_in::parking_lot_shape::run();
    let session = locks().start().unwrap();
    drop_in::std_shape::run();
    drop_in::parking_lot_shape::run();
    session.stop().unwrap();
}

/// One profile of locks runs at a time.
fn alone() -> StdGuard<'static, ()> {
    static ALONE: StdMutex<()> = StdMutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At least 99 in a hundred.
fn assert_nearly_all(what: &str, part: u64, whole: u64) {
    eprintln!("{what}: {:.2} of {:.2} ms", part as f64 / 1e6, whole as f64 / 1e6);
    assert!(part as f64 >= 0.99 * whole as f64 && part <= whole, "{what}: {part} of {whole}");
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

const HOLD: Duration = Duration::from_millis(8);

/// Holds the lock until the others are about to wait, and a while longer. Says when it released it.
#[query(name = "locks.hold", key = "hold", tenant = "holder")]
fn hold<G>(lock: impl FnOnce() -> G, taken: &Barrier, unlock: impl FnOnce(G)) -> Instant {
    let guard = lock();
    taken.wait();
    std::thread::sleep(HOLD);
    let end = Instant::now();
    unlock(guard);
    end
}

/// Waits for the lock, and says since when and how long.
#[query(name = "locks.wait", key = "wait", tenant = tenant)]
fn wait(tenant: &str, lock: impl FnOnce()) -> (Instant, u64) {
    let start = Instant::now();
    lock();
    (start, start.elapsed().as_nanos() as u64)
}

/// Nanoseconds from the beginning of a wait to the end of the hold that it was for: the rest is what it took to wake up.
fn made_wait(start: Instant, released: Instant) -> u64 {
    released.saturating_duration_since(start).as_nanos() as u64
}

#[test]
fn waits_go_to_who_waited_and_to_who_held() {
    let _alone = alone();
    const ROUNDS: u64 = 25;
    let lock = Mutex::new(());
    let (mut waited, mut made) = ([0; 2], 0);
    let session = locks().start().unwrap();
    for _ in 0..ROUNDS {
        let taken = Barrier::new(3);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| hold(|| lock.lock(), &taken, drop));
            let waiters = ["b", "c"].map(|tenant| {
                let (taken, lock) = (&taken, &lock);
                scope.spawn(move || {
                    taken.wait();
                    wait(tenant, || drop(lock.lock()))
                })
            });
            let released = holder.join().unwrap();
            for (waiter, waited) in waiters.into_iter().zip(&mut waited) {
                let (start, ns) = waiter.join().unwrap();
                *waited += ns;
                made += made_wait(start, released);
            }
        });
    }
    let LockProfiles { block, mutex, .. } = session.stop().unwrap();
    let all = block.total() as u64;
    assert_near("waits", all, waited[0] + waited[1]);
    assert_near("b's waits", total(&block, "tenant", "b"), waited[0]);
    assert_near("c's waits", total(&block, "tenant", "c"), waited[1]);
    assert_nearly_all("waits of b and c", total(&block, "tenant", "b") + total(&block, "tenant", "c"), all);
    assert_nearly_all("waits in their stage", total(&block, "stage", "locks.wait"), all);
    assert_nearly_all("waits for the holder", total(&block, "holder_tenant", "holder"), all);
    assert_nearly_all("waits for its statement", total(&block, "holder_statement", "hold"), all);
    assert_nearly_all("waits for its stage", total(&block, "holder_stage", "locks.hold"), all);
    assert_eq!(total(&block, "state", "lock"), all);

    // What the holds made others wait is what they waited, but for waking up.
    assert!(mutex.total() as u64 <= all, "{} of {all}", mutex.total());
    let holder = total(&mutex, "tenant", "holder");
    assert_near("the holder's holds", holder, made);
    assert_eq!(total(&mutex, "holder_tenant", "holder"), holder, "it was the same from its start to its end");
    assert!(mutex.stats().samples >= ROUNDS && block.stats().samples >= 2 * ROUNDS * 9 / 10);
    for (profile, function) in [(&block, "waits_go_to_who_waited_and_to_who_held"), (&mutex, "locks::hold")] {
        eprintln!("{:?}", profile.stats());
        assert!(profile.stats().dropped.iter().all(|(_, count)| *count == 0));
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            let text = folded(profile);
            assert!(text.contains(function), "{text}");
            assert!(
                !text.contains("stagelight_profiler::lock::"),
                "the locks' own frames are taken off: {text}"
            );
        }
    }
}

#[test]
fn readers_wait_for_writers_and_writers_for_readers() {
    let _alone = alone();
    let lock = RwLock::new(0);
    let (mut read, mut written, mut made) = (0, 0, 0);
    let session = locks().start().unwrap();
    for round in 0..20 {
        let taken = Barrier::new(2);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| match round % 2 {
                0 => hold(|| lock.write(), &taken, drop),
                _ => hold(|| lock.read(), &taken, drop),
            });
            taken.wait();
            let (start, waited) = match round % 2 {
                0 => wait("reader", || drop(lock.read())),
                _ => wait("writer", || *lock.write() += 1),
            };
            *if round % 2 == 0 { &mut read } else { &mut written } += waited;
            made += made_wait(start, holder.join().unwrap());
        });
    }
    let profiles = session.stop().unwrap();
    assert_eq!(*lock.read(), 10);
    assert_near("reading", total(&profiles.block, "tenant", "reader"), read);
    assert_near("writing", total(&profiles.block, "tenant", "writer"), written);
    let all = profiles.block.total() as u64;
    assert_nearly_all("waits for the holder", total(&profiles.block, "holder_tenant", "holder"), all);
    assert_near("holds", total(&profiles.mutex, "tenant", "holder"), made);

    // Readers don't wait for each other, and who downgrades lets them in.
    let writer = lock.write();
    let reader = stagelight_profiler::lock::RwLockWriteGuard::downgrade(writer);
    assert_eq!(lock.try_read().as_deref(), Some(&10));
    assert!(lock.try_write_for(Duration::from_millis(1)).is_none());
    drop(reader);
    assert!(lock.try_write().is_some());
    let upgradable = lock.upgradable_read();
    assert!(lock.try_upgradable_read().is_none() && lock.try_read().is_some());
    *stagelight_profiler::lock::RwLockUpgradableReadGuard::upgrade(upgradable) += 1;
    assert_eq!(*lock.read_recursive(), 11);
}

#[test]
fn a_condition_variable_wakes_its_waiters_and_their_waits_are_nobodys_doing() {
    let _alone = alone();
    let (lock, ready) = (Mutex::new(0), Condvar::new());
    let session = locks().start().unwrap();
    let waited = std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    wait("waiter", || {
                        let mut count = lock.lock();
                        ready.wait_while(&mut count, |count| *count == 0);
                        *count -= 1;
                    })
                    .1
                })
            })
            .collect();
        for _ in 0..2 {
            std::thread::sleep(4 * HOLD);
            *lock.lock() += 1;
            ready.notify_one();
        }
        waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum::<u64>()
    });
    let timed_out = ready.wait_for(&mut lock.lock(), Duration::from_millis(1)).timed_out();
    assert!(timed_out && !ready.wait_while_for(&mut lock.lock(), |count| *count > 0, HOLD).timed_out());
    assert!(ready.wait_while_for(&mut lock.lock(), |_| true, Duration::from_millis(1)).timed_out());
    let LockProfiles { block, mutex, .. } = session.stop().unwrap();
    let condvar = block.filter("state", "condvar");
    assert_near("notifications", total(&condvar, "tenant", "waiter"), waited);
    assert_eq!(total(&condvar, "holder_tenant", ""), condvar.total() as u64);
    assert!((mutex.total() as f64) < 0.5 * waited as f64, "the mutex is free meanwhile");
}

#[test]
fn nothing_is_recorded_while_nobody_asks_and_one_asks_at_a_time() {
    let _alone = alone();
    let lock = Mutex::new(());
    let contend = || {
        std::thread::scope(|scope| {
            let guard = lock.lock();
            scope.spawn(|| drop(lock.lock()));
            std::thread::sleep(HOLD);
            drop(guard);
        });
    };
    contend();
    let session = locks().owner("the first").start().unwrap();
    let Err(Error::Busy(why)) = locks().start() else { panic!("two at once") };
    assert!(why.contains("the first"), "{why}");
    let profiles = session.stop().unwrap();
    assert!(profiles.block.is_empty() && profiles.mutex.is_empty());
    // What began in one session is in the next only if it goes on.
    std::thread::scope(|scope| {
        let guard = lock.lock();
        let session = locks().start().unwrap();
        scope.spawn(|| drop(lock.lock()));
        std::thread::sleep(HOLD);
        drop(session);
        let session = locks().start().unwrap();
        drop(guard);
        let profiles = session.stop().unwrap();
        let text = folded(&profiles.block);
        assert!(text.lines().all(|line| line.contains("[still waiting] ")), "{text}");
        assert!(profiles.mutex.total() as u64 <= profiles.mutex.stats().duration.as_nanos() as u64);
    });
    assert!(matches!(locks().duration(Duration::ZERO).run(), Err(Error::Invalid(_))));
}

#[test]
fn a_panic_while_holding_leaves_the_lock_free_and_the_hold_recorded() {
    let _alone = alone();
    let lock = Mutex::new(7);
    let session = locks().start().unwrap();
    let taken = Barrier::new(2);
    std::thread::scope(|scope| {
        let (lock, barrier) = (&lock, &taken);
        let holder = scope.spawn(move || {
            let _guard = lock.lock();
            barrier.wait();
            std::thread::sleep(5 * HOLD);
            panic!("with the lock held");
        });
        barrier.wait();
        assert_eq!(*lock.lock(), 7);
        assert!(holder.join().is_err());
    });
    let profiles = session.stop().unwrap();
    assert!(!lock.is_locked());
    assert_eq!((profiles.block.stats().samples, profiles.mutex.stats().samples), (1, 1));
    assert!((1..=profiles.block.total()).contains(&profiles.mutex.total()));
}

#[test]
fn locks_of_ones_own_and_other_waits_tell_of_themselves() {
    let _alone = alone();
    let (lock, holder) = (StdMutex::new(()), Holder::new());
    let session = locks().start().unwrap();
    let taken = Barrier::new(2);
    let (truth, made) = std::thread::scope(|scope| {
        let holding = scope.spawn(|| {
            let take = || {
                let guard = lock.lock().unwrap();
                holder.acquired();
                guard
            };
            hold(take, &taken, |guard| {
                let made_wait = holder.releasing();
                drop(guard);
                drop(made_wait);
            })
        });
        taken.wait();
        let (start, waited) = wait("own", || {
            let _wait = Wait::begin(Some(&holder));
            drop(lock.lock().unwrap());
        });
        (waited, made_wait(start, holding.join().unwrap()))
    });
    let (sender, receiver) = mpsc::channel();
    let (_, received) = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(HOLD);
            sender.send(3).unwrap();
        });
        wait("channel", || assert_eq!(waiting(|| receiver.recv()), Ok(3)))
    });
    let LockProfiles { block, mutex, .. } = session.stop().unwrap();
    let own = block.filter("tenant", "own");
    assert_near("an own lock", total(&own, "holder_tenant", "holder"), truth);
    assert_near("an own lock's hold", total(&mutex, "tenant", "holder"), made);
    assert_near("a channel", total(&block.filter("state", "blocked"), "tenant", "channel"), received);
}

#[test]
fn many_threads_on_one_lock_wait_as_long_as_their_holders_made_them() {
    let _alone = alone();
    const THREADS: u64 = 4;
    let (lock, end) = (Mutex::new(0_u64), Instant::now() + Duration::from_millis(400));
    let session = locks().start().unwrap();
    let waited: u64 = std::thread::scope(|scope| {
        let work = |_| {
            scope.spawn(|| {
                let mut waited = 0;
                while Instant::now() < end {
                    let start = Instant::now();
                    let mut guard = lock.lock();
                    waited += start.elapsed().as_nanos() as u64;
                    *guard += 1;
                    std::thread::sleep(Duration::from_micros(300));
                }
                waited
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let LockProfiles { block, mutex, .. } = session.stop().unwrap();
    assert_near("waits", block.total() as u64, waited);
    // Less what passes between a release and the end of a wait.
    let held = mutex.total() as f64 / block.total() as f64;
    eprintln!(
        "{held:.3} of it by holds; {} dropped",
        block.stats().dropped.iter().map(|(_, n)| n).sum::<u64>()
    );
    assert!((0.5..=1.01).contains(&held), "{held}");
}

/// Whoever faces a deadlock sees who waits, where and in which query, although no wait ends.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn waits_that_do_not_end_count_to_the_profiles_end() {
    use stagelight_tests::until_asleep;

    /// Takes the lock in a query.
    #[query(name = "locks.keep", key = "keep", tenant = "keeper")]
    fn keep<'a>(lock: &'a Mutex<()>) -> impl Drop + use<'a> {
        lock.lock()
    }
    let _alone = alone();
    let (before, since) = (Mutex::new(()), Mutex::new(()));
    let (ready, done) = (Condvar::new(), Mutex::new(false));
    let (sender, receiver) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let kept_before = keep(&before);
        until_asleep(scope, || _ = wait("early", || drop(before.lock())));
        until_asleep(scope, || _ = wait("notified", || ready.wait_while(&mut done.lock(), |done| !*done)));
        until_asleep(scope, move || _ = wait("told", || _ = waiting(|| receiver.recv())));
        let session = locks().start().unwrap();
        let start = Instant::now();
        let kept_since = keep(&since);
        until_asleep(scope, || _ = wait("late", || drop(since.lock())));
        let late = Instant::now();
        std::thread::sleep(20 * HOLD);
        let [all, part] = [start, late].map(|start| start.elapsed().as_nanos() as u64);
        let LockProfiles { block, mutex, .. } = session.stop().unwrap();
        drop((kept_before, kept_since, sender));
        *done.lock() = true;
        ready.notify_all();
        for (tenant, state, holder) in [
            ("early", "lock", ""),
            ("notified", "condvar", ""),
            ("told", "blocked", ""),
            ("late", "lock", "keeper"),
        ] {
            let waits = block.filter("tenant", tenant);
            let waited = waits.total() as u64;
            eprintln!("{tenant}: {waited} of {all}, {part} ns");
            assert!(
                waited >= part && waited as f64 <= 1.05 * all as f64,
                "{tenant}: {waited} of {all}, {part} ns"
            );
            assert_eq!(total(&waits, "state", state), waited, "{tenant}");
            assert_eq!(total(&waits, "holder_tenant", holder), waited, "{tenant}");
            let text = folded(&waits);
            assert!(text.contains("locks::wait") && text.contains(";[still waiting] "), "{text}");
            assert!(!text.contains("stagelight_profiler::lock::"), "{text}");
        }
        let notes = &block.stats().notes;
        assert!(notes.contains(&"3 threads waited throughout".to_owned()), "{notes:?}");
        assert!(notes.iter().any(|note| note.starts_with("1 more wait had not ended")), "{notes:?}");
        let notes = &mutex.stats().notes;
        let told = |note: &String| note.starts_with("2 waits for locks have not ended");
        assert!(notes.iter().any(told), "{notes:?}");
    });
}

#[test]
fn a_client_gets_who_waits_for_whom() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let get = |path: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(format!("http://{}{path}", server.local_addr())).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    };
    let (lock, done) = (Mutex::new(()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) == 0 {
                    let taken = Barrier::new(1);
                    hold(|| lock.lock(), &taken, drop);
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for path in ["mutex", "block"] {
                let path = format!("/debug/pprof/{path}?seconds=0.3");
                let (status, text) = get(&format!("{path}&format=folded&by=holder_tenant"));
                let text = String::from_utf8(text).unwrap();
                assert_eq!(status, 200, "{text}");
                assert!(text.contains("holder_tenant: holder;"), "{text}");
                for (format, beginning) in [
                    ("pprof", &[0x1f, 0x8b][..]),
                    ("svg", b"<?xml"),
                    ("icicle", b"<?xml"),
                    ("speedscope", b"{"),
                    ("firefox", b"{"),
                    ("top", b"Time "),
                ] {
                    let (status, body) = get(&format!("{path}&format={format}"));
                    assert_eq!(status, 200, "{format}");
                    assert!(body.starts_with(beginning), "{format}: {}", String::from_utf8_lossy(&body));
                }
                let (status, error) = get(&format!("{path}&holder_tenant=nobody"));
                assert_eq!(status, 400);
                assert!(String::from_utf8(error).unwrap().contains("holder_tenant=holder"));
            }
        }));
        done.store(1, Ordering::Relaxed);
        result.unwrap();
    });
}

#[test]
fn locks_in_the_shape_of_std_tell_who_waited_and_who_held() {
    use stagelight::sync::{Condvar, Mutex, RwLock};

    let _alone = alone();
    let (mutex, lock) = (Mutex::new(0), RwLock::new(0));
    let (mut waited, mut made) = ([0; 2], [0; 2]);
    let session = locks().start().unwrap();
    for _ in 0..15 {
        let taken = Barrier::new(2);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| hold(|| mutex.lock().unwrap(), &taken, drop));
            taken.wait();
            let (start, ns) = wait("mutex", || *mutex.lock().unwrap() += 1);
            waited[0] += ns;
            made[0] += made_wait(start, holder.join().unwrap());
            let holder = scope.spawn(|| hold(|| lock.read().unwrap(), &taken, drop));
            taken.wait();
            let (start, ns) = wait("writer", || *lock.write().unwrap() += 1);
            waited[1] += ns;
            made[1] += made_wait(start, holder.join().unwrap());
        });
    }
    // A holder that panics has made others wait like any other, and its poison is handed on.
    let taken = Barrier::new(2);
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _held = mutex.lock().unwrap();
            hold(|| (), &taken, |()| panic!("as the test wants, with the lock held"));
        });
        taken.wait();
        wait("after panic", || assert!(mutex.lock().is_err()));
        assert!(holder.join().is_err());
    });
    mutex.clear_poison();
    let ready = Condvar::new();
    let notified = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            wait("notified", || {
                let guard = mutex.lock().unwrap();
                *ready.wait_while(guard, |count| *count < 100).unwrap() = 0;
            })
            .1
        });
        std::thread::sleep(4 * HOLD);
        *mutex.lock().unwrap() = 100;
        ready.notify_one();
        waiter.join().unwrap()
    });
    let LockProfiles { block, mutex: holds, .. } = session.stop().unwrap();
    assert_near("the mutex's waits", total(&block, "tenant", "mutex"), waited[0]);
    assert_near("the writer's waits", total(&block, "tenant", "writer"), waited[1]);
    for tenant in ["mutex", "writer"] {
        let of_it = block.filter("tenant", tenant);
        let all = of_it.total() as u64;
        assert_nearly_all("waits for the holder", total(&of_it, "holder_tenant", "holder"), all);
        assert_nearly_all("as waits for a lock", total(&of_it, "state", "lock"), all);
    }
    assert!(total(&block, "tenant", "after panic") as f64 > 0.5 * HOLD.as_nanos() as f64);
    let condvar = block.filter("state", "condvar");
    assert_near("the notification", total(&condvar, "tenant", "notified"), notified);
    assert_near("holds", total(&holds, "tenant", "holder"), made[0] + made[1]);
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let text = [folded(&block), folded(&holds)].concat();
        assert!(text.contains("locks::wait") && text.contains("locks::hold"), "{text}");
        let ours = ["stagelight::sync::", "stagelight::lock::", "stagelight_profiler::lock::"];
        assert!(!ours.iter().any(|name| text.contains(name)), "the locks' own frames are taken off: {text}");
    }
}
