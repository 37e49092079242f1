//! One walk from a set of registers to the thread's start.

use std::cell::Cell;

use framehop::x86_64::UnwindRegsX86_64;
use framehop::{Error, FrameAddress, Unwinder as _};

use super::caches::{Cache, Memory};
use super::modules::Modules;
use super::stack::{StackReader, copy};
use super::trail::{Step, Steps, Trail};
use super::{NOT_UNWOUND, TOO_DEEP, caches, published};

/// The registers that a walk starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the thread's start.
    Start,
    /// Before it: a frame without a table, or memory that can't be read.
    Lost,
    /// Before it: there was no room for more frames.
    Full,
    /// It never began: no cache was free.
    Busy,
}

/// Writes the frames' addresses into `frames`, innermost first, and says how many and how it ended. Addresses are
/// those to look up: a caller's lies within its call instruction. A stack that does not reach the thread's start ends in
/// [`TOO_DEEP`] or [`NOT_UNWOUND`], so that it is not taken for one that does.
///
/// `hint` is any number that is mostly the same for a thread, such as its id.
///
/// Async-signal-safe and free of allocation.
///
/// A walk that interrupts another on the same thread, as a CPU sample within the heap's hook does, starts where that one
/// did: from the stack that a walk runs on no way leads to the thread's.
pub(crate) fn walk(registers: Registers, hint: usize, frames: &mut [u64]) -> (usize, End) {
    thread_local!(static WALKED: Cell<Option<Registers>> = const { Cell::new(None) });
    let interrupted = WALKED.get();
    let registers = interrupted.unwrap_or(registers);
    WALKED.set(Some(registers));
    let walked = walk_in(StackReader::new(registers.sp), registers, hint, frames);
    WALKED.set(interrupted);
    walked
}

/// Walks another thread's stack, of which `words` is a copy from its stack pointer on, as [`walk`]
/// does. Where the frame pointer is unknown, it is an address below the stack: if the tables need it,
/// the next return address from which they lead to the thread's start is taken.
pub(crate) fn walk_copy(
    registers: Registers,
    words: &[u64],
    hint: usize,
    frames: &mut [u64],
) -> (usize, End) {
    walk_in(StackReader::of_copy(registers.sp, words), registers, hint, frames)
}

fn walk_in(stack: StackReader<'_>, registers: Registers, hint: usize, frames: &mut [u64]) -> (usize, End) {
    let walked = published::with(|modules| {
        caches::with(hint, |Memory { rules, trail, fresh }| {
            trail.begin(modules.number);
            fresh.clear();
            Walk { modules, rules, trail, fresh, joined: 0, stack }.run(registers, frames)
        })
    });
    let (depth, end) = walked.flatten().unwrap_or((0, End::Busy));
    match (end, depth) {
        (End::Full, 1..) => frames[depth - 1] = TOO_DEEP,
        (End::Lost, _) if depth < frames.len() => {
            frames[depth] = NOT_UNWOUND;
            return (depth + 1, end);
        }
        _ => {}
    }
    (depth, end)
}

/// A walk's tools.
struct Walk<'a> {
    modules: &'a Modules,
    rules: &'a mut Cache,
    trail: &'a mut Trail,
    /// The steps of this one, as far as it is not that of the trail.
    fresh: &'a mut Steps,
    /// Frames of the trail that this one goes by.
    joined: usize,
    stack: StackReader<'a>,
}

