//! What a path takes, a row a parameter: the one place where query strings are read.

use super::nearest::nearest;

/// A parameter.
pub struct Parameter<P> {
    /// As it is written before the `=`.
    pub name: &'static str,
    /// Puts a value in its place. It is given the name, since a function may serve several.
    ///
    /// # Errors
    /// What the value must be, to go on after "must be".
    pub read: fn(&mut P, &'static str, &str) -> Result<(), String>,
}

/// All that a path takes, in groups that paths share.
pub struct Parameters<P: 'static> {
    groups: &'static [&'static [Parameter<P>]],
    /// Looks at all of them together, and names what is missing or does not go together.
    check: fn(&P) -> Result<(), String>,
}

impl<P: Default> Parameters<P> {
    /// Parameters that go together in any way.
    pub(super) const fn any(groups: &'static [&'static [Parameter<P>]]) -> Self {
        Self { groups, check: |_| Ok(()) }
    }

    /// Parameters that must be looked at together.
    pub(super) const fn checked(
        groups: &'static [&'static [Parameter<P>]],
        check: fn(&P) -> Result<(), String>,
    ) -> Self {
        Self { groups, check }
    }

    /// Reads a query string.
    ///
    /// # Errors
    /// One sentence that says what is wrong and what is allowed: a parameter that this path does not take, one that is given
    /// twice, a value out of range, or what does not go together.
    pub fn parse(&self, query: &str) -> Result<P, String> {
        let mut values = P::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = self.all().find(|parameter| parameter.name == name);
            let Parameter { name, read } = known.ok_or_else(|| self.unknown(&name))?;
            if seen.contains(name) {
                return Err(format!("{name} is given more than once"));
            }
            seen.push(name);
            read(&mut values, name, &value)
                .map_err(|right| format!("{name}={}: {name} must be {right}", short(&value)))?;
        }
        (self.check)(&values)?;
        Ok(values)
    }

    fn all(&self) -> impl Iterator<Item = &'static Parameter<P>> {
        self.groups.iter().copied().flatten()
    }

    fn unknown(&self, name: &str) -> String {
        let names: Vec<&str> = self.all().map(|parameter| parameter.name).collect();
        let meant = nearest(name, &names).map(|near| format!(" Did you mean {near}?")).unwrap_or_default();
        let name = short(name);
        match &names[..] {
            [] => format!("{name} is no parameter of this path, which takes none."),
            names => {
                format!("{name} is no parameter of this path.{meant} It takes {}.", names.join(", "))
            }
        }
    }
}

/// As much of a value as a sentence bears.
pub(in super::super) fn short(value: &str) -> String {
    stagelight::export::table::shorten(value, 40)
}

/// A choice by its name.
///
/// # Errors
/// All names.
pub(super) fn one_of<T: Copy>(choices: &[(&str, T)], value: &str) -> Result<T, String> {
    let known = choices.iter().find(|(name, _)| *name == value);
    known.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    })
}

/// `0` or `1`.
pub(super) fn flag(value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err("0 or 1".into()),
    }
}

/// A whole number within a range.
pub(super) fn whole(range: std::ops::RangeInclusive<u64>, value: &str) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Two {
        tenant: Option<String>,
        limit: Option<u64>,
    }

    static TWO: Parameters<Two> = Parameters::checked(
        &[
            &[Parameter {
                name: "tenant",
                read: |two, _, value| {
                    two.tenant = Some(value.to_owned());
                    Ok(())
                },
            }],
            &[Parameter {
                name: "limit",
                read: |two, _, value| {
                    two.limit = Some(whole(1..=9, value)?);
                    Ok(())
                },
            }],
        ],
        |two| if two.limit == Some(7) { Err("seven is too much".into()) } else { Ok(()) },
    );

    #[test]
    fn what_is_known_is_read_and_all_else_refused_with_the_nearest_name() {
        let read = TWO.parse("tenant=a%20b&limit=3").unwrap();
        assert_eq!(read, Two { tenant: Some("a b".into()), limit: Some(3) });
        assert_eq!(TWO.parse(""), Ok(Two::default()));
        for (query, sentence) in [
            (
                "tennant=acme",
                "tennant is no parameter of this path. Did you mean tenant? It takes tenant, limit.",
            ),
            ("zzzzzzzz", "zzzzzzzz is no parameter of this path. It takes tenant, limit."),
            ("tenant=a&tenant=a", "tenant is given more than once"),
            ("limit=0", "limit=0: limit must be a whole number from 1 to 9"),
            ("limit=7", "seven is too much"),
        ] {
            assert_eq!(TWO.parse(query), Err(sentence.to_owned()));
        }
        static NONE: Parameters<()> = Parameters::any(&[]);
        assert_eq!(NONE.parse(""), Ok(()));
        assert_eq!(NONE.parse("x"), Err("x is no parameter of this path, which takes none.".to_owned()));
    }
}
