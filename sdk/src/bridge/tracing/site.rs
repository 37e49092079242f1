//! What is known of each callsite: its stage, and what its fields are to us.

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use tracing_core::callsite::Identifier;
use tracing_core::{Field, Metadata};

use crate::record::labels::LabelKind;
use crate::record::stage::Stage;

/// What a field of a span is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    None,
    Label(LabelKind),
    /// A value means that the span failed.
    Error,
    /// The value `ERROR` means that the span failed.
    Status,
}

/// A callsite.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) stage: Stage,
    /// By the fields' indexes.
    roles: Vec<Role>,
    /// Whether its spans are queries.
    pub(super) query: bool,
}

impl Site {
    fn new(metadata: &'static Metadata<'static>, labels: &[(String, LabelKind)]) -> Self {
        let role = |field: Field| match field.name() {
            name if let Some(&(_, kind)) = labels.iter().find(|(label, _)| label == name) => {
                Role::Label(kind)
            }
            "error" => Role::Error,
            "otel.status_code" => Role::Status,
            _ => Role::None,
        };
        let roles: Vec<Role> = metadata.fields().iter().map(role).collect();
        let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        Self {
            stage: Stage::new(metadata.name(), metadata.target(), file, line),
            query: roles.iter().any(|role| matches!(role, Role::Label(_))),
            roles,
        }
    }

    pub(super) fn role(&self, field: &Field) -> Role {
        self.roles.get(field.index()).copied().unwrap_or(Role::None)
    }

    /// Whether any of the fields is something to us.
    pub(super) fn watches(&self) -> bool {
        self.roles.iter().any(|role| *role != Role::None)
    }
}

/// The callsites that a layer has seen. They are kept for ever: there are as many as the program's text has.
#[derive(Debug, Default)]
pub(super) struct Sites(Mutex<HashMap<Identifier, &'static Site>>);

/// Entries of a thread's cache of callsites, 2^6 of 24 bytes.
const CACHE_BITS: u32 = 6;

type Entry = Cell<(*const (), u64, Option<&'static Site>)>;

thread_local! {
    /// By where a callsite's metadata stands: the layer that asked last, and its answer.
    static CACHE: [Entry; 1 << CACHE_BITS] = const { [const { Cell::new((ptr::null(), 0, None)) }; 1 << CACHE_BITS] };
}

impl Sites {
    /// The site of a callsite: from the thread's cache, or else by a lock and a hash.
    pub(super) fn get(
        &self,
        layer: u64,
        metadata: &'static Metadata<'static>,
        labels: &[(String, LabelKind)],
    ) -> &'static Site {
        let key = ptr::from_ref(metadata).cast::<()>();
        let index = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - CACHE_BITS);
        CACHE.with(|cache| {
            let entry = &cache[index as usize];
            if let (known, by, Some(site)) = entry.get()
                && (known, by) == (key, layer)
            {
                return site;
            }
            let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let site = *sites
                .entry(metadata.callsite())
                .or_insert_with(|| Box::leak(Box::new(Site::new(metadata, labels))));
            entry.set((key, layer, Some(site)));
            site
        })
    }
}
