//! Spans of [`tracing`](https://docs.rs/tracing) as stages: what your program and its dependencies are instrumented with
//! already shows in snapshots, and labels the samples of the profiler, without a change to their code.
//!
//! ```
//! use stagelight::bridge::tracing::StageLayer;
//! use tracing_subscriber::filter::{LevelFilter, filter_fn};
//! use tracing_subscriber::prelude::*;
//!
//! let stages = StageLayer::new().statement_from("db.statement").tenant_from("tenant");
//! // Which spans become stages is the filter's business. Here: no events, and no spans of level TRACE.
//! let filter = filter_fn(|metadata| metadata.is_span() && *metadata.level() <= LevelFilter::DEBUG);
//! tracing_subscriber::registry().with(stages.with_filter(filter)).init();
//!
//! #[tracing::instrument(fields(db.statement = "select ?"))]
//! fn execute(tenant: &str) {
//!     prepare();
//! }
//!
//! #[tracing::instrument]
//! fn prepare() {}
//!
//! execute("acme");
//!
//! let snapshot = stagelight::snapshot();
//! assert_eq!(snapshot.stage("prepare").map(|stage| stage.calls), Some(1));
//! assert_eq!((snapshot.statements[0].value.as_str(), snapshot.statements[0].calls), ("select ?", 1));
//! assert_eq!((snapshot.tenants[0].value.as_str(), snapshot.tenants[0].stages), ("acme", 2));
//! ```
//!
//! # What a span becomes
//! **A stage.** Each callsite is one; its name is the span's and its component the target. Stages of `#[stage]` and spans may
//! stand within each other.
//!
//! **A call** of it for each span that was entered and then closed. As in an async stage, its time runs from the first time
//! that it was entered to the last time that it was left; each time in between counts as a poll, and the time that it was on
//! no thread as awaiting. A span that is entered while its thread is in it already is not polled once more. An instrumented
//! future enters its span once more to be dropped. Spans that were never entered are not counted, and those that are never
//! closed neither. What becomes of a future that is dropped before it is done, a span doesn't know: no call counts as
//! cancelled.
//!
//! **A query**, if its callsite has a field that a label is taken [from](StageLayer::statement_from), with a value or still
//! empty. A value that is [recorded later](https://docs.rs/tracing/latest/tracing/struct.Span.html#method.record) holds from
//! then on, for the query as a whole in the figures by label. Labels that it doesn't give are those of the query that it was
//! created in: the span of a statement belongs to the tenant of the span of its request. (`#[query]` inherits none.)
//!
//! **An error**, if a value is recorded in its field `error` (other than `false`), or `ERROR` in `otel.status_code`, or if an
//! event of level `ERROR` with a field `error` happens in it, as `#[instrument(err)]` emits. A filter that keeps events from
//! the layer keeps those from it, too.
//!
//! **Nothing in a [trace](crate::Trace)**: a span is recorded when it closes, which may be late and anywhere, and a trace is
//! told by the order in which stages end. Nor is a query that is a span followed, so what runs in an outermost one is in no
//! trace. Stages below spans that lie in a `#[query]` are in its trace.
//!
//! # What it costs
//! About as much again as `tracing` itself takes for a span. Where `#[stage]` took 32 ns, a span without a layer took 160,
//! with this one 320, and 380 as a query; a further entry and exit 150 ns. So what is hot is better served by `#[stage]`.
//! On creation it is a box and an insertion into the span's extensions, on each entry and exit a lookup of the span and its
//! lock, which other threads seldom want. Callsites are looked up by a hash once for each thread and callsite (more often
//! when callsites displace each other from a cache of 64 entries). A query's labels are copied to text and interned when
//! they are recorded. A stage that is off costs a span its creation alone. Without a filter the layer has all events built,
//! too, also where no other layer wants them.
//!
//! # Your responsibilities
//! - A span is on the threads that enter it, not on tasks that are spawned within it. A task that works for the query is
//!   spawned [in it](crate::InQuery), also if it is instrumented.
//! - Spans may be left in any order among themselves. One that is left while a `#[stage]` that began after it still runs is
//!   on the thread until that has ended and a span is next entered or left there, and has no self time from this entry.
//! - One layer a registry: of more, the first to see a span takes it.
//!
//! # Stages as spans, and ids in events
//! The other direction: [`spans_from_stages`] has stages emit spans, for whatever subscriber there is. [`WithIds`] writes the
//! ids of the query's trace before each event that a program logs.

mod emit;
mod fields;
mod ids;
mod site;
mod span;
mod stack;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

pub use self::emit::spans_from_stages;
use self::fields::Fields;
pub use self::ids::WithIds;
use self::site::Sites;
use self::span::Span;
use crate::record::interner::NO_LABELS;
use crate::record::labels::LabelKind;
use crate::record::thread;

