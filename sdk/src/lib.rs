//! PLACEHOLDER
#![cfg_attr(docsrs, feature(doc_cfg))]

mod collect;
pub mod export;
mod record;

pub use collect::collector::{Collector, CollectorBuilder, collector};
pub use collect::histogram::Histogram;
pub use collect::overhead::Overhead;
pub use collect::snapshot::{LabelStats, RecorderStats, Snapshot, StageStats, snapshot};
pub use collect::window::Window;
pub use record::label_value::LabelValue;
pub use record::labels::LabelKind;
pub use record::stage::set_recording;
pub use stagelight_macros::{query, stage, stage_all};

/// Times a block as a stage and gives its value.
#[cfg(feature = "enabled")]
#[macro_export]
macro_rules! stage_block {
    ($name:literal, $body:block) => {{
        static STAGE: $crate::__private::Stage =
            $crate::__private::Stage::new($name, ::core::module_path!(), ::core::file!(), ::core::line!());
        let _guard = $crate::__private::enter(&STAGE);
        $body
    }};
}

/// Times a block as a stage and gives its value. The feature `enabled` is off: the block alone remains.
#[cfg(not(feature = "enabled"))]
#[macro_export]
macro_rules! stage_block {
    ($name:literal, $body:block) => {
        $body
    };
}

/// For the macros' output and for `stagelight-profiler`. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::record::guard::{QueryGuard, StageGuard, enter, enter_query};
    pub use crate::record::labels::{LabelSet, label_set};
    pub use crate::record::outcome::{NeverFails, Outcome, once};
    pub use crate::record::registry::{set_allocation_counter, set_thread_observer};
    pub use crate::record::stage::{Stage, stage_by_id};
    pub use crate::record::thread::current;
}