impl Walk<'_> {
    fn run(&mut self, Registers { ip, sp, bp }: Registers, frames: &mut [u64]) -> (usize, End) {
        let mut sure = (0, sp);
        let address = FrameAddress::from_instruction_pointer(ip);
        let regs = UnwindRegsX86_64::new(ip, sp, bp);
        let (count, end) = self.follow(address, regs, frames, &mut sure);
        if end == End::Start {
            self.trail.remember(self.joined, self.fresh);
        }
        // Of a copy not even the first frame's registers are all known.
        if end != End::Lost || count < 2 && !self.stack.is_copy() {
            return (count, end);
        }
        // What the search has tried in vain stands where frames of unknown code stood.
        self.search(sure, frames).unwrap_or((sure.0, end))
    }

    /// Follows the tables from a frame on. Notes how many frames are sure, since there is code, and the stack pointer of the
    /// last of these. A frame of code that was made at run time may have one after it all the same.
    fn follow(
        &mut self,
        mut address: FrameAddress,
        mut regs: UnwindRegsX86_64,
        frames: &mut [u64],
        sure: &mut (usize, u64),
    ) -> (usize, End) {
        let (mut count, mut ahead) = (0, self.trail.len());
        loop {
            let Some(frame) = frames.get_mut(count) else { return (count, End::Full) };
            *frame = address.address_for_lookup();
            count += 1;
            let mut step = Step::new(*frame, regs.sp(), regs.bp());
            if count > 1
                && let Some(outer) = self.trail.join(&mut ahead, &step, &mut self.stack)
            {
                // This frame too is one of the trail's.
                self.joined = outer.len() + 1;
                for step in outer.iter().rev() {
                    let Some(frame) = frames.get_mut(count) else { return (count, End::Full) };
                    *frame = step.lookup;
                    count += 1;
                }
                return (count, End::Start);
            }
            if self.modules.is_code(step.lookup) {
                *sure = (count, regs.sp());
            }
            let mut read = |address| {
                let word = self.stack.read(address);
                step.note(address, word);
                word
            };
            let unwound = self.modules.unwinder.unwind_frame(address, &mut regs, self.rules, &mut read);
            // The first frame is elsewhere by the next walk, and what leads on from it is found in another way: its address is
            // where it is, and not where it will come back to.
            if count > 1 {
                self.fresh.push(step);
            }
            match unwound {
                Ok(Some(caller)) => match FrameAddress::from_return_address(caller) {
                    Some(caller) => address = caller,
                    None => return (count, End::Start),
                },
                // A null return address is how a thread's or a coroutine's first frame is marked.
                Ok(None) | Err(Error::ReturnAddressIsNull) => return (count, End::Start),
                Err(_) => return (count, End::Lost),
            }
        }
    }

    /// Where the tables lead nowhere, looks up the stack for a return address from which they lead to the thread's start. That
    /// happens while a panic unwinds: the unwinder writes the registers of the frame that it goes to over those that
    /// its own callers had saved, so their frame pointers are not theirs.
    fn search(&mut self, (count, sp): (usize, u64), frames: &mut [u64]) -> Option<(usize, End)> {
        /// Words of the stack that are looked at, and return addresses that are tried.
        const WORDS: u64 = 128;
        const TRIES: u32 = 6;
        let mut tries = 0;
        for place in (0..WORDS).map(|word| sp + 8 * word) {
            let Ok(value) = self.stack.read(place) else { break };
            if !self.modules.is_code(value.wrapping_sub(1)) || !is_after_call(value) {
                continue;
            }
            let Some(caller) = FrameAddress::from_return_address(value) else { continue };
            let bp = place.checked_sub(8).map_or(0, |below| self.stack.read(below).unwrap_or(0));
            let regs = UnwindRegsX86_64::new(value, place + 8, bp);
            let (more, end) = self.follow(caller, regs, frames.get_mut(count..)?, &mut (0, 0));
            if matches!(end, End::Start | End::Full) {
                return Some((count + more, end));
            }
            tries += 1;
            if tries == TRIES {
                break;
            }
        }
        None
    }
}

/// Whether the instruction before an address of code may be a call: direct, or through a register or memory, of any length.
fn is_after_call(address: u64) -> bool {
    // Copied by the kernel, because a library's code may be unloaded by now.
    let Ok(word) = copy(address.wrapping_sub(8)) else { return false };
    let bytes = word.to_le_bytes();
    let is_indirect = |at: usize| bytes[at] == 0xff && bytes[at + 1] >> 3 & 7 == 2;
    bytes[3] == 0xe8 || is_indirect(6) || is_indirect(5) || is_indirect(4) || is_indirect(2) || is_indirect(1)
}

/// A number for `walk` that a thread keeps for its life: the address of a thread-local, in pages. Async-signal-safe.
pub(crate) fn thread_hint() -> usize {
    thread_local!(static PLACE: Cell<u8> = const { Cell::new(0) });
    PLACE.with(|place| std::ptr::from_ref(place) as usize >> 12)
}

impl Registers {
    /// The registers that a signal interrupted.
    ///
    /// # Safety
    /// `context` is the third argument of a handler that was installed with `SA_SIGINFO`.
    pub(crate) unsafe fn interrupted(context: *const libc::c_void) -> Self {
        // SAFETY: by the caller's promise.
        let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let get = |register: libc::c_int| registers[register as usize] as u64;
        Self { ip: get(libc::REG_RIP), sp: get(libc::REG_RSP), bp: get(libc::REG_RBP) }
    }

