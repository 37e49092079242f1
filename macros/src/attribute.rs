//! `#[stage]` and `#[query]` on a function.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{Error, ItemFn, Result, Signature};

use crate::args::{QueryArgs, StageArgs};
use crate::body::{self, Recording};
use crate::sdk_path::sdk_path;

/// Parses the item, checks it and replaces it by its expansion.
pub(crate) fn attribute(
    item: proc_macro::TokenStream,
    attribute: &str,
    expand: impl FnOnce(&mut ItemFn) -> Result<()>,
) -> proc_macro::TokenStream {
    let untouched = item.clone();
    let result = parse(item, attribute).and_then(|mut item| {
        check(&item.sig, attribute)?;
        expand(&mut item)?;
        Ok(item)
    });
    match result {
        Ok(item) => quote!(#item).into(),
        Err(error) => {
            // The function stays, so that its callers don't add errors of their own.
            let error = error.into_compile_error();
            let untouched = TokenStream::from(untouched);
            quote!(#error #untouched).into()
        }
    }
}

fn parse(item: proc_macro::TokenStream, attribute: &str) -> Result<ItemFn> {
    let tokens = TokenStream::from(item);
    syn::parse2(tokens.clone()).map_err(|error| {
        if let Ok(method) = syn::parse2::<syn::TraitItemFn>(tokens.clone())
            && method.default.is_none()
        {
            return Error::new_spanned(
                method.sig,
                format!("`#[{attribute}]` needs a body to time: put it on the implementations"),
            );
        }
        if syn::parse2::<syn::Item>(tokens).is_ok() {
            return Error::new(
                Span::call_site(),
                format!(
                    "`#[{attribute}]` goes on a function; for an `impl` or `mod` there is `#[stage_all]`"
                ),
            );
        }
        error
    })
}

fn check(sig: &Signature, attribute: &str) -> Result<()> {
    if let Some(constness) = sig.constness {
        return Err(Error::new_spanned(
            constness,
            format!("`#[{attribute}]` can't time a `const fn`: the clock can't be read at compile time"),
        ));
    }
    Ok(())
}

/// Whether a function can be a stage at all.
pub(crate) fn can_be_stage(sig: &Signature) -> bool {
    check(sig, "stage").is_ok()
}

pub(crate) fn expand_stage(item: &mut ItemFn, args: &StageArgs) -> Result<()> {
    if let Some(skip) = &args.skip {
        return Err(Error::new(skip.span(), "`#[stage(skip)]` only has a meaning within `#[stage_all]`"));
    }
    body::expand(&mut item.attrs, &mut item.sig, &mut item.block, args, None);
    Ok(())
}

pub(crate) fn expand_query(item: &mut ItemFn, args: &QueryArgs) -> Result<()> {
    let sdk = sdk_path(args.stage.krate.as_ref());
    let query = Recording::of(args, &sdk);
    body::expand(&mut item.attrs, &mut item.sig, &mut item.block, &args.stage, Some(&query));
    Ok(())
}
