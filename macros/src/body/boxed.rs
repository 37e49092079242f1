//! A function that returns a boxed future.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Block, Expr, ExprCall, ReturnType, Signature, Stmt};

use super::{Wrapping, early_exits, evaluated, local, tail};
use crate::returns::Output;

/// Where the body ends in `Box::pin(…)`, as `async_trait` writes it, the future is wrapped within that box;
/// else in another.
pub(super) fn body(
    wrapping: &Wrapping<'_>,
    sig: &mut Signature,
    body: &Block,
    output: &Output,
) -> TokenStream {
    let (labels, labelled) = wrapping.labels_first();
    let wrapping = labelled.borrowed();
    if let Some((statements, call)) = ends_in_a_box(body, "pin") {
        let mut call = call.clone();
        let inner = &call.args[0];
        call.args[0] = Expr::Verbatim(wrapping.future(&quote!(#inner), output));
        let stmts = statements.iter().cloned().chain([Stmt::Expr(Expr::Call(call), None)]).collect();
        let body = Block { brace_token: body.brace_token, stmts };
        let body = tail(&body);
        return quote!(#labels #body);
    }
    let ReturnType::Type(_, ty) = sig.output.clone() else { return quote!(#body) };
    let name = local("future");
    let future = evaluated::evaluated(wrapping.sdk, sig, body, Some(&ty));
    let wrapped = wrapping.future(&quote!(#name), output);
    quote! {
        #labels
        #[allow(unused_braces)]
        let #name: #ty = #future;
        ::std::boxed::Box::pin(#wrapped)
    }
}

/// The body's last expression, if that is a `Box::pin(…)`, or what `maker` says instead of `pin`, and nothing leaves the body
/// before it.
pub(super) fn ends_in_a_box<'a>(body: &'a Block, maker: &str) -> Option<(&'a [Stmt], &'a ExprCall)> {
    let [statements @ .., Stmt::Expr(Expr::Call(call), None)] = body.stmts.as_slice() else { return None };
    let Expr::Path(path) = &*call.func else { return None };
    let names = path.path.segments.iter().rev().map(|segment| segment.ident.to_string()).take(2);
    (names.eq([maker, "Box"]) && call.args.len() == 1 && !early_exits::are_possible(body))
        .then_some((statements, call))
}