    /// The registers of the function into which this is inlined.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (ip, sp, bp): (u64, u64, u64);
        // SAFETY: only reads registers.
        unsafe {
            std::arch::asm!(
                "lea {ip}, [rip]",
                "mov {sp}, rsp",
                "mov {bp}, rbp",
                ip = out(reg) ip,
                sp = out(reg) sp,
                bp = out(reg) bp,
                options(nostack, nomem, preserves_flags),
            );
        }
        Self { ip, sp, bp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn deeper(depth: u32, frames: &mut [u64]) -> (usize, End) {
        if depth == 0 {
            let walked = walk(Registers::here(), 0, frames);
            return std::hint::black_box(walked);
        }
        let walked = deeper(depth - 1, frames);
        std::hint::black_box(walked)
    }

    #[test]
    fn a_walk_reaches_the_thread_start_from_any_depth() {
        published::refresh();
        for depth in [0, 1, 50] {
            let mut frames = [0; 200];
            let (count, end) = deeper(depth, &mut frames);
            assert_eq!(end, End::Start);
            assert!(count as u32 > depth && frames[..count].iter().all(|&frame| frame != 0));
        }
    }

    #[test]
    fn a_walk_that_fills_its_room_says_so() {
        published::refresh();
        let mut frames = [0; 20];
        assert_eq!(deeper(50, &mut frames), (20, End::Full));
        assert!(frames[19] == TOO_DEEP && frames[..19].iter().all(|&frame| frame < TOO_DEEP));
    }

    /// What a walk gives that remembers nothing.
    fn afresh(registers: Registers, frames: &mut [u64]) -> (usize, End) {
        let forget = |modules: &Modules| {
            caches::with(1, |Memory { rules, fresh, .. }| {
                fresh.clear();
                let (stack, trail) = (StackReader::new(registers.sp), &mut Trail::new());
                Walk { modules, rules, trail, fresh, joined: 0, stack }.run(registers, frames)
            })
        };
        published::with(forget).flatten().unwrap_or((0, End::Busy))
    }

    /// Three functions with frames of different sizes, whose room holds what was there before: return addresses of other calls
    /// among it. They call each other and walk as the bits of `way` say.
    macro_rules! function {
        ($name:ident, $words:literal) => {
            #[inline(never)]
            fn $name(way: &mut u64, depth: u32, walks: &mut u32) -> u64 {
                let mut room = std::mem::MaybeUninit::<[u64; $words]>::uninit();
                std::hint::black_box(&mut room);
                let mut sum = 0;
                for _ in 0..2 {
                    *way =
                        way.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    sum += match *way >> 61 {
                        _ if depth == 0 => compare(walks),
                        0 | 1 => first(way, depth - 1, walks),
                        2 | 3 => second(way, depth - 1, walks),
                        4 => third(way, depth - 1, walks),
                        5 => (0..*way >> 32 & 3).map(|_| compare(walks)).sum(),
                        _ => 0,
                    };
                }
                std::hint::black_box(&mut room);
                sum
            }
        };
    }
    function!(first, 2);
    function!(second, 21);
    function!(third, 160);

    #[inline(never)]
    fn compare(walks: &mut u32) -> u64 {
        let registers = Registers::here();
        let (mut by_trail, mut anew) = ([0; 120], [0; 120]);
        let (found, expected) = (walk(registers, 0, &mut by_trail), afresh(registers, &mut anew));
        assert!(expected.1 == End::Start && found == expected);
        assert_eq!(by_trail[..found.0], anew[..found.0]);
        *walks += 1;
        found.0 as u64
    }

    #[test]
    fn a_walk_by_the_trail_of_the_last_one_gives_what_one_afresh_does() {
        published::refresh();
        let mut walks = 0;
        for seed in 0..400_u64 {
            let mut way = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            std::hint::black_box(first(&mut way, 12, &mut walks));
        }
        assert!(walks > 1_000, "{walks}");
    }

    #[test]
    fn nonsense_registers_are_survived() {
        published::refresh();
        let here = Registers::here();
        for (ip, sp, bp) in [(0, 0, 0), (here.ip, 8, 8), (1, u64::MAX - 7, 1), (here.ip, here.sp, u64::MAX)] {
            let mut frames = [0; 64];
            let (depth, end) = walk(Registers { ip, sp, bp }, 0, &mut frames);
            assert!(matches!(end, End::Lost | End::Start));
            assert_eq!(frames[..depth].contains(&NOT_UNWOUND), end == End::Lost);
        }
    }
}
