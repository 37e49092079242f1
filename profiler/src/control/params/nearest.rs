//! The right name for a mistyped one.

/// The name that was meant, if one is near: by the fewest letters that are added, left out, changed or swapped, or one that has
/// the typed letters in their order, such as `sec` and `fmt`.
pub(super) fn nearest<'a>(typed: &str, names: &[&'a str]) -> Option<&'a str> {
    /// Longer than any name. What is compared takes time by the product of the lengths.
    const LONGEST: usize = 32;
    let typed: Vec<char> = typed.chars().map(|c| c.to_ascii_lowercase()).take(LONGEST + 1).collect();
    if typed.len() > LONGEST {
        return None;
    }
    let near = names.iter().filter_map(|name| {
        let letters: Vec<char> = name.chars().collect();
        let distance = distance(&typed, &letters);
        let allowed = (typed.len().max(letters.len()) / 3).max(1);
        if distance <= allowed && distance < letters.len() {
            return Some((distance, *name));
        }
        let short = typed.len() >= 3 && is_within(&typed, &letters);
        // After all that are near by their distance.
        short.then_some((LONGEST + distance, *name))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Damerau's and Levenshtein's distance, where no letters that were swapped are changed again.
fn distance(a: &[char], b: &[char]) -> usize {
    // Rows of the table: the one before the last, the last, and the one that is made.
    let (mut before, mut last) = (vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>());
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Whether all letters are there in this order, perhaps with others between them.
fn is_within(letters: &[char], name: &[char]) -> bool {
    let mut name = name.iter();
    letters.iter().all(|letter| name.any(|other| other == letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_the_right_one_and_nonsense_none() {
        let names =
            ["seconds", "past", "hz", "format", "by", "tenant", "statement", "stage", "state", "lines"];
        for (typed, meant) in [
            ("tennant", Some("tenant")),
            ("tenat", Some("tenant")),
            ("Tenant", Some("tenant")),
            ("second", Some("seconds")),
            ("secnods", Some("seconds")),
            ("sec", Some("seconds")),
            ("fmt", Some("format")),
            ("stat", Some("state")),
            ("line", Some("lines")),
            ("satge", Some("stage")),
            ("h", Some("hz")),
            ("gc", None),
            ("goroutine", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &names), meant, "{typed}");
        }
        assert_eq!(nearest(&"tenant".repeat(100_000), &names), None);
    }
}
