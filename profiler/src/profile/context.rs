//! What a thread was in as a sample was taken: numbers as the recorder gives them, and what they stand for.

use std::collections::HashMap;
use std::sync::Arc;

use stagelight::LabelKind;

use crate::thread_name::ThreadName;

/// The labels that a sample carries: the innermost stage that it was taken in and that stage's
/// component, those of the query, all stages from the outermost in, and, of all but heap samples,
/// the thread's name (with its id, `orders/1234`, where that is only the program's) and, of all but
/// locks, the query's trace, if that was kept, and what the thread did: `running` or `waiting` in a
/// wall-clock profile, `waiting` or `preempted` in an off-CPU one, what it waited for (`lock`,
/// `condvar` or `blocked`) in one of waits for locks, else none. Profiles of locks have stage,
/// statement and tenant of who held the lock as well.
pub const LABELS: [&str; 13] = [
    "stage",
    "component",
    "statement",
    "tenant",
    "user",
    "database",
    "path",
    "thread",
    "trace",
    "state",
    "holder_stage",
    "holder_statement",
    "holder_tenant",
];

/// What a thread did when a sample of it was taken, for kinds of profile that tell: the label `state`.
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "there is no sampler")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, or could.
    Running = 1,
    /// It waits, or waited of its own will.
    Waiting,
    /// It could run, but others did.
    Preempted,
    /// It waited for a lock.
    Lock,
    /// It waited for a notification.
    Condvar,
    /// It waited for something else that told so.
    Blocked,
}

impl State {
    /// A state by its number; `""` for 0.
    fn name(number: u8) -> &'static str {
        const NAMES: [(&str, State); 6] = [
            ("running", State::Running),
            ("waiting", State::Waiting),
            ("preempted", State::Preempted),
            ("lock", State::Lock),
            ("condvar", State::Condvar),
            ("blocked", State::Blocked),
        ];
        NAMES.iter().find(|(_, state)| *state as u8 == number).map_or("", |(name, _)| name)
    }
}

/// What parts the stages of a path.
pub(crate) const WITHIN: &str = " > ";

/// Values in the order of [`LABELS`], empty if absent. Shared by the samples of one context.
pub(crate) type Labels = Arc<[String; LABELS.len()]>;

/// Stages that a sample names. Of a deeper path the outer ones and the innermost.
pub(crate) const PATH: usize = 24;

/// What a sample's thread was in. Plain words, which a signal handler can write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    /// Numbers of the stages, outermost first.
    pub(crate) path: [u16; PATH],
    pub(crate) depth: u16,
    /// The label set.
    pub(crate) labels: u32,
    /// What the thread is called.
    pub(crate) thread: ThreadName,
    /// The id of the trace that is being taken, or zeros.
    pub(crate) trace: [u64; 2],
    /// A [`State`] by its number, or 0; of a look at the counters the number of the counter.
    pub(crate) state: u8,
    /// The stage of who held the lock that this is about, or 0.
    pub(crate) holder_stage: u16,
    /// The label set of who held it.
    pub(crate) holder_labels: u32,
}

impl Context {
    /// In this stage and label set, or in none where they are 0, and no more.
    pub(crate) fn of((stage, labels): (u32, u32)) -> Self {
        let mut context = Self { labels, depth: u16::from(stage != 0), ..Self::default() };
        context.path[0] = stage as u16;
        context
    }

    pub(crate) fn stages(&self) -> &[u16] {
        &self.path[..usize::from(self.depth).min(PATH)]
    }
}

/// Makes labels of contexts, and remembers what it made of their parts.
#[derive(Default)]
pub(crate) struct Resolver {
    known: HashMap<Context, Labels>,
}

impl Resolver {
    pub(crate) fn resolve(&mut self, context: Context) -> Labels {
        Arc::clone(self.known.entry(context).or_insert_with(|| Arc::new(resolve(&context))))
    }
}

/// What the numbers of a sample stand for.
pub(crate) fn resolve(context: &Context) -> [String; LABELS.len()] {
    let stages: Vec<(&str, &str)> =
        context.stages().iter().map(|&stage| stagelight::__private::stage_by_id(stage.into())).collect();
    let (component, stage) = stages.last().copied().unwrap_or_default();
    let path = stages.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(WITHIN);
    let set = stagelight::__private::label_set(context.labels);
    let [statement, tenant, user, database] = LabelKind::ALL.map(|kind| set.get(kind).to_owned());
    let (_, holder_stage) = stagelight::__private::stage_by_id(context.holder_stage.into());
    let holder = stagelight::__private::label_set(context.holder_labels);
    let thread: Vec<u8> = context.thread.iter().copied().take_while(|&byte| byte != 0).collect();
    let trace = match context.trace {
        [0, 0] => String::new(),
        [high, low] => format!("{high:016x}{low:016x}"),
    };
    [
        stage.to_owned(),
        component.to_owned(),
        statement,
        tenant,
        user,
        database,
        path,
        String::from_utf8_lossy(&thread).into_owned(),
        trace,
        State::name(context.state).to_owned(),
        holder_stage.to_owned(),
        holder.get(LabelKind::Statement).to_owned(),
        holder.get(LabelKind::Tenant).to_owned(),
    ]
}
