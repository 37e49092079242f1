//! Arguments that move into a closure or an async block are dropped as a function would drop them.
//!
//! What a closure has captured is dropped in the order in which the closure first names it. So each of
//! ours begins by naming all arguments, the last first: in this order a function drops them. Named
//! whole, an argument is captured whole, and one that the body doesn't use is captured too.
//!
//! What a pattern leaves unbound (the second part in `(a, _): (A, B)`) stays with the function and is
//! dropped after all that is bound.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::visit::{self, Visit};
use syn::{FnArg, Pat, PatIdent, PatType, Signature, Type};

use super::local;

/// Statements that name the arguments. Arguments without a name get one of ours.
pub(super) fn captured(sdk: &TokenStream, sig: &mut Signature) -> TokenStream {
    let mut statements: Vec<TokenStream> = Vec::new();
    for (index, argument) in sig.inputs.iter_mut().enumerate() {
        match argument {
            FnArg::Receiver(receiver) if receiver.reference.is_none() => {
                let name = &receiver.self_token;
                statements.push(quote!(#sdk::__private::capture(&#name);));
            }
            FnArg::Typed(PatType { attrs, pat, ty, .. }) if !is_never_dropped(ty) => {
                if matches!(**pat, Pat::Wild(_)) {
                    let name = local(&format!("unbound{index}"));
                    **pat = syn::parse_quote!(#name);
                }
                // An argument that is compiled under a condition is named under it.
                let conditions: Vec<_> = attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect();
                statements.extend(
                    bindings(pat)
                        .iter()
                        .map(|name| quote!(#(#conditions)* #sdk::__private::capture(&#name);)),
                );
            }
            _ => {}
        }
    }
    statements.into_iter().rev().collect()
}

/// Whether values of a type need no dropping, as far as is seen.
fn is_never_dropped(ty: &Type) -> bool {
    matches!(ty, Type::Reference(_) | Type::Ptr(_) | Type::BareFn(_) | Type::Never(_))
}

/// The names that a pattern binds, in the order in which they stand.
fn bindings(pat: &Pat) -> Vec<Ident> {
    #[derive(Default)]
    struct Bindings(Vec<Ident>);
    impl<'ast> Visit<'ast> for Bindings {
        fn visit_pat_ident(&mut self, pat: &'ast PatIdent) {
            // A name with a capital may be a constant or a unit structure.
            if !pat.ident.to_string().starts_with(char::is_uppercase) && !self.0.contains(&pat.ident) {
                self.0.push(pat.ident.clone());
            }
            visit::visit_pat_ident(self, pat);
        }
    }
    let mut found = Bindings::default();
    found.visit_pat(pat);
    found.0
}
