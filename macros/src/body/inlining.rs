//! A small function stays one that the compiler puts into its callers.
//!
//! Entering a stage is more code than the compiler takes for worth copying, and much less than it costs to
//! call: a counted stage takes 3.3 ns within its caller and 4.1 ns in a function of its own. Without the
//! attribute a body of a few operations would be inlined, also from another crate; so it is told to.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Block, Meta, Signature};

/// As many tokens as a body may have that surely is small: `self.items.get(index).copied()` has 11.
const SMALL: usize = 40;

/// Attributes that say otherwise, or can't stand beside `#[inline(always)]`.
const SAYING: [&str; 7] =
    ["inline", "cold", "no_mangle", "export_name", "target_feature", "link_section", "naked"];

/// Adds `#[inline(always)]` to a small function that says nothing of inlining itself.
pub(super) fn keep(attrs: &mut Vec<Attribute>, sig: &Signature, body: &Block) {
    let plain = sig.asyncness.is_none() && sig.abi.is_none();
    if plain && !attrs.iter().any(says) && size(body.to_token_stream()).is_some_and(|size| size <= SMALL) {
        // Where nothing is optimized a debugger steps into it as into any function.
        attrs.push(syn::parse_quote!(#[cfg_attr(not(debug_assertions), inline(always))]));
    }
}

/// Whether an attribute, or one that it gives under a condition, speaks of how a function is compiled.
fn says(attr: &Attribute) -> bool {
    let known = |name: &str| SAYING.contains(&name);
    let names =
        |tokens: TokenStream| tokens.to_string().split(|c: char| !c.is_alphanumeric() && c != '_').any(known);
    match &attr.meta {
        Meta::List(list) if list.path.is_ident("unsafe") || list.path.is_ident("cfg_attr") => {
            names(list.tokens.clone())
        }
        meta => meta.path().segments.last().is_some_and(|last| known(&last.ident.to_string())),
    }
}

/// How many tokens there are. `None` if there is a loop among them.
fn size(tokens: TokenStream) -> Option<usize> {
    tokens.into_iter().try_fold(0, |sum, token| {
        Some(
            sum + match token {
                TokenTree::Group(group) => size(group.stream())? + 1,
                TokenTree::Ident(name) if ["for", "while", "loop"].iter().any(|word| name == word) => {
                    return None;
                }
                _ => 1,
            },
        )
    })
}
