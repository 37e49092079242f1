//! Trace and span ids in what a program logs.

use std::fmt;

use tracing_core::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::record::trace_context::TraceContext;

/// Writes the ids of the trace that the thread's query belongs to before each event, and the event as another format does.
///
/// ```
/// use stagelight::bridge::tracing::WithIds;
/// use tracing_subscriber::fmt::format;
///
/// // trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 WARN orders: slow disk
/// let subscriber = tracing_subscriber::fmt().event_format(WithIds(format().without_time())).finish();
/// # drop(subscriber);
/// ```
///
/// An event outside of a query that is [followed](TraceContext::current) is written as it is. So that what `log` says has ids
/// too, install `tracing-log`, as `tracing_subscriber::fmt().init()` does with its default features. The ids cost two loads
/// where there are none, and some text where there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct WithIds<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(TraceContext { trace_id, span_id, .. }) = TraceContext::current() {
            write!(writer, "trace_id={trace_id:032x} span_id={span_id:016x} ")?;
        }
        self.0.format_event(context, writer, event)
    }
}
