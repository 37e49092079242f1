//! What becomes of a function's body.
//!
//! The body's own block stays whole, within braces of ours. Hence its names and ours don't meet, and what
//! its last expression borrows lives as long as the edition of the user's crate says: in a crate of
//! edition 2021 until the block around it ends, which is ours, of edition 2024, and ends before the
//! arguments do. The same happens at the end of a function without an attribute.
//!
//! Every name of ours is hygienic (`Span::mixed_site`), and the stage's static, as an item can't be, stands
//! in a block of its own.

mod asynchronous;
mod boxed;
mod captures;
mod early_exits;
mod evaluated;
mod inlining;
mod pulled;
mod sync;
mod unrecorded;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Block, Expr, Signature, Stmt, Type};

use crate::args::{QueryArgs, StageArgs};
use crate::labels;
use crate::returns::Kind;
use crate::sdk_path::sdk_path;

/// What makes a stage a query.
pub(crate) struct Recording {
    /// An expression of the type `Labels`.
    labels: TokenStream,
    /// What the user wrote in it.
    expressions: Vec<Expr>,
}

impl Recording {
    pub(crate) fn of(args: &QueryArgs, sdk: &TokenStream) -> Self {
        Self { labels: labels::labels(args, sdk), expressions: labels::expressions(args) }
    }
}

/// What the parts of an expansion share.
struct Wrapping<'a> {
    sdk: &'a TokenStream,
    /// An expression of the type `&'static Stage`.
    stage: &'a TokenStream,
    /// An expression of the type `Labels`, if the stage is a query.
    labels: Option<&'a TokenStream>,
}

/// Replaces a function's body: by itself within a guard or, if the function gives a future, within a
/// future or an iterator of ours. Without the feature `enabled` the body stays, and what the attribute refers
/// to is used.
pub(crate) fn expand(
    attrs: &mut Vec<Attribute>,
    sig: &mut Signature,
    body: &mut Block,
    args: &StageArgs,
    query: Option<&Recording>,
) {
    let sdk = &sdk_path(args.krate.as_ref());
    if !cfg!(feature = "enabled") {
        return unrecorded::refer(body, sdk, args, query);
    }
    inlining::keep(attrs, sig, body);
    let stage = &stage(sdk, sig, args);
    let wrapping = Wrapping { sdk, stage, labels: query.map(|query| &query.labels) };
    let work = match Kind::of(sig) {
        Kind::Sync => sync::body(&wrapping, attrs, sig, body),
        Kind::Async(output) => asynchronous::body(&wrapping, sig, body, &output),
        Kind::ReturnsFuture(output) => {
            let future = evaluated::evaluated(sdk, sig, body, None);
            asynchronous::given(&wrapping, &future, &output)
        }
        Kind::ReturnsBox(output) => boxed::body(&wrapping, sig, body, &output),
        Kind::ReturnsPulled(pulled) => pulled::body(&wrapping, sig, body, &pulled),
    };
    // Where the user's block is, for debuggers, but with the edition and the names of this crate.
    let span = Span::mixed_site().located_at(body.brace_token.span.join());
    *body = syn::parse_quote_spanned!(span=> { #work });
}

/// A reference to the static that describes the stage.
fn stage(sdk: &TokenStream, sig: &Signature, args: &StageArgs) -> TokenStream {
    let name = match &args.name {
        Some(name) if name.is_literal() => quote_literal(name),
        Some(name) => checked(sdk, &name.0),
        None => {
            let name = plain(&sig.ident);
            quote!(#name)
        }
    };
    let component = match &args.component {
        Some(component) if component.is_literal() => quote_literal(component),
        Some(component) => checked(sdk, &component.0),
        None => quote!(::core::module_path!()),
    };
    described(sdk, &name, &component)
}

/// The expression `&STAGE` with its static.
pub(crate) fn described(sdk: &TokenStream, name: &TokenStream, component: &TokenStream) -> TokenStream {
    quote_spanned! {Span::mixed_site()=> {
        static STAGELIGHT_STAGE: #sdk::__private::Stage = #sdk::__private::Stage::new(
            #name, #component, ::core::file!(), ::core::line!(),
        );
        &STAGELIGHT_STAGE
    }}
}

/// A name that is a constant: the compiler sees whether it is empty.
pub(crate) fn checked(sdk: &TokenStream, name: &Expr) -> TokenStream {
    quote!(#sdk::__private::not_empty(#name))
}

fn quote_literal(name: &crate::args::Name) -> TokenStream {
    let name = &name.0;
    quote!(#name)
}

/// A name without the mark of a raw identifier.
pub(crate) fn plain(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}

/// Whether a value, given by reference, is an `Err`, whose text is noted where that is wanted.
fn failed(sdk: &TokenStream, value: &TokenStream) -> TokenStream {
    outcome(sdk, value, "failed")
}

/// Whether a value, given by reference, is an `Err`, and nothing else.
fn is_error(sdk: &TokenStream, value: &TokenStream) -> TokenStream {
    outcome(sdk, value, "is_error")
}

/// A statement that returns a result which is an error once its text is noted, where that can be wanted.
fn text_noted(sdk: &TokenStream, result: &Ident, ty: &Type) -> TokenStream {
    if !cfg!(feature = "error-texts") {
        return TokenStream::new();
    }
    let failed = failed(sdk, &quote!(#result));
    quote!(return #sdk::__private::noted(#result, |#result: &#ty| #failed);)
}

fn outcome(sdk: &TokenStream, value: &TokenStream, question: &str) -> TokenStream {
    let question = local(question);
    quote! {{
        #[allow(unused_imports)]
        use #sdk::__private::{MayFail as _, NeverFails as _};
        #sdk::__private::Outcome(#value).#question()
    }}
}

/// The body where it is the value of a block of ours. A lone expression needs no braces of its own, and the
/// compiler would say so of the user's.
fn tail(body: &Block) -> TokenStream {
    match body.stmts.as_slice() {
        [Stmt::Expr(value, None)] => quote!(#value),
        _ => quote!(#body),
    }
}

/// A name of ours that the user's code can't see.
pub(crate) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