/// Makes stages of spans. See the [module](self).
pub struct StageLayer {
    /// Tells layers apart: the numbers of spans are those of a registry.
    number: u64,
    labels: Vec<(String, LabelKind)>,
    sites: Sites,
}

impl fmt::Debug for StageLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageLayer").field("labels", &self.labels).finish_non_exhaustive()
    }
}

impl Default for StageLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl StageLayer {
    /// A layer to which every span is a stage and none a query.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { number, labels: Vec::new(), sites: Sites::default() }
    }

    /// Spans with this field are queries, and the field is the statement's key: text with its constants taken out. Of several
    /// fields with the same meaning, the one recorded last counts.
    #[must_use]
    pub fn statement_from(self, field: impl Into<String>) -> Self {
        self.label_from(field, LabelKind::Statement)
    }

    /// Spans with this field are queries, and the field is their tenant.
    #[must_use]
    pub fn tenant_from(self, field: impl Into<String>) -> Self {
        self.label_from(field, LabelKind::Tenant)
    }

    /// Spans with this field are queries, and the field is their user.
    #[must_use]
    pub fn user_from(self, field: impl Into<String>) -> Self {
        self.label_from(field, LabelKind::User)
    }

    /// Spans with this field are queries, and the field is their database.
    #[must_use]
    pub fn database_from(self, field: impl Into<String>) -> Self {
        self.label_from(field, LabelKind::Database)
    }

    fn label_from(mut self, field: impl Into<String>, kind: LabelKind) -> Self {
        self.labels.push((field.into(), kind));
        self
    }

    /// What `with` makes of what we keep of the span, if we keep it.
    fn with_span<S, R>(
        &self,
        id: &Id,
        context: &Context<'_, S>,
        with: impl FnOnce(&mut Span) -> Option<R>,
    ) -> Option<R>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let span = context.span(id)?;
        let mut extensions = span.extensions_mut();
        with(extensions.get_mut::<Span>().filter(|span| span.layer == self.number)?)
    }

    /// The label set of the query that a span is created in.
    fn outer_labels<S>(&self, attributes: &Attributes<'_>, context: &Context<'_, S>) -> u32
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if attributes.is_contextual() {
            return thread::present().map_or(NO_LABELS, |block| block.labels());
        }
        let parent = attributes.parent().and_then(|parent| context.span(parent));
        let set_of = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Span>().filter(|span| span.layer == self.number)?.set()
        };
        parent.and_then(|parent| parent.scope().find_map(set_of)).unwrap_or(NO_LABELS)
    }

    fn key(&self, id: &Id) -> stack::Key {
        (self.number, id.into_u64())
    }

    fn leave<S>(&self, id: &Id, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        if let Some(polled) = stack::with(|stack| stack.exit(self.key(id))) {
            self.with_span(id, context, |span| {
                span.add(&polled);
                Some(())
            });
        }
    }
}

impl<S> Layer<S> for StageLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().fields().field(emit::MARK).is_some() {
            return;
        }
        let site = self.sites.get(self.number, attributes.metadata(), &self.labels);
        if site.stage.call().is_none() {
            return;
        }
        let mut fields = Fields::new(site);
        if site.watches() {
            attributes.record(&mut fields);
        }
        let set = if site.query { fields.set(self.outer_labels(attributes, &context)) } else { NO_LABELS };
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Span>().is_none() {
            extensions.insert(Span::new(self.number, site, set, fields.failed));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(site) = self.with_span(id, &context, |span| Some(span.site)) else { return };
        if !site.watches() {
            return;
        }
        // Without the lock: a value's own code writes it.
        let mut fields = Fields::new(site);
        values.record(&mut fields);
        let changed = self.with_span(id, &context, |span| {
            span.failed |= fields.failed;
            let before = span.set()?;
            let set = fields.set(before);
            span.relabel(set);
            (set != before).then_some(set)
        });
        if let Some(set) = changed {
            stack::with(|stack| {
                stack.relabel(self.key(id), set);
                Some(())
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() == Level::ERROR
            && metadata.fields().field("error").is_some()
            && let Some(span) = context.event_span(event)
        {
            self.with_span(&span.id(), &context, |span| {
                span.failed = true;
                Some(())
            });
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let key = self.key(id);
        self.with_span(id, &context, |span| {
            stack::with(|stack| {
                if stack.enters(key)
                    && let Some(on) = span.enter()
                {
                    stack.push(key, on, span.set().unwrap_or(NO_LABELS));
                }
                Some(())
            })
        });
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.leave(id, &context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        // It may still be on the thread, if the guard that was to leave it was forgotten.
        self.leave(&id, &context);
        self.with_span(&id, &context, |span| {
            span.close();
            Some(())
        });
    }
}
