//! Stages as spans: the other direction.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::dispatcher::{self, Dispatch};
use tracing_core::field::FieldSet;
use tracing_core::metadata::Kind;
use tracing_core::span::{Attributes, Id};
use tracing_core::{Interest, Level, Metadata, field};

use crate::record::observer::{self, Observer};
use crate::record::stage::{matches_stage, stage_by_id};

/// A field of the spans that are stages, by which [`StageLayer`](super::StageLayer) knows not to make stages of them again.
pub(super) const MARK: &str = "stagelight.stage";

/// Which stages are spans, and at what level; see [`spans_from_stages`].
struct Rules {
    patterns: Vec<(String, Level)>,
    /// What was found of each stage so far.
    sites: HashMap<u32, Option<&'static Site>>,
}

static RULES: RwLock<Option<Rules>> = RwLock::new(None);

/// A callsite that stands for a stage. There are as many as stages, and they stay.
struct Site {
    metadata: OnceLock<Metadata<'static>>,
}

impl Callsite for Site {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        // `site` sets it before anyone sees the callsite.
        self.metadata.get_or_init(|| Site::of("", "", Level::TRACE, Identifier(&NOBODY)))
    }
}

static NOBODY: Site = Site { metadata: OnceLock::new() };

impl Site {
    fn of(name: &'static str, target: &'static str, level: Level, callsite: Identifier) -> Metadata<'static> {
        const FIELDS: &[&str] = &[MARK, "error"];
        let fields = FieldSet::new(FIELDS, callsite);
        Metadata::new(name, target, level, None, None, Some(target), fields, Kind::SPAN)
    }
}

/// From now on the stages whose name, or component and name as `component::name`, match the pattern (as in
/// [`set_mode`](crate::set_mode)) are also `tracing` spans of that level, for whatever subscriber there is: the span's name is
/// the stage's and its target the component. A later call adds to an earlier one, and where both match, it decides.
///
/// Calls that are timed are; so a governor or [`Mode::Count`](crate::Mode::Count) thins them out. A call that fails has `error`
/// recorded as `true`. Async stages are none: there, put `#[instrument]` above `#[stage]`.
///
/// To programs that never ask this costs a load and a branch in each timed call, hidden behind the clock. To those that
/// do, what their subscriber takes for a span, and in the timed calls of all other stages a lock that many may read at once.
/// A subscriber that panics is not heard.
pub fn spans_from_stages(pattern: &str, level: Level) {
    let mut rules = RULES.write().unwrap_or_else(PoisonError::into_inner);
    let rules = rules.get_or_insert_with(|| Rules { patterns: Vec::new(), sites: HashMap::new() });
    rules.patterns.push((pattern.to_owned(), level));
    rules.sites.clear();
    static OBSERVER: Observer = Observer { entered, left };
    observer::install(&OBSERVER);
}

impl Rules {
    fn site(&mut self, stage: u32) -> Option<&'static Site> {
        let patterns = &self.patterns;
        *self.sites.entry(stage).or_insert_with(|| {
            let (component, name) = stage_by_id(stage);
            let (_, level) =
                patterns.iter().rev().find(|(pattern, _)| matches_stage(pattern, component, name))?;
            let site: &'static Site = Box::leak(Box::new(Site { metadata: OnceLock::new() }));
            site.metadata.get_or_init(|| Site::of(name, component, *level, Identifier(site)));
            Some(site)
        })
    }
}

fn site(stage: u32) -> Option<&'static Site> {
    if let Some(known) = RULES.read().ok()?.as_ref()?.sites.get(&stage) {
        return *known;
    }
    RULES.write().ok()?.as_mut()?.site(stage)
}

/// A span that a stage is.
struct Entered {
    dispatch: Dispatch,
    id: Id,
    metadata: &'static Metadata<'static>,
}

thread_local! {
    /// Of the stages that the thread is in, those that are spans.
    static ENTERED: RefCell<Vec<Option<Entered>>> = const { RefCell::new(Vec::new()) };
}

/// Calls the subscriber's code, which may panic, and whose stages, if it has any, are no spans.
fn guarded(call: impl FnOnce(&mut Vec<Option<Entered>>)) {
    let _ = ENTERED.try_with(|entered| {
        let Ok(mut entered) = entered.try_borrow_mut() else { return };
        let _ = catch_unwind(AssertUnwindSafe(|| call(&mut entered)));
    });
}

fn entered(stage: u32) {
    guarded(|entered| {
        // For each call one, so that leaving finds its own.
        entered.push(None);
        let Some(site) = site(stage) else { return };
        let Some(metadata) = site.metadata.get() else { return };
        let span = dispatcher::get_default(|dispatch| {
            if !dispatch.enabled(metadata) {
                return None;
            }
            let values = metadata.fields().value_set(&[]);
            let id = dispatch.new_span(&Attributes::new(metadata, &values));
            dispatch.enter(&id);
            Some(Entered { dispatch: dispatch.clone(), id, metadata })
        });
        if let Some(place) = entered.last_mut() {
            *place = span;
        }
    });
}

fn left(_: u32, failed: bool) {
    guarded(|entered| {
        // Nothing, if the call began before anyone asked.
        let Some(Some(span)) = entered.pop() else { return };
        if failed && let Some(error) = span.metadata.fields().field("error") {
            let value: &dyn field::Value = &true;
            let values = [(&error, Some(value))];
            let values = span.metadata.fields().value_set(&values);
            span.dispatch.record(&span.id, &tracing_core::span::Record::new(&values));
        }
        span.dispatch.exit(&span.id);
        span.dispatch.try_close(span.id);
    });
}
