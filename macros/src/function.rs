//! What `#[stage]` and `#[query]` make of a function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Block, Error, ItemFn, Result, Signature};

use crate::args::{QueryArgs, StageArgs};
use crate::returns;

/// Parses the item, checks it and replaces it by its expansion if recording is compiled in.
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
        Ok(item) if cfg!(feature = "enabled") => quote!(#item).into(),
        Ok(_) => untouched,
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
    if let Some(asyncness) = sig.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            format!(
                "`#[{attribute}]` can't time an `async fn` yet; put it on the sync functions that it calls"
            ),
        ));
    }
    if returns::is_future(&sig.output) {
        return Err(Error::new_spanned(
            &sig.output,
            format!(
                "`#[{attribute}]` can't time a future yet, only the making of it; put it on the sync functions \
                 that the future calls"
            ),
        ));
    }
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
    let block = stage_body(&item.sig, &item.block, args, None);
    *item.block = block;
    Ok(())
}

pub(crate) fn expand_query(item: &mut ItemFn, args: &QueryArgs) -> Result<()> {
    let labels = args.labels.iter().map(|label| match label {
        // The span of the expression, so that a type that is no label is shown there.
        Some(label) => quote_spanned!(label.span()=> &(#label)),
        None => quote!(&()),
    });
    let labels = quote!(#(, #labels)*);
    let block = stage_body(&item.sig, &item.block, &args.stage, Some(labels));
    *item.block = block;
    Ok(())
}

/// The body of a function within a guard. `labels` make it a query.
pub(crate) fn stage_body(
    sig: &Signature,
    body: &Block,
    args: &StageArgs,
    labels: Option<TokenStream>,
) -> Block {
    // Names of ours are invisible to the function's own code.
    let span = Span::mixed_site();
    let guard = format_ident!("guard", span = span);
    let result = format_ident!("result", span = span);
    let stage = format_ident!("__STAGELIGHT_STAGE", span = span);
    let name = match &args.name {
        Some(name) => quote!(#name),
        None => {
            let name = sig.ident.to_string();
            let name = name.strip_prefix("r#").unwrap_or(&name);
            quote!(#name)
        }
    };
    let component = match &args.component {
        Some(component) => quote!(#component),
        None => quote!(::core::module_path!()),
    };
    let enter = match &labels {
        Some(_) => quote!(enter_query),
        None => quote!(enter),
    };
    let prologue = quote_spanned! {span=>
        static #stage: ::stagelight::__private::Stage = ::stagelight::__private::Stage::new(
            #name, #component, ::core::file!(), ::core::line!(),
        );
        #[allow(unused_mut, unused_variables)]
        let mut #guard = ::stagelight::__private::#enter(&#stage #labels);
    };
    let statements = &body.stmts;
    match returns::maybe_result(&sig.output) {
        None => syn::parse_quote!({ #prologue #(#statements)* }),
        Some(ty) => {
            let epilogue = quote_spanned! {span=>
                {
                    #[allow(unused_imports)]
                    use ::stagelight::__private::NeverFails as _;
                    if ::stagelight::__private::Outcome(&#result).failed() {
                        #guard.fail();
                    }
                }
                #result
            };
            syn::parse_quote!({
                #prologue
                let #result: #ty = ::stagelight::__private::once(move || -> #ty #body);
                #epilogue
            })
        }
    }
}
