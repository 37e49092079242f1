//! The stacks of samples as a tree that grows from the threads' starts: stacks that begin alike share what is alike, and one of
//! forty frames takes about as much as the few that are its own.
//!
//! Nothing is taken out: a program has so many ways to come to an allocation, which don't depend on who asks for it, as labels
//! are kept apart. Past the cap a stack keeps its outer frames.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A frame under the one that called it.
struct Node {
    address: AtomicU64,
    caller: AtomicU32,
    /// The next one in its list.
    next: AtomicU32,
}

pub(super) struct Stacks<const LISTS: usize, const NODES: usize> {
    /// The lists' first nodes, by a hash of address and caller. 0 is for none.
    lists: [AtomicU32; LISTS],
    /// From 1 on; 0 is what a thread's first frame has as its caller.
    nodes: [Node; NODES],
    used: AtomicU32,
    /// Stacks that were cut short.
    cut: AtomicU64,
}

impl<const LISTS: usize, const NODES: usize> Stacks<LISTS, NODES> {
    pub(super) const fn new() -> Self {
        const { assert!(LISTS.is_power_of_two() && NODES <= 1 << 18) };
        Self {
            lists: [const { AtomicU32::new(0) }; LISTS],
            nodes: [const {
                Node { address: AtomicU64::new(0), caller: AtomicU32::new(0), next: AtomicU32::new(0) }
            }; NODES],
            used: AtomicU32::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// The number of a stack, given innermost first: below 2^18. It allocates nothing and waits for nobody.
    pub(super) fn number(&self, stack: &[u64]) -> u32 {
        let mut caller = 0;
        for &address in stack.iter().rev() {
            let Some(node) = self.node(address, caller) else {
                self.cut.fetch_add(1, Ordering::Relaxed);
                break;
            };
            caller = node;
        }
        caller
    }

    /// The frames of a stack, innermost first.
    pub(super) fn frames(&self, number: u32) -> Vec<u64> {
        let mut frames = Vec::new();
        let mut number = number;
        while let Some(node) = self.nodes.get(number as usize).filter(|_| number != 0) {
            frames.push(node.address.load(Ordering::Relaxed));
            number = node.caller.load(Ordering::Relaxed);
        }
        frames
    }

    fn node(&self, address: u64, caller: u32) -> Option<u32> {
        let hash = (address ^ u64::from(caller) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ hash >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let list = &self.lists[(hash >> 40) as usize % LISTS];
        let mut first = list.load(Ordering::Acquire);
        if let Some(known) = self.look(address, caller, first, 0) {
            return Some(known);
        }
        let new = self.new_node()?;
        let node = &self.nodes[new as usize];
        node.address.store(address, Ordering::Relaxed);
        node.caller.store(caller, Ordering::Relaxed);
        loop {
            node.next.store(first, Ordering::Relaxed);
            match list.compare_exchange(first, new, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return Some(new),
                Err(now) => {
                    // Whoever was quicker may have had the same. Then the new node stays unused.
                    if let Some(known) = self.look(address, caller, now, first) {
                        return Some(known);
                    }
                    first = now;
                }
            }
        }
    }

    /// Looks through a list, from a node on and up to another.
    fn look(&self, address: u64, caller: u32, from: u32, to: u32) -> Option<u32> {
        let mut number = from;
        while number != to {
            let node = self.nodes.get(number as usize)?;
            if node.address.load(Ordering::Relaxed) == address
                && node.caller.load(Ordering::Relaxed) == caller
            {
                return Some(number);
            }
            number = node.next.load(Ordering::Relaxed);
        }
        None
    }

    fn new_node(&self) -> Option<u32> {
        let full = |used: u32| used as usize + 1 >= NODES;
        if full(self.used.load(Ordering::Relaxed)) {
            return None;
        }
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        (!full(used)).then_some(used + 1)
    }

    /// Stacks that lost inner frames because there was no room.
    pub(super) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Bytes that it has touched, about.
    pub(super) fn bytes(&self) -> usize {
        let used = (self.used.load(Ordering::Relaxed) as usize).min(NODES);
        size_of_val(&self.lists) + used * size_of::<Node>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_come_back_as_they_were_and_share_what_is_alike() {
        let stacks = Box::new(Stacks::<16, 1024>::new());
        let one = [30, 20, 10];
        let number = stacks.number(&one);
        assert_eq!(stacks.frames(number), one);
        assert_eq!(stacks.number(&one), number);
        let two = [31, 20, 10];
        assert_eq!(stacks.frames(stacks.number(&two)), two);
        assert_eq!(stacks.used.load(Ordering::Relaxed), 4, "two frames are shared");
        assert!(stacks.frames(stacks.number(&[])).is_empty());
    }

    #[test]
    fn a_full_tree_keeps_outer_frames_and_says_so() {
        let stacks = Box::new(Stacks::<16, 8>::new());
        let whole: Vec<u64> = (1..=5).rev().collect();
        assert_eq!(stacks.frames(stacks.number(&whole)), whole);
        let cut = [99, 98, 97, 96, 1];
        assert_eq!(stacks.frames(stacks.number(&cut)), [97, 96, 1]);
        assert_eq!(stacks.cut(), 1);
        assert_eq!(stacks.frames(stacks.number(&whole)), whole, "what is known stays known");
    }

    #[test]
    fn threads_agree_on_the_numbers() {
        let stacks = Box::new(Stacks::<4, 256>::new());
        let count = if cfg!(miri) { 15 } else { 105 };
        let of = |n: u64| [n % 7 + 100, n % 5 + 200, n % 3 + 300, 1];
        let numbers: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..count).map(|n| stacks.number(&of(n))).collect())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(numbers.iter().all(|of_thread| *of_thread == numbers[0]));
        assert!((0..).zip(&numbers[0]).all(|(n, &number)| stacks.frames(number) == of(n)));
    }
}
