//! What `/api/v1/heap` takes.

use super::table::{Parameter, Parameters};

/// How the heap shall be sampled; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeapParams {
    /// `lg_sample=`: one in two to the power of this many bytes, or not at all.
    pub lg_sample: Option<Option<u32>>,
    /// `focus=`: the label and the value that stacks are taken of, or of all.
    pub focus: Option<Option<(String, String)>>,
}

type Row = Parameter<HeapParams>;

/// `/api/v1/heap`
pub static HEAP: Parameters<HeapParams> = Parameters::checked(
    &[&[
        Row {
            name: "lg_sample",
            read: |params, _, value| {
                let rate = match value {
                    "off" => None,
                    rate => Some(rate.parse().map_err(|_| "a whole number or off")?),
                };
                params.lg_sample = Some(rate);
                Ok(())
            },
        },
        Row {
            name: "focus",
            read: |params, _, value| {
                let focus = match value {
                    "off" => None,
                    focus => Some(
                        focus
                            .split_once(':')
                            .map(|(label, value)| (label.to_owned(), value.to_owned()))
                            .ok_or("a label and its value, such as tenant:acme, or off")?,
                    ),
                };
                params.focus = Some(focus);
                Ok(())
            },
        },
    ]],
    |params| match params {
        HeapParams { lg_sample: None, focus: None } => {
            Err("nothing to switch: there are lg_sample=10 to 30 or off, and focus=tenant:acme or off".into())
        }
        _ => Ok(()),
    },
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_heap_is_sampled_is_read_or_refused() {
        let focus = |label: &str, value: &str| Some(Some((label.to_owned(), value.to_owned())));
        for (query, expected) in [
            ("lg_sample=17", HeapParams { lg_sample: Some(Some(17)), focus: None }),
            ("lg_sample=off&focus=off", HeapParams { lg_sample: Some(None), focus: Some(None) }),
            ("focus=tenant%3Aa%3Ab", HeapParams { lg_sample: None, focus: focus("tenant", "a:b") }),
        ] {
            assert_eq!(HEAP.parse(query), Ok(expected));
        }
        for (query, allowed) in [
            ("", "10 to 30"),
            ("lg_sample=x", "whole number"),
            ("focus=acme", "tenant:acme"),
            ("lg_samples=17", "Did you mean lg_sample?"),
        ] {
            assert!(HEAP.parse(query).unwrap_err().contains(allowed));
        }
    }
}
