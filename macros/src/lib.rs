//! The attribute macros of [Stagelight](https://docs.rs/stagelight). Use them through `stagelight`.
//!
//! Without the feature `enabled` each attribute checks its arguments and leaves the function as it is. What labels
//! and names refer to is checked and counts as used, in code that is never reached.

use proc_macro::TokenStream;
use syn::parse_macro_input;

mod args;
mod attribute;
mod block;
mod body;
mod labels;
mod returns;
mod sdk_path;
mod stage_all;

use args::{BlockArgs, QueryArgs, StageArgs};

/// Makes a function a stage: its calls are counted and timed, apart from the stages that it calls.
///
/// - `#[stage]` names the stage after the function and its component after the module.
/// - `#[stage(name = "exec.join", component = "executor")]` says both, by literals or constants. Call sites
///   with the same component and name are one stage.
/// - `#[stage(crate = my_db::stagelight)]` says where the crate `stagelight` is reached, if it is no
///   dependency of the crate that annotates. A dependency's other name in Cargo.toml is found by itself.
/// - `#[stage(skip)]` leaves out a function within [`macro@stage_all`].
///
/// A function that returns a `Result` counts its `Err`s as errors, whatever name its type goes by; one that
/// returns an `impl Trait` can't. So do one that returns an `Option` of a `Result`, if the name of that ends in
/// `Result`, and one that returns a `Poll` of either. What an `Err` is within otherwise is not looked at: a tuple,
/// a vector, the inner of two `Result`s. `None` is no error.
///
/// An `async fn`, and a function that returns an `impl Future` or a boxed one, as `async_trait` makes them, is a
/// stage while it is polled; its figures tell busy from awaiting time. An `impl Future` that must be more than
/// a future (`+ Clone`) stays as it is, and its making is timed.
///
/// A function that returns an iterator is a stage while that is made and whenever an item is pulled out of it;
/// what the consumer does with items in between is not its own. All of it is one call, which is recorded when the
/// iterator is dropped, and counts as an error if an item is an `Err`. So it is with `impl Iterator`,
/// `impl DoubleEndedIterator` and `impl ExactSizeIterator`, with `Box<dyn Iterator>` and its like, with a `Result` or an
/// `Option` of one and, by the sdk's feature `stream`, with `impl Stream`, a pinned box of one and `BoxStream`:
///
/// ```ignore
/// #[stage]
/// fn rows(table: &Table) -> impl Iterator<Item = Result<Row, Error>> + '_ {
///     table.pages().flat_map(|page| page.rows())
/// }
/// ```
///
/// Each item costs what a call of a stage does, some 30 ns. What must be more than the standard library's iterators and the
/// auto traits, `Clone` and `Debug` are (`+ MyTrait`), what is behind an alias, and what an `async fn` gives stays as it is, and its
/// making is timed. A clone of an iterator is a call of its own.
///
/// Refused with an error: `const fn`, and functions without a body.
///
/// # Your function, unchanged
/// The attribute adds recording and nothing else. What the function computes, what its values are coerced to,
/// the order in which arguments, locals and temporaries are dropped, the location that `#[track_caller]`
/// reports, the names that its body sees and the rules of its crate's edition are those of the function
/// without the attribute. A test compares every kind of function with its plain twin, for each edition.
///
/// Its limits:
/// - What a pattern among the arguments leaves unbound, the second part in `(a, _): (A, B)`, is dropped
///   after all arguments where the function returns a `Result` or is an `async fn`.
/// - Where a `#[track_caller]` function returns a `Result`, a `return` within a macro (`bail!`) counts as an
///   error, whatever it returns.
/// - A closure that the attribute adds shows as `{{closure}}` in backtraces and in `type_name`.
/// - A function of a few operations that says nothing of inlining is inlined always, as the compiler would without
///   the attribute where it optimizes.
/// - A type that is called `BoxFuture` or `LocalBoxFuture` must be a pinned box.
#[proc_macro_attribute]
pub fn stage(args: TokenStream, item: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as StageArgs);
    attribute::attribute(item, "stage", |item| attribute::expand_stage(item, &args))
}

/// Makes a function the entry of a query: a stage whose work, in all stages below it, is done for the
/// statement, tenant, user and database that it names.
///
/// `#[query(key = EXPR, tenant = EXPR, user = EXPR, database = EXPR)]`: every part is optional, may use the
/// function's arguments and is anything that implements `stagelight::LabelValue`: text, whole numbers, options
/// of them. `labels = EXPR` gives all of them at once, interned before: a `stagelight::Labels`, a reference to
/// one, or an `Option` of one. `name`, `component` and `crate` are those of [`macro@stage`].
///
/// A query within a query replaces its labels until it ends.
#[proc_macro_attribute]
pub fn query(args: TokenStream, item: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as QueryArgs);
    attribute::attribute(item, "query", |item| attribute::expand_query(item, &args))
}

/// Makes every function with a body in an `impl` block, a trait or a module a stage, as [`macro@stage`] would,
/// and names those of a type `Type::function`.
///
/// `#[stage_all(component = "storage")]` names their component, and `crate = …` holds for all of them. A function that has an attribute of its own,
/// `#[stage(…)]` or `#[query(…)]`, keeps it, and `#[stage(skip)]` leaves one out. What can't be a stage is left
/// alone here: `const fn`.
#[proc_macro_attribute]
pub fn stage_all(args: TokenStream, item: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as args::StageAllArgs);
    stage_all::expand(item, &args).unwrap_or_else(|error| error.into_compile_error().into())
}

/// What `stagelight::stage_block!` calls, with the path by which it was reached.
#[doc(hidden)]
#[proc_macro]
pub fn stage_block(args: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as BlockArgs);
    block::expand(&args).into()
}
