//! What `#[stage_all]` makes of an `impl` block, a trait or a module.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Block, Error, Item, LitStr, Meta, Result, Signature};

use crate::args::{StageAllArgs, StageArgs};
use crate::function;

pub(crate) fn expand(item: proc_macro::TokenStream, args: &StageAllArgs) -> Result<proc_macro::TokenStream> {
    let mut item: Item = syn::parse(item)?;
    match &mut item {
        Item::Impl(block) => {
            let owner = type_name(&block.self_ty);
            for member in &mut block.items {
                if let syn::ImplItem::Fn(f) = member {
                    stage(&mut f.attrs, &f.sig, Some(&mut f.block), Some(&owner), args)?;
                }
            }
        }
        Item::Trait(block) => {
            let owner = block.ident.to_string();
            for member in &mut block.items {
                if let syn::TraitItem::Fn(f) = member {
                    stage(&mut f.attrs, &f.sig, f.default.as_mut(), Some(&owner), args)?;
                }
            }
        }
        Item::Mod(module) => {
            let Some((_, items)) = &mut module.content else {
                return Err(Error::new_spanned(
                    module,
                    "`#[stage_all]` needs the module's body: `mod name { … }`",
                ));
            };
            for member in items {
                if let Item::Fn(f) = member {
                    stage(&mut f.attrs, &f.sig, Some(&mut f.block), None, args)?;
                }
            }
        }
        _ => {
            return Err(Error::new(
                Span::call_site(),
                "`#[stage_all]` goes on an `impl` block, a trait or a module; for a function there is `#[stage]`",
            ));
        }
    }
    Ok(item.into_token_stream().into())
}

fn stage(
    attrs: &mut Vec<Attribute>,
    sig: &Signature,
    body: Option<&mut Block>,
    owner: Option<&str>,
    args: &StageAllArgs,
) -> Result<()> {
    if let Some(index) = attrs.iter().position(|attr| is_ours(attr, "stage")) {
        // An attribute with arguments stays and expands by itself.
        if let Meta::List(list) = &attrs[index].meta
            && syn::parse2::<StageArgs>(list.tokens.clone())?.skip.is_some()
        {
            attrs.remove(index);
        }
        return Ok(());
    }
    let Some(body) = body else { return Ok(()) };
    if attrs.iter().any(|attr| is_ours(attr, "query")) || !function::can_be_stage(sig) {
        return Ok(());
    }
    if cfg!(feature = "enabled") {
        let name = owner.map(|owner| format!("{owner}::{}", sig.ident));
        let args = StageArgs {
            name: name.map(|name| LitStr::new(&name, sig.ident.span())),
            component: args.component.clone(),
            skip: None,
        };
        *body = function::stage_body(sig, body, &args, None);
    }
    Ok(())
}

/// `#[stage]`, `#[stagelight::stage]`, with arguments or without.
fn is_ours(attr: &Attribute, name: &str) -> bool {
    let path = attr.path();
    match path.segments.len() {
        1 => path.is_ident(name),
        2 => path.segments[0].ident == "stagelight" && path.segments[1].ident == name,
        _ => false,
    }
}

/// The type's own name, without its path and arguments.
fn type_name(ty: &syn::Type) -> String {
    match ty {
        syn::Type::Path(path) => {
            path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default()
        }
        other => TokenStream::to_string(&quote!(#other)),
    }
}
