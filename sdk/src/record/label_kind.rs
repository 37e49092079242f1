//! What labels there are, and how many sets of their values can be told apart.

/// What a label says of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LabelKind {
    /// The statement's key: its normalized text, name or digest.
    Statement,
    /// The tenant that it runs for.
    Tenant,
    /// The user that it runs as.
    User,
    /// The database or keyspace that it runs in.
    Database,
}

impl LabelKind {
    /// All kinds, in the order in which a set holds its values.
    pub const ALL: [LabelKind; KINDS] =
        [LabelKind::Statement, LabelKind::Tenant, LabelKind::User, LabelKind::Database];

    /// The name under which profiles and metrics show this kind.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["statement", "tenant", "user", "database"][self as usize]
    }
}

pub(crate) const KINDS: usize = 4;

/// Different sets, so that a thread's counters of them have a bound.
pub(crate) const MAX_SETS: usize = 4096;
