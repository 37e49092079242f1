//! Ways out of a body before its end: `return`, `?`, and macros that may hide them.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Expr, ExprAsync, ExprClosure, ExprReturn, ExprTry, Item, Macro, Type};

use super::{is_error, text_noted};

/// Macros of the standard library that leave a function only by what their arguments say.
const STAYING: [&str; 22] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "concat",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "eprint",
    "eprintln",
    "format",
    "format_args",
    "matches",
    "panic",
    "print",
    "println",
    "stringify",
    "todo",
    "unimplemented",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// Whether the body may be left otherwise than by its end or a panic.
pub(super) fn are_possible(body: &Block) -> bool {
    struct Exits(bool);
    impl<'ast> Visit<'ast> for Exits {
        fn visit_expr_return(&mut self, _: &'ast ExprReturn) {
            self.0 = true;
        }
        fn visit_expr_try(&mut self, _: &'ast ExprTry) {
            self.0 = true;
        }
        fn visit_macro(&mut self, called: &'ast Macro) {
            let stays = called.path.get_ident().is_some_and(|name| STAYING.iter().any(|known| name == known));
            self.0 |= !stays || mentions_exit(called.tokens.clone());
        }
        // A way out of these is none out of the function.
        fn visit_expr_closure(&mut self, _: &'ast ExprClosure) {}
        fn visit_expr_async(&mut self, _: &'ast ExprAsync) {}
        fn visit_item(&mut self, _: &'ast Item) {}
    }
    let mut exits = Exits(false);
    visit::visit_block(&mut exits, body);
    exits.0
}

fn mentions_exit(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == "return",
        TokenTree::Punct(mark) => mark.as_char() == '?',
        TokenTree::Group(group) => mentions_exit(group.stream()),
        TokenTree::Literal(_) => false,
    })
}

/// The body with every `return` and its end noted in `exit`, where they give no `Err`. `?` and what macros
/// hide is not noted, and so counts as an error: that is what they are for.
pub(super) fn noted(sdk: &TokenStream, body: &Block, ty: &Type, exit: &Ident) -> TokenStream {
    struct Returns<F>(F);
    impl<F: Fn(&Expr) -> TokenStream> VisitMut for Returns<F> {
        fn visit_expr_return_mut(&mut self, leaving: &mut ExprReturn) {
            visit_mut::visit_expr_return_mut(self, leaving);
            if let Some(value) = &mut leaving.expr {
                let noted = (self.0)(value);
                **value = Expr::Verbatim(noted);
            }
        }
        fn visit_expr_closure_mut(&mut self, _: &mut ExprClosure) {}
        fn visit_expr_async_mut(&mut self, _: &mut ExprAsync) {}
        fn visit_item_mut(&mut self, _: &mut Item) {}
    }
    let result = super::local("result");
    let note = |value: &dyn quote::ToTokens| {
        let is_error = is_error(sdk, &quote!(&#result));
        let text_noted = text_noted(sdk, &result, ty);
        quote!({
            #[allow(unused_braces)]
            let #result: #ty = #value;
            if #is_error {
                #text_noted
            } else {
                #exit.succeeded();
            }
            #result
        })
    };
    let mut body = body.clone();
    Returns(|value: &Expr| note(value)).visit_block_mut(&mut body);
    note(&body)
}
