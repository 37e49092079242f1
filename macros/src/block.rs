//! What `stage_block!` makes of a block.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;

use crate::args::BlockArgs;
use crate::body;

pub(crate) fn expand(args: &BlockArgs) -> TokenStream {
    let BlockArgs { krate: sdk, name, body } = args;
    let statements = &body.stmts;
    let plain = name.0.to_token_stream();
    let work = if cfg!(feature = "enabled") {
        let name = if name.is_literal() { plain.clone() } else { body::checked(sdk, &name.0) };
        let stage = body::described(sdk, &name, &quote!(::core::module_path!()));
        let frame = body::local("frame");
        // Where the name stands: an error about a guard that is held too long shows it.
        let guard = Ident::new("guard", Span::mixed_site().located_at(plain.span()));
        quote_spanned! {Span::mixed_site()=>
            let mut #frame = #sdk::__private::Frame::new();
            let #guard = #sdk::__private::enter(#stage, &mut #frame);
            #(#statements)*
        }
    } else if name.is_literal() {
        return body.to_token_stream();
    } else {
        quote!(const _: &::core::primitive::str = #plain; #(#statements)*)
    };
    // Braces of the user's edition: it says how long what the block's last expression borrows lives.
    let mut group = Group::new(Delimiter::Brace, work);
    group.set_span(body.brace_token.span.join());
    TokenTree::Group(group).into()
}
