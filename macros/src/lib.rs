//! The attribute macros of [Stagelight](https://docs.rs/stagelight). Use them through `stagelight`.
//!
//! Without the feature `enabled` each attribute checks its arguments and emits the function untouched.

use proc_macro::TokenStream;
use syn::parse_macro_input;

mod args;
mod function;
mod returns;
mod stage_all;

use args::{QueryArgs, StageArgs};

/// Makes a function a stage: its calls are counted and timed, apart from the stages that it calls.
///
/// - `#[stage]` names the stage after the function and its component after the module.
/// - `#[stage(name = "exec.join", component = "executor")]` says both. Call sites with the same component and
///   name are one stage.
/// - `#[stage(skip)]` leaves out a function within [`macro@stage_all`].
///
/// A function that returns a `Result` counts its `Err`s as errors, whatever name its type goes by; one that
/// returns an `impl Trait` can't.
///
/// An `async fn`, and a function that returns an `impl Future` or a boxed one, as `async_trait` makes them, is a stage while it is
/// polled; its figures tell busy from awaiting time.
///
/// Refused with an error: `const fn`, and functions without a body.
#[proc_macro_attribute]
pub fn stage(args: TokenStream, item: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as StageArgs);
    function::attribute(item, "stage", |item| function::expand_stage(item, &args))
}

/// Makes a function the entry of a query: a stage whose work, in all stages below it, is done for the
/// statement, tenant, user and database that it names.
///
/// `#[query(key = EXPR, tenant = EXPR, user = EXPR, database = EXPR)]`: every part is optional, may use the
/// function's arguments and is anything that implements `stagelight::LabelValue`: text, whole numbers, options
/// of them. `labels = EXPR` gives all of them at once, interned before as a `stagelight::Labels`. `name` and `component` are those
/// of [`macro@stage`].
///
/// A query within a query replaces its labels until it ends.
#[proc_macro_attribute]
pub fn query(args: TokenStream, item: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as QueryArgs);
    function::attribute(item, "query", |item| function::expand_query(item, &args))
}

/// Makes every function with a body in an `impl` block, a trait or a module a stage, as [`macro@stage`] would,
/// and names those of a type `Type::function`.
///
/// `#[stage_all(component = "storage")]` names their component. A function that has an attribute of its own,
/// `#[stage(…)]` or `#[query(…)]`, keeps it, and `#[stage(skip)]` leaves one out. What can't be a stage is left
/// alone here: `const fn`.
#[proc_macro_attribute]
pub fn stage_all(args: TokenStream, item: TokenStream) -> TokenStream {
    let args = parse_macro_input!(args as args::StageAllArgs);
    stage_all::expand(item, &args).unwrap_or_else(|error| error.into_compile_error().into())
}
