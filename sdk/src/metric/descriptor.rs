//! What all handles have in common: a name, and where the metric's words stand.

use std::sync::atomic::{AtomicU32, Ordering};

use super::kind::MetricKind;
use super::registry;
use super::slab::{HEADER_WORDS, LINE_WORDS};

/// What the values of a metric measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Things: rows, queries, pages.
    #[default]
    Plain,
    /// Bytes.
    Bytes,
    /// Time, recorded in nanoseconds. Prometheus gets seconds, so the name of the metric should say `_seconds`.
    Nanoseconds,
}

impl Unit {
    /// The unit's name, empty for [`Unit::Plain`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unit::Plain => "",
            Unit::Bytes => "bytes",
            Unit::Nanoseconds => "nanoseconds",
        }
    }
}

/// How a metric's words are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Counter,
    UpDownCounter,
    Gauge,
    Distribution,
    Summary,
    /// A distribution of fractions, as the `metrics` facade records them.
    #[cfg(feature = "metrics")]
    Fractions,
}

impl Shape {
    pub(super) fn kind(self) -> MetricKind {
        match self {
            Shape::Counter => MetricKind::Counter,
            Shape::UpDownCounter | Shape::Gauge => MetricKind::Gauge,
            Shape::Summary => MetricKind::Summary,
            _ => MetricKind::Histogram,
        }
    }

    pub(super) fn words(self) -> usize {
        match self {
            Shape::Counter | Shape::UpDownCounter => 1,
            // Written by all threads: alone in its cache line.
            Shape::Gauge => LINE_WORDS,
            _ => HEADER_WORDS,
        }
    }
}

const UNREGISTERED: u32 = 0;

/// What a handle says of its metric, and the metric's place once it is registered.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) component: &'static str,
    pub(super) unit: Unit,
    pub(super) shape: Shape,
    word: AtomicU32,
}

impl Descriptor {
    pub(super) const fn new(shape: Shape, name: &'static str, help: &'static str) -> Self {
        super::name::check_name(name);
        Self::at(shape, name, help, UNREGISTERED)
    }

    /// One whose place is known.
    pub(super) const fn placed(shape: Shape, word: u32) -> Self {
        Self::at(shape, "", "", word)
    }

    const fn at(shape: Shape, name: &'static str, help: &'static str, word: u32) -> Self {
        Self { name, help, component: "", unit: Unit::Plain, shape, word: AtomicU32::new(word) }
    }

    /// Where the metric's words start.
    #[inline(always)]
    pub(super) fn word(&self) -> u32 {
        match self.word.load(Ordering::Relaxed) {
            UNREGISTERED => self.register(),
            word => word,
        }
    }

    /// First touch. Threads that come together find the same place.
    #[cold]
    #[inline(never)]
    fn register(&self) -> u32 {
        let word = registry::place(&self.spec(), &[]);
        self.word.store(word, Ordering::Relaxed);
        word
    }

    pub(super) fn spec(&self) -> registry::Spec<'_> {
        registry::Spec {
            name: self.name,
            help: self.help,
            component: self.component,
            unit: self.unit,
            shape: self.shape,
        }
    }
}

/// The constructor and the setters that all handles share.
macro_rules! handle {
    ($handle:ident, $shape:expr) => {
        impl $handle {
            /// A handle, to be kept in a `static`. It registers itself at its first use.
            ///
            /// # Panics
            /// If the name is not one that Prometheus takes (`[a-zA-Z_:][a-zA-Z0-9_:]*`) or starts with `stagelight_`. In
            /// a `static` that is an error of compilation.
            #[must_use]
            pub const fn new(name: &'static str, help: &'static str) -> Self {
                Self { descriptor: Descriptor::new($shape, name, help) }
            }

            /// The part of the system that the metric belongs to: `storage`, `cache`, `protocol`. None unless set.
            #[must_use]
            pub const fn component(mut self, component: &'static str) -> Self {
                self.descriptor.component = component;
                self
            }
        }

        impl super::family::Sealed for $handle {
            #[allow(
                clippy::declare_interior_mutable_const,
                reason = "a value to start from, not one to share"
            )]
            const NOWHERE: Self = Self { descriptor: Descriptor::placed($shape, super::slab::NOWHERE) };
            const SHAPE: Shape = $shape;

            fn at(word: u32) -> Self {
                Self { descriptor: Descriptor::placed($shape, word) }
            }
        }

        impl super::family::Labelled for $handle {}
    };
}

/// The setter of handles whose values have a unit.
macro_rules! with_unit {
    ($handle:ident) => {
        impl $handle {
            /// What is measured; [`Unit::Plain`](crate::Unit::Plain) unless set.
            #[must_use]
            pub const fn unit(mut self, unit: super::Unit) -> Self {
                self.descriptor.unit = unit;
                self
            }
        }
    };
}

pub(super) use {handle, with_unit};
