//! A process that forks while its threads record: the child goes on by itself, and nothing in it waits for threads that
//! exist in the parent alone.
#![cfg(unix)]

use std::sync::atomic::{AtomicBool, Ordering};

use stagelight::{Counter, Snapshot, query, snapshot, stage};
use stagelight_tests::{child, is_child, succeed};

static FORKS: Counter = Counter::new("fork_counted_total", "Counted by the forking thread and its children.");

#[stage(name = "fork.busy")]
fn busy() {
    short();
}

#[stage(name = "fork.short")]
fn short() {}

#[query(name = "fork.child", key = key, tenant = "fork")]
fn in_child(key: u32) {
    short();
    FORKS.inc();
    let active = stagelight::active();
    // SAFETY: getpid has no preconditions.
    let thread = unsafe { libc::getpid() } as u32;
    let paths: Vec<_> = active.iter().map(|active| (active.thread, active.path.as_slice())).collect();
    assert_eq!(paths, [(thread, ["fork.child"].as_slice())], "the parent's threads are not here");
}

fn touch() {
    short();
    FORKS.add(0);
}

fn calls(snapshot: &Snapshot, stage: &str) -> u64 {
    snapshot.stage(stage).map_or(0, |stage| stage.calls)
}

/// What the forked process does: all of it on the one thread that it has, but for a last one.
fn after_fork(before: &Snapshot, key: u32) {
    const CALLS: u64 = 100;
    let start = snapshot();
    // Frozen: what the parent's threads had counted, up to the instant of the fork.
    assert!(calls(&start, "fork.busy") >= calls(before, "fork.busy"));
    (0..CALLS).for_each(|_| in_child(key));
    let end = snapshot();
    let recorded = |stage| calls(&end, stage) - calls(&start, stage);
    assert_eq!((recorded("fork.child"), recorded("fork.short"), recorded("fork.busy")), (CALLS, CALLS, 0));
    assert_eq!(end.recorder.threads, 1);
    assert_eq!(end.metrics.len(), 1);
    // Blocks of the parent's threads serve the child's: no new one is needed.
    // Not by `std`: a new thread of its takes a lock of its own, for the message on a stack overflow, which another thread
    // of the parent's may have held as it began.
    extern "C" fn short_there(_: *mut libc::c_void) -> *mut libc::c_void {
        short();
        std::ptr::null_mut()
    }
    let mut thread = std::mem::MaybeUninit::uninit();
    let none = std::ptr::null_mut();
    // SAFETY: the function suits, takes nothing, and the thread is waited for once.
    unsafe {
        assert_eq!(libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), short_there, none), 0);
        assert_eq!(libc::pthread_join(thread.assume_init(), std::ptr::null_mut()), 0);
    }
    let last = snapshot();
    assert_eq!(calls(&last, "fork.short"), calls(&end, "fork.short") + 1);
    assert_eq!(last.recorder.blocks, start.recorder.blocks);
}

#[test]
fn a_forked_process_records_apart_and_waits_for_nobody() {
    if !is_child() {
        // Nothing but this in the process that forks.
        succeed(&mut child("a_forked_process_records_apart_and_waits_for_nobody"));
        return;
    }
    let stop = AtomicBool::new(false);
    let going = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        // Threads that record, and threads that come and go and so take the locks, as does who looks.
        scope.spawn(|| {
            while going() {
                busy()
            }
        });
        scope.spawn(|| {
            while going() {
                std::thread::spawn(touch).join().unwrap()
            }
        });
        scope.spawn(|| {
            while going() {
                std::thread::spawn(touch).join().unwrap()
            }
        });
        scope.spawn(|| {
            while going() {
                drop(snapshot())
            }
        });
        while calls(&snapshot(), "fork.busy") == 0 {
            std::thread::yield_now();
        }
        for key in 0..200 {
            short();
            let before = snapshot();
            // SAFETY: the child calls what is safe with the allocator's and our own locks, and ends by `_exit`.
            match unsafe { libc::fork() } {
                0 => {
                    // SAFETY: a process of its own, which a deadlock must not keep for ever.
                    unsafe { libc::alarm(20) };
                    let sound = std::panic::catch_unwind(|| after_fork(&before, key)).is_ok();
                    // SAFETY: ends the process at once, as it must: its destructors are the parent's.
                    unsafe { libc::_exit(if sound { 0 } else { 1 }) }
                }
                process => {
                    assert!(process > 0, "{}", std::io::Error::last_os_error());
                    let mut status = 0;
                    // SAFETY: the place to write to is ours.
                    assert_eq!(unsafe { libc::waitpid(process, &raw mut status, 0) }, process);
                    let exited = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
                    if !exited {
                        stop.store(true, Ordering::Relaxed);
                    }
                    assert!(exited, "fork {key}: status {status:x} (14 is a deadlock)");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Nothing of what the children recorded is here.
    let end = snapshot();
    assert!(end.stage("fork.child").is_none() && end.statements.is_empty());
}
