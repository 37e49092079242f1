//! W3C trace context: carrying a trace into the process and out of it.
//! Source: <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::str::FromStr;

use super::thread;

/// The ids of a trace, as a `traceparent` header carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: u128,
    /// The span in it that what follows belongs to.
    pub span_id: u64,
    /// Whether it is kept for sure.
    pub sampled: bool,
}

/// Why a text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTraceparent;

impl fmt::Display for InvalidTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a traceparent is written 00-<32 hexadecimal digits>-<16>-<2>, neither id being all zeros",
        )
    }
}

impl std::error::Error for InvalidTraceparent {}

impl TraceContext {
    /// The trace that the calling thread's query belongs to, to hand on to others; its query's span is their parent.
    /// `None` if no query is followed: outside of one, when nobody takes spans, or when the query is not timed.
    #[must_use]
    pub fn current() -> Option<Self> {
        let ids = thread::present()?.spans.ids()?;
        let [high, low] = ids.trace;
        // Whether it is kept is known at its end only, unless it is told from outside.
        Some(Self { trace_id: u128::from(high) << 64 | u128::from(low), span_id: ids.root, sampled: true })
    }

    /// Makes the calling thread's query part of this trace. Call it at the query's start; does nothing if the query is not
    /// followed.
    pub fn join(self) {
        if let Some(block) = thread::present()
            && block.spans.seed() != 0
        {
            block.spans.set_remote([(self.trace_id >> 64) as u64, self.trace_id as u64, self.span_id]);
        }
    }
}

impl fmt::Display for TraceContext {
    /// As the header is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    /// Reads a header of version 00, or what a later version begins with.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            // Lower case only, and no sign, which the parser would take.
            let valid = part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            valid.then(|| u128::from_str_radix(part, 16).ok())?
        };
        let parsed = (|| Some((hex(2)?, hex(32)?, hex(16)?, hex(2)?)))();
        let rest = parts.next();
        match parsed {
            Some((version, trace_id, span_id, flags))
                if version != 0xff && trace_id != 0 && span_id != 0 && (version != 0 || rest.is_none()) =>
            {
                Ok(Self { trace_id, span_id: span_id as u64, sampled: flags & 1 == 1 })
            }
            _ => Err(InvalidTraceparent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standard_s_own_example_is_read_and_written() {
        let context: TraceContext = HEADER.parse().unwrap();
        assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(context.sampled);
        assert_eq!(context.to_string(), HEADER);
        assert_eq!(format!("01{}-what-comes-later", &HEADER[2..]).parse(), Ok(context));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        let long = format!("{HEADER}-00");
        for text in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            &long,
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceparent), "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in any::<String>()) {
            let _ = text.parse::<TraceContext>();
        }

        #[test]
        fn every_context_comes_back(trace_id in 1_u128.., span_id in 1_u64.., sampled: bool) {
            let context = TraceContext { trace_id, span_id, sampled };
            prop_assert_eq!(context.to_string().parse(), Ok(context));
        }
    }
}
