//! jemalloc's heap dump, `heap_v2`, as text.
//!
//! ```text
//! heap_v2/524288
//!   t*: 28: 106496 [0: 0]
//!   t0: 28: 106496 [0: 0]
//! @ 0x55d0c9 0x55d1aa
//!   t*: 13: 6688 [0: 0]
//!   t0: 13: 6688 [0: 0]
//!
//! MAPPED_LIBRARIES:
//! …
//! ```
//!
//! After the sampling interval in bytes come the counts of the process (`t*`) and of each thread, then for each stack
//! the same: live objects, live bytes, and in brackets all that ever were. Source: `prof_data.c` of jemalloc 5.3.

use std::io::BufRead;

use super::super::estimate;

/// One stack of a dump.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DumpStack {
    /// Innermost first.
    pub addresses: Vec<u64>,
    /// Sampled objects that live.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Parses a dump line by line, and hands each stack with live samples to `take`. Gives the average bytes between samples.
///
/// # Errors
/// What is wrong, with the number of the line, or that it can't be read.
pub fn read(mut text: impl BufRead, mut take: impl FnMut(&DumpStack, u64)) -> Result<u64, String> {
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        text.read_until(b'\n', line).map_err(|error| format!("it can't be read: {error}"))
    };
    next(&mut line)?;
    let header = std::str::from_utf8(&line).unwrap_or_default().trim_end();
    let interval = header.strip_prefix("heap_v2/").and_then(|interval| interval.parse().ok());
    let interval = interval.ok_or("line 1: a heap dump starts with `heap_v2/` and the sampling interval")?;
    let mut stack = DumpStack::default();
    // The counts before the first stack are the process's.
    let mut in_stack = false;
    for number in 2_u64.. {
        if next(&mut line)? == 0 || line.starts_with(b"MAPPED_LIBRARIES:") {
            break;
        }
        let wrong = |what: &str| format!("line {number}: {what}");
        // A thread's name may be anything.
        let Ok(line) = std::str::from_utf8(&line) else { continue };
        if let Some(addresses) = line.strip_prefix('@') {
            if in_stack {
                take(&stack, interval);
            }
            stack.addresses.clear();
            (stack.objects, stack.bytes) = (0, 0);
            for address in addresses.split_ascii_whitespace() {
                let address = parse_address(address).ok_or_else(|| wrong("an address is not hexadecimal"))?;
                stack.addresses.push(address);
            }
            in_stack = true;
        } else if let Some(counts) = line.trim_start().strip_prefix("t*:").filter(|_| in_stack) {
            let counts = live(counts);
            (stack.objects, stack.bytes) =
                counts.ok_or_else(|| wrong("counts are written `objects: bytes [objects: bytes]`"))?;
        }
        // What is left are single threads' shares, and empty lines.
    }
    if in_stack {
        take(&stack, interval);
    }
    Ok(interval)
}

fn parse_address(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

fn live(counts: &str) -> Option<(u64, u64)> {
    let (live, _ever) = counts.split_once('[')?;
    let (objects, bytes) = live.split_once(':')?;
    Some((objects.trim().parse().ok()?, bytes.trim().parse().ok()?))
}

/// The live objects and bytes that a stack's samples stand for: each sample by the inverse of the chance that an
/// object of its size is sampled. Source: `jeprof`, `AdjustSamples`; jemalloc arranges a dump's counts so that this,
/// by a stack's average size, is exact.
#[must_use]
pub fn unbias(stack: &DumpStack, interval: u64) -> [i64; 2] {
    if stack.objects == 0 || stack.bytes == 0 || interval <= 1 {
        return [stack.objects as i64, stack.bytes as i64];
    }
    let scale = estimate::stands_for(stack.bytes as f64 / stack.objects as f64, interval);
    [stack.objects, stack.bytes].map(|count| (count as f64 * scale).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DUMP: &str = "heap_v2/524288\n  t*: 28: 106496 [0: 0]\n  t0: 28: 106496 [0: 0]\n\
        @ 0x55d0c9 0x57a6000100000002\n  t*: 13: 6688 [0: 0]\n  t0: 12: 6176 [0: 0]\n  t1: 1: 512 [0: 0] name\n\
        @ 0x10\n  t*: 1: 4096 [2: 8192]\n\nMAPPED_LIBRARIES:\n@ 0x99\n";

    fn parse(text: &str) -> Result<(u64, Vec<DumpStack>), String> {
        let mut stacks = Vec::new();
        let interval = read(text.as_bytes(), |stack, _| stacks.push(stack.clone()))?;
        Ok((interval, stacks))
    }

    #[test]
    fn stacks_and_their_process_wide_counts_are_read() {
        let (interval, stacks) = parse(DUMP).unwrap();
        assert_eq!(interval, 524_288);
        assert_eq!(
            stacks,
            [
                DumpStack { addresses: vec![0x55_d0c9, 0x57a6_0001_0000_0002], objects: 13, bytes: 6688 },
                DumpStack { addresses: vec![0x10], objects: 1, bytes: 4096 },
            ]
        );
    }

    #[test]
    fn errors_name_the_line() {
        assert!(parse("").unwrap_err().starts_with("line 1:"));
        assert!(parse("heap_v1/2\n").unwrap_err().starts_with("line 1:"));
        assert!(parse("heap_v2/2\n@ 0x1 zz\n").unwrap_err().starts_with("line 2:"));
        assert!(parse("heap_v2/2\n@ 0x1\n  t*: 1 [2: 3]\n").unwrap_err().starts_with("line 3:"));
    }

    #[test]
    fn a_sample_stands_for_what_its_size_says() {
        // An object far larger than the interval is always sampled, a tiny one stands for the whole interval.
        let large = DumpStack { objects: 3, bytes: 3 << 24, ..Default::default() };
        assert_eq!(unbias(&large, 1 << 19), [3, 3 << 24]);
        let tiny = DumpStack { objects: 1, bytes: 16, ..Default::default() };
        let [_, bytes] = unbias(&tiny, 1 << 19);
        assert!((bytes - (1 << 19)).abs() < 32, "{bytes}");
    }

    proptest! {
        #[test]
        fn anything_is_parsed_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn anything_after_a_header_is_parsed_or_refused(
            lines in prop::collection::vec(
                prop_oneof!["@( 0x[0-9a-f]{1,17}){0,4}", "  t[*0-9]: [0-9]{1,21}: [0-9]{0,3} \\[", "\\PC{0,12}"], 0..20)
        ) {
            if let Ok((interval, stacks)) = parse(&format!("heap_v2/1024\n{}", lines.join("\n"))) {
                for stack in &stacks {
                    let _ = unbias(stack, interval);
                }
            }
        }
    }
}
