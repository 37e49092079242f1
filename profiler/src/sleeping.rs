//! Threads that sleep, looked at from outside: no signal is sent, so nothing that they wait in ends.
//!
//! The kernel tells where a sleeping thread stands (`/proc/self/task/TID/syscall`: the stack pointer
//! and the instruction pointer). Its stack is copied through `/proc/self/mem`, which fails where
//! memory is gone, and walked in the copy. Whether it ran meanwhile is told by its context
//! switches.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::own_threads;
use crate::profile::{Context, PATH};
use crate::thread_name;
use crate::unwind::{self, End, Registers};

/// As much of a stack as is copied.
const STACK_BYTES: usize = 128 << 10;

/// What a thread stands at, as the kernel tells it.
/// Source: proc_pid_status(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `S` or `D` while it waits.
    state: char,
    /// Context switches so far: of its own will, and against it.
    pub(crate) switches: [i64; 2],
    name: String,
}

impl Standing {
    /// Of a thread of the process; `None` if it has ended. Reads a file, some 20 µs.
    pub(crate) fn of(tid: i32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
        let field = |name| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim_matches(['\t', ' ']))
        };
        let count = |name| field(name).and_then(|count| count.parse().ok());
        Some(Self {
            state: field("State:")?.chars().next()?,
            switches: [count("voluntary_ctxt_switches:")?, count("nonvoluntary_ctxt_switches:")?],
            name: field("Name:")?.to_owned(),
        })
    }

    /// Whether it waits for something.
    pub(crate) fn sleeps(&self) -> bool {
        matches!(self.state, 'S' | 'D')
    }

    /// Whether it runs, or could.
    pub(crate) fn runs(&self) -> bool {
        self.state == 'R'
    }

    /// Whether it is one of the profiler's or the collector's.
    pub(crate) fn is_ours(&self) -> bool {
        own_threads::is_own(self.name.as_bytes())
    }
}

/// What is needed to look at sleeping threads.
pub(crate) struct Looker {
    memory: Option<File>,
    /// The stages, outermost first, and the label set of each thread that is in some.
    activities: HashMap<u32, (Vec<u32>, u32)>,
    room: Vec<u8>,
}

impl Looker {
    /// Reads what all threads are in.
    pub(crate) fn new() -> Self {
        unwind::refresh();
        let activities = stagelight::__private::activities().into_iter();
        Self {
            memory: File::open("/proc/self/mem").ok(),
            activities: activities.map(|(tid, path, labels)| (tid, (path, labels))).collect(),
            room: vec![0; STACK_BYTES],
        }
    }

    /// The thread's name, and the stages and labels that it is in.
    pub(crate) fn context(&self, tid: i32, standing: &Standing) -> Context {
        let thread = thread_name::of(tid, standing.name.as_bytes());
        let mut context = Context { thread, ..Context::default() };
        if let Some((path, labels)) = self.activities.get(&(tid as u32)) {
            context.labels = *labels;
            context.depth = path.len().min(PATH) as u16;
            context.path.iter_mut().zip(path).for_each(|(place, stage)| *place = *stage as u16);
            // Of a deeper path the outer ones and the innermost.
            if let (Some(last), true) = (path.last(), path.len() > PATH) {
                context.path[PATH - 1] = *last as u16;
            }
        }
        context
    }

    /// Walks the stack of a thread that slept as it stood so: how many frames, and whether they reach
    /// the thread's start. Some 50 µs. No frames where the kernel does not tell where it sleeps;
    /// `None` if it ran meanwhile.
    pub(crate) fn stack(
        &mut self,
        tid: i32,
        standing: &Standing,
        frames: &mut [u64],
    ) -> Option<(usize, bool)> {
        let walked = self.walk(tid, frames);
        (Standing::of(tid).as_ref() == Some(standing)).then(|| walked.unwrap_or((0, false)))
    }

    fn walk(&mut self, tid: i32, frames: &mut [u64]) -> Option<(usize, bool)> {
        let registers = registers(tid)?;
        let copied = self.memory.as_ref()?.read_at(&mut self.room, registers.sp).ok()?;
        let words: Vec<u64> = self.room[..copied]
            .chunks_exact(size_of::<u64>())
            .map(|word| word.try_into().map_or(0, u64::from_ne_bytes))
            .collect();
        let (depth, end) = unwind::walk_copy(registers, &words, tid as usize, frames);
        Some((depth, end == End::Start))
    }
}

/// Stands for the frame pointer, which is not told: below all stacks, so that no table leads on by it.
const UNKNOWN: u64 = 8;

/// Where a sleeping thread stands.
/// Source: proc_pid_syscall(5).
fn registers(tid: i32) -> Option<Registers> {
    let line = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).ok()?;
    parse(&line)
}

/// A call with its arguments, or a negative number for none; then the stack pointer and the
/// instruction pointer.
fn parse(line: &str) -> Option<Registers> {
    let mut last = line.split_ascii_whitespace().rev();
    let mut address = || u64::from_str_radix(last.next()?.strip_prefix("0x")?, 16).ok();
    let (ip, sp) = (address()?, address()?);
    Some(Registers { ip, sp, bp: UNKNOWN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_thread_stands_is_read_from_the_kernels_line() {
        let found = |line| parse(line).map(|registers| (registers.sp, registers.ip));
        let call = "202 0x7f 0x80 0x0 0x0 0x0 0x0 0x7ffd10 0x5555aa\n";
        assert_eq!(found(call), Some((0x7ff_d10, 0x55_55aa)));
        assert_eq!(found("-1 0x10 0x20"), Some((0x10, 0x20)));
        assert_eq!(found("running\n"), None);
        assert_eq!(found(""), None);
    }

    #[inline(never)]
    fn wait_here(receiver: &std::sync::mpsc::Receiver<()>) {
        let received = receiver.recv();
        std::hint::black_box(received).unwrap();
    }

    #[test]
    fn a_sleeping_thread_is_walked_to_its_start() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (told, tid) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // SAFETY: gettid has no preconditions.
                told.send(unsafe { libc::gettid() }).unwrap();
                wait_here(&receiver);
            });
            let tid = tid.recv().unwrap();
            let mut looker = Looker::new();
            let (mut frames, mut found) = ([0; 250], None);
            // Until it sleeps.
            for _ in 0..1000 {
                let standing = Standing::of(tid).unwrap();
                if standing.sleeps() {
                    found = looker.stack(tid, &standing, &mut frames);
                }
                if found.is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            sender.send(()).unwrap();
            let (depth, complete) = found.unwrap();
            assert!(complete && depth > 5, "{depth} frames: {:x?}", &frames[..depth]);
            let place = wait_here as *const () as u64;
            assert!(frames[..depth].iter().any(|frame| (place..place + 4096).contains(frame)));
        });
    }
}
