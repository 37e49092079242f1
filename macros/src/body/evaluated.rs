//! A body as an expression that has the value which the function would return.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Block, Signature, Type};

use super::{captures, early_exits, tail};

/// The body itself where it has no way out but its end; else a closure, which a `return` or `?` leaves.
/// `returns` is the closure's type, where it can be written.
pub(super) fn evaluated(
    sdk: &TokenStream,
    sig: &mut Signature,
    body: &Block,
    returns: Option<&Type>,
) -> TokenStream {
    if !early_exits::are_possible(body) {
        return quote!(#body);
    }
    let body = tail(body);
    let captured = captures::captured(sdk, sig);
    match returns {
        Some(ty) => quote!(#sdk::__private::once(move || -> #ty { #captured #body })),
        None => quote!(#sdk::__private::once(move || { #captured #body })),
    }
}
