//! Reads a span's fields.

use std::fmt;

use tracing_core::Field;
use tracing_core::field::Visit;

use super::site::{Role, Site};
use crate::record::labels::{KINDS, Labels, label_set};

/// What the fields that were recorded at once say.
pub(super) struct Fields {
    site: &'static Site,
    labels: [Option<String>; KINDS],
    pub(super) failed: bool,
}

impl Fields {
    pub(super) fn new(site: &'static Site) -> Self {
        Self { site, labels: [const { None }; KINDS], failed: false }
    }

    /// The label set with the given values, and those of the set `outer` where none was given.
    pub(super) fn set(&self, outer: u32) -> u32 {
        if self.labels.iter().all(Option::is_none) {
            return outer;
        }
        let outer = &label_set(outer).values;
        let [key, tenant, user, database] =
            std::array::from_fn(|kind| self.labels[kind].as_deref().unwrap_or(outer[kind]));
        Labels::new(key, tenant, user, database).number()
    }

    fn text(&mut self, field: &Field, value: &dyn fmt::Display) {
        match self.site.role(field) {
            Role::None => {}
            Role::Label(kind) => self.labels[kind as usize] = Some(value.to_string()),
            Role::Error => self.failed = true,
            Role::Status => self.failed |= value.to_string().eq_ignore_ascii_case("error"),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        // `error = false` says that there is none.
        if value || self.site.role(field) != Role::Error {
            self.text(field, &value);
        }
    }

    /// All else comes here: numbers, and what is written with `%` or `?`.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format_args!("{value:?}"));
    }
}
