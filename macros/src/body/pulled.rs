//! A function that gives an iterator or a stream: a stage while that is made and whenever an item is pulled out of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Block, Expr, ReturnType, Signature, Stmt};

use super::boxed::ends_in_a_box;
use super::{Wrapping, evaluated, failed, local, tail};
use crate::returns::{Output, Pulled, Within};

pub(super) fn body(
    wrapping: &Wrapping<'_>,
    sig: &mut Signature,
    body: &Block,
    pulled: &Pulled,
) -> TokenStream {
    let Wrapping { sdk, stage, labels } = wrapping;
    let (making, on, made) = (local("making"), local("on"), local("made"));
    let begin = match labels {
        Some(labels) => quote!(#sdk::__private::make_in_query(#stage, #labels)),
        None => quote!(#sdk::__private::make_in_stage(#stage)),
    };
    let begin = quote! {
        let mut #making = #begin;
        let #on = #making.begin();
    };
    let end = quote!(::core::mem::drop(#on););
    let recorded = recorded(wrapping, pulled);
    if let (Some(maker), Within::Itself) = (pulled.boxed, &pulled.within)
        && let Some((statements, call)) = ends_in_a_box(body, maker)
    {
        // Wrapped within its box, it needs no other.
        let mut call = call.clone();
        let inner = &call.args[0];
        call.args[0] = Expr::Verbatim(quote!({
            #[allow(unused_braces)]
            let #made = #inner;
            #end
            #recorded
        }));
        let stmts = statements.iter().cloned().chain([Stmt::Expr(Expr::Call(call), None)]).collect();
        let body = tail(&Block { brace_token: body.brace_token, stmts });
        return quote!(#begin #body);
    }
    // A type that can be written tells what the body's values are coerced to.
    let ty = match &sig.output {
        ReturnType::Type(_, ty) if pulled.boxed.is_some() => Some(ty.as_ref().clone()),
        _ => None,
    };
    let value = evaluated::evaluated(sdk, sig, body, ty.as_ref());
    let annotation = ty.map(|ty| quote!(: #ty));
    let recorded = match pulled.boxed {
        Some("pin") => quote!(::std::boxed::Box::pin(#recorded)),
        Some(_) => quote!(::std::boxed::Box::new(#recorded)),
        None => recorded,
    };
    let error = local("error");
    let result = match pulled.within {
        Within::Itself => recorded,
        Within::Option => quote! {
            match #made {
                ::core::option::Option::Some(#made) => ::core::option::Option::Some(#recorded),
                ::core::option::Option::None => ::core::option::Option::None,
            }
        },
        Within::Result => quote! {
            match #made {
                ::core::result::Result::Ok(#made) => ::core::result::Result::Ok(#recorded),
                ::core::result::Result::Err(#error) => {
                    #making.fail();
                    ::core::result::Result::Err(#error)
                }
            }
        },
    };
    quote! {
        #begin
        #[allow(unused_braces)]
        let #made #annotation = #value;
        #end
        #result
    }
}

/// The iterator or stream `made`, recorded.
fn recorded(wrapping: &Wrapping<'_>, pulled: &Pulled) -> TokenStream {
    let (making, made, item) = (local("making"), local("made"), local("item"));
    let failed = failed(wrapping.sdk, &quote!(#item));
    let failed = match &pulled.item {
        Output::Typed(ty) => quote!(|#item: &#ty| #failed),
        Output::Inferred => quote!(|#item| #failed),
        Output::NeverFails => quote!(|_| false),
    };
    if pulled.stream {
        quote!(#making.stream(#made, #failed))
    } else {
        quote!(#making.iterator(#made, #failed))
    }
}
