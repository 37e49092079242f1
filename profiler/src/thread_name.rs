//! What threads are called in profiles.
//!
//! A thread that is given no name has that of the one that started it, and so most often the
//! program's. Such threads carry their id, `orders/1234`, so that they can be told apart.

use std::sync::atomic::{AtomicU64, Ordering};

/// The name, up to the first 0: as much as the kernel keeps, a slash and an id.
pub(crate) type ThreadName = [u8; 24];

/// What the kernel keeps of a name, with a 0 at its end.
const KEPT: usize = 16;

/// The program's name in two words, so that signal handlers can read it.
static PROGRAM: [AtomicU64; KEPT / 8] = [const { AtomicU64::new(0) }; KEPT / 8];

/// Looks what the program is called, which is what its first thread is. To be called as a profile
/// starts.
pub(crate) fn learn_program() {
    let mut name = [0; KEPT];
    let comm = std::fs::read("/proc/self/comm").unwrap_or_default();
    let line = comm.split(|&byte| byte == b'\n').next().unwrap_or_default();
    name.iter_mut().zip(line.iter().take(KEPT - 1)).for_each(|(place, &byte)| *place = byte);
    for (word, bytes) in PROGRAM.iter().zip(name.chunks_exact(8)) {
        word.store(bytes.try_into().map_or(0, u64::from_ne_bytes), Ordering::Relaxed);
    }
}

/// What the calling thread is called. Takes two system calls, about half a microsecond;
/// async-signal-safe.
#[cfg(target_os = "linux")]
pub(crate) fn own() -> ThreadName {
    let mut name = [0; KEPT];
    // SAFETY: the name goes to 16 bytes of ours, which is all that the call writes; it is a plain
    // system call.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    // SAFETY: gettid has no preconditions.
    of(unsafe { libc::gettid() }, &name)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn own() -> ThreadName {
    ThreadName::default()
}

/// What a thread is called that the kernel knows by that name. Async-signal-safe.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody asks"))]
pub(crate) fn of(tid: i32, kernels: &[u8]) -> ThreadName {
    let mut name = ThreadName::default();
    let kept = kernels.iter().take(KEPT - 1).take_while(|&&byte| byte != 0);
    name.iter_mut().zip(kept).for_each(|(place, &byte)| *place = byte);
    // The first thread has the process's id.
    if has_programs(&name) && tid.unsigned_abs() != std::process::id() {
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        add_id(&mut name[end..], tid.unsigned_abs());
    }
    name
}

fn has_programs(name: &ThreadName) -> bool {
    let mut words = PROGRAM.iter().zip(name.chunks_exact(8));
    let same = |(word, bytes): (&AtomicU64, &[u8])| word.load(Ordering::Relaxed).to_ne_bytes() == bytes;
    name[0] != 0 && words.all(same)
}

/// `/1234`, if there is room. Ids have seven digits at most.
fn add_id(room: &mut [u8], id: u32) {
    let digits = id.checked_ilog10().unwrap_or(0) as usize + 1;
    let Some(room) = room.get_mut(..=digits) else { return };
    let mut left = id;
    for place in room.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    room[0] = b'/';
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn text(name: ThreadName) -> String {
        String::from_utf8(name.into_iter().take_while(|&byte| byte != 0).collect()).unwrap()
    }

    #[test]
    fn a_thread_with_the_programs_name_carries_its_id() {
        learn_program();
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        let program = comm.trim_end_matches('\n');
        assert_eq!(text(of(4_194_304, program.as_bytes())), format!("{program}/4194304"));
        assert_eq!(text(of(7, program.as_bytes())), format!("{program}/7"));
        assert_eq!(text(of(std::process::id() as i32, program.as_bytes())), program);
        assert_eq!(text(of(7, b"worker\0x")), "worker");
        assert_eq!(text(of(7, b"")), "");
        let named = std::thread::Builder::new().name("named".into()).spawn(own).unwrap();
        assert_eq!(text(named.join().unwrap()), "named");
    }
}
