//! What `#[stage_all]` makes of an `impl` block, a trait or a module.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Block, Error, Expr, ExprLit, Item, Lit, LitStr, Meta, Path, Result, Signature};

use crate::args::{Name, StageAllArgs, StageArgs};
use crate::attribute;
use crate::body;
use crate::sdk_path::sdk_path;

pub(crate) fn expand(item: proc_macro::TokenStream, args: &StageAllArgs) -> Result<proc_macro::TokenStream> {
    let mut item: Item = syn::parse(item)?;
    match &mut item {
        Item::Impl(block) => {
            let owner = type_name(&block.self_ty);
            for member in &mut block.items {
                if let syn::ImplItem::Fn(f) = member {
                    stage(&mut f.attrs, &mut f.sig, Some(&mut f.block), Some(&owner), args)?;
                }
            }
        }
        Item::Trait(block) => {
            let owner = block.ident.to_string();
            for member in &mut block.items {
                if let syn::TraitItem::Fn(f) = member {
                    stage(&mut f.attrs, &mut f.sig, f.default.as_mut(), Some(&owner), args)?;
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
                    stage(&mut f.attrs, &mut f.sig, Some(&mut f.block), None, args)?;
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
    sig: &mut Signature,
    body: Option<&mut Block>,
    owner: Option<&str>,
    args: &StageAllArgs,
) -> Result<()> {
    let krate = args.krate.as_ref();
    if let Some(index) = attrs.iter().position(|attr| is_ours(attr, "stage", krate)) {
        if let Meta::List(list) = &attrs[index].meta
            && syn::parse2::<StageArgs>(list.tokens.clone())?.skip.is_some()
        {
            attrs.remove(index);
        } else {
            // It stays and expands by itself.
            hand_on(&mut attrs[index], krate);
        }
        return Ok(());
    }
    if let Some(query) = attrs.iter_mut().find(|attr| is_ours(attr, "query", krate)) {
        hand_on(query, krate);
        return Ok(());
    }
    let Some(body) = body else { return Ok(()) };
    if !attribute::can_be_stage(sig) {
        return Ok(());
    }
    let name = owner.map(|owner| format!("{owner}::{}", body::plain(&sig.ident)));
    let args = StageArgs {
        name: name.map(|name| Name(literal(&name, sig.ident.span()))),
        component: args.component.clone(),
        krate: args.krate.clone(),
        skip: None,
    };
    body::expand(attrs, sig, body, &args, None);
    Ok(())
}

fn literal(text: &str, span: Span) -> Expr {
    Expr::Lit(ExprLit { attrs: Vec::new(), lit: Lit::Str(LitStr::new(text, span)) })
}

/// Gives an attribute of a member the sdk's path, unless it has one of its own.
fn hand_on(attr: &mut Attribute, krate: Option<&Path>) {
    let Some(krate) = krate else { return };
    let path = attr.path().clone();
    let said = match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    let has_one = said.clone().into_iter().any(|token| token.to_string() == "crate");
    if !has_one {
        attr.meta = syn::parse_quote!(#path(crate = #krate, #said));
    }
}

/// `#[stage]`, `#[stagelight::stage]`, with arguments or without; also by the sdk's other name.
fn is_ours(attr: &Attribute, name: &str, krate: Option<&Path>) -> bool {
    let path = attr.path();
    if path.is_ident(name) {
        return true;
    }
    let written = |path: &Path| path.to_token_stream().to_string().trim_start_matches(":: ").to_owned();
    let Some((last, before)) = path.segments.iter().collect::<Vec<_>>().split_last().map(|(last, before)| {
        let names: Vec<String> = before.iter().map(|segment| segment.ident.to_string()).collect();
        (last.ident.to_string(), names.join(" :: "))
    }) else {
        return false;
    };
    let sdk = sdk_path(None).to_string();
    last == name
        && (before == "stagelight"
            || before == sdk.trim_start_matches(":: ")
            || krate.is_some_and(|krate| before == written(krate)))
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
