//! A function that does its work when it is called.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Block, Meta, Signature};

use super::{Wrapping, early_exits, evaluated, is_error, local, tail, text_noted};
use crate::returns;

pub(super) fn body(
    wrapping: &Wrapping<'_>,
    attrs: &[Attribute],
    sig: &mut Signature,
    body: &Block,
) -> TokenStream {
    let Wrapping { sdk, stage, labels } = wrapping;
    let (frame, guard, result) = (local("frame"), local("guard"), local("result"));
    let (room, enter) = match labels {
        Some(labels) => {
            (quote!(QueryFrame), quote!(#sdk::__private::enter_query(#stage, || #labels, &mut #frame)))
        }
        None => (quote!(Frame), quote!(#sdk::__private::enter(#stage, &mut #frame))),
    };
    let frame = quote!(let mut #frame = #sdk::__private::#room::new(););
    let Some(ty) = returns::maybe_result(&sig.output).cloned() else {
        let body = tail(body);
        return quote!(#frame let #guard = #enter; #body);
    };
    let value = if has_track_caller(attrs) && early_exits::are_possible(body) {
        // A closure has no caller's location.
        let exit = local("exit");
        let body = early_exits::noted(sdk, body, &ty, &exit);
        return quote! {
            #frame
            let mut #guard = #enter;
            let mut #exit = #sdk::__private::Exit::new(|| #guard.fail());
            #body
        };
    } else {
        evaluated::evaluated(sdk, sig, body, Some(&ty))
    };
    let is_error = is_error(sdk, &quote!(&#result));
    let text_noted = text_noted(sdk, &result, &ty);
    quote! {
        #frame
        let mut #guard = #enter;
        #[allow(unused_braces)]
        let #result: #ty = #value;
        if #is_error {
            #guard.fail();
            #text_noted
        }
        #result
    }
}

/// Whether the function has `#[track_caller]`, or may have it by a `cfg_attr`.
fn has_track_caller(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("track_caller")
            || matches!(&attr.meta, Meta::List(list) if list.path.is_ident("cfg_attr")
                && list.tokens.to_string().contains("track_caller"))
    })
}
