//! A body where recording is not compiled in.
//!
//! What the attribute refers to is checked and used as it would be with recording, in code that is never
//! reached: a mistake shows in the library that makes it, not in the program that turns recording on, and
//! an argument or a field that only labels need is no unused one. It leaves no trace in the machine code.

use proc_macro2::TokenStream;
use syn::{Block, Stmt};

use super::Recording;
use crate::args::StageArgs;

pub(super) fn refer(body: &mut Block, sdk: &TokenStream, args: &StageArgs, query: Option<&Recording>) {
    let mut added: Vec<Stmt> = Vec::new();
    for name in [&args.name, &args.component].into_iter().flatten().filter(|name| !name.is_literal()) {
        let name = &name.0;
        added.push(syn::parse_quote!(const _: &::core::primitive::str = #name;));
    }
    if let Some(query) = query.filter(|query| !query.expressions.is_empty()) {
        let labels = &query.labels;
        // It never comes back from there, so that nothing which follows takes a label's source for borrowed.
        added.push(syn::parse_quote! {
            if false {
                let _: #sdk::Labels = #labels;
                #sdk::__private::never_reached()
            }
        });
    }
    body.stmts.splice(0..0, added);
}
