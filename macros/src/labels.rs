//! The labels of a query.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned as _;

use crate::args::QueryArgs;

/// An expression that makes a query's `Labels`.
pub(crate) fn labels(args: &QueryArgs, sdk: &TokenStream) -> TokenStream {
    if let Some(labels) = &args.labels {
        // The span of the expression, so that a type that has no labels is shown there.
        return quote_spanned!(labels.span()=> #sdk::__private::labels_of(&(#labels)));
    }
    let values = args.values.iter().map(|value| match value {
        // The span of the expression, so that a type that is no label is shown there.
        Some(value) => quote_spanned!(value.span()=> &(#value)),
        None => quote!(&()),
    });
    let found = quote!(#sdk::Labels::new(#(#values),*));
    if !args.values.iter().flatten().all(is_constant) {
        return found;
    }
    quote!({
        static LABELS: #sdk::__private::ConstLabels = #sdk::__private::ConstLabels::new();
        LABELS.get(|| #found)
    })
}

/// All expressions of the user's that a query's labels are made of.
pub(crate) fn expressions(args: &QueryArgs) -> Vec<Expr> {
    args.values.iter().chain([&args.labels]).flatten().cloned().collect()
}

/// Whether a value is the same in each call, whatever the function is generic over: a literal, or a
/// constant of a module, `crate::sql::SELECT`. A name alone may be a parameter.
fn is_constant(value: &Expr) -> bool {
    match value {
        Expr::Lit(_) => true,
        Expr::Path(path) if path.qself.is_none() => {
            let mut names = path.path.segments.iter().map(|segment| segment.ident.to_string());
            let rooted = names.next().is_some_and(|name| ["crate", "self", "super"].contains(&name.as_str()));
            let mut names: Vec<String> = names.collect();
            let last = names.pop();
            let upper = |name: &String| {
                name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            };
            let lower = |name: &String| !name.chars().any(|c| c.is_ascii_uppercase());
            rooted && last.as_ref().is_some_and(upper) && names.iter().all(lower)
        }
        _ => false,
    }
}
