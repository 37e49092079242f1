//! What `#[stage]` and `#[query]` make of a function.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Block, Error, Expr, Ident, ItemFn, Result, Signature, Stmt, Type};

use crate::args::{QueryArgs, StageArgs};
use crate::returns::{self, Kind};

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
    *item.block = stage_body(&item.sig, &item.block, args, None);
    Ok(())
}

pub(crate) fn expand_query(item: &mut ItemFn, args: &QueryArgs) -> Result<()> {
    let labels = match &args.labels {
        Some(labels) => quote_spanned!(labels.span()=> #labels),
        None => {
            let values = args.values.iter().map(|value| match value {
                // The span of the expression, so that a type that is no label is shown there.
                Some(value) => quote_spanned!(value.span()=> &(#value)),
                None => quote!(&()),
            });
            let found = quote!(::stagelight::Labels::new(#(#values),*));
            if args.values.iter().flatten().all(is_constant) {
                // In a block, so that the function's own code doesn't see the name.
                quote!({
                    static LABELS: ::stagelight::__private::ConstLabels = ::stagelight::__private::ConstLabels::new();
                    LABELS.get(|| #found)
                })
            } else {
                found
            }
        }
    };
    *item.block = stage_body(&item.sig, &item.block, &args.stage, Some(labels));
    Ok(())
}

/// Whether a value is the same in each call, whatever the function is generic over: a literal, or a constant of a module,
/// `crate::sql::SELECT`. A name alone may be a parameter.
fn is_constant(value: &Expr) -> bool {
    match value {
        Expr::Lit(_) => true,
        Expr::Path(path) if path.qself.is_none() => {
            let mut names = path.path.segments.iter().map(|segment| segment.ident.to_string());
            let rooted = names.next().is_some_and(|name| ["crate", "self", "super"].contains(&name.as_str()));
            let mut names: Vec<String> = names.collect();
            let last = names.pop();
            let upper = |name: &String| {
                name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            };
            let lower = |name: &String| !name.chars().any(|c| c.is_ascii_uppercase());
            rooted && last.as_ref().is_some_and(upper) && names.iter().all(lower)
        }
        _ => false,
    }
}

/// The body of a function within a guard or, if it is asynchronous, a future's. `labels` make it a query.
pub(crate) fn stage_body(
    sig: &Signature,
    body: &Block,
    args: &StageArgs,
    labels: Option<TokenStream>,
) -> Block {
    // Names of ours are invisible to the function's own code.
    let stage = format_ident!("__STAGELIGHT_STAGE", span = Span::mixed_site());
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
    let declaration = quote_spanned! {Span::mixed_site()=>
        static #stage: ::stagelight::__private::Stage = ::stagelight::__private::Stage::new(
            #name, #component, ::core::file!(), ::core::line!(),
        );
    };
    let work = match Kind::of(sig) {
        Kind::Sync => sync_body(sig, body, &stage, labels.as_ref()),
        Kind::Async(output) => {
            let future = future(&stage, labels.as_ref(), &quote!(async move #body), output.as_ref());
            quote!(#future.await)
        }
        Kind::ReturnsFuture(output) => {
            let body = quote!(::stagelight::__private::once(move || #body));
            future(&stage, labels.as_ref(), &body, output.as_ref())
        }
        Kind::ReturnsBox(output) => boxed_body(sig, body, &stage, labels.as_ref(), output.as_ref()),
    };
    syn::parse_quote!({ #declaration #work })
}

fn sync_body(sig: &Signature, body: &Block, stage: &Ident, labels: Option<&TokenStream>) -> TokenStream {
    let span = Span::mixed_site();
    let guard = format_ident!("guard", span = span);
    let result = format_ident!("result", span = span);
    let frame = format_ident!("frame", span = span);
    let (room, enter) = match labels {
        Some(labels) => (
            quote!(QueryFrame),
            quote!(::stagelight::__private::enter_query(&#stage, || #labels, &mut #frame)),
        ),
        None => (quote!(Frame), quote!(::stagelight::__private::enter(&#stage, &mut #frame))),
    };
    let enter = quote_spanned! {span=>
        let mut #frame = ::stagelight::__private::#room::new();
        #[allow(unused_mut, unused_variables)]
        let mut #guard = #enter;
    };
    let statements = &body.stmts;
    match returns::maybe_result(&sig.output) {
        None => quote!(#enter #(#statements)*),
        Some(ty) => {
            let failed = failed(&quote!(&#result));
            quote! {
                #enter
                let #result: #ty = ::stagelight::__private::once(move || -> #ty #body);
                if #failed {
                    #guard.fail();
                }
                #result
            }
        }
    }
}

/// Whether a value, given by reference, is an `Err`.
fn failed(value: &TokenStream) -> TokenStream {
    quote! {{
        #[allow(unused_imports)]
        use ::stagelight::__private::NeverFails as _;
        ::stagelight::__private::Outcome(#value).failed()
    }}
}

/// A future that is the stage, or the query, made of another.
fn future(
    stage: &Ident,
    labels: Option<&TokenStream>,
    future: &TokenStream,
    output: Option<&Type>,
) -> TokenStream {
    let result = format_ident!("result", span = Span::mixed_site());
    let failed = match output {
        Some(output) => {
            let failed = failed(&quote!(#result));
            quote!(|#result: &#output| #failed)
        }
        None => quote!(|_| false),
    };
    match labels {
        // The labels first: the future may take what they are made of.
        Some(labels) => quote!({
            let labels = #labels;
            ::stagelight::__private::query_future(&#stage, labels, #future, #failed)
        }),
        None => quote!(::stagelight::__private::stage_future(&#stage, #future, #failed)),
    }
}

/// The body of a function that returns a boxed future. Where it ends in `Box::pin(…)`, as `async_trait` writes it, the
/// future is wrapped within that box; else in another.
fn boxed_body(
    sig: &Signature,
    body: &Block,
    stage: &Ident,
    labels: Option<&TokenStream>,
    output: Option<&Type>,
) -> TokenStream {
    if let [statements @ .., Stmt::Expr(Expr::Call(call), None)] = body.stmts.as_slice()
        && let Expr::Path(path) = &*call.func
        && path.path.segments.iter().rev().map(|segment| segment.ident.to_string()).take(2).eq(["pin", "Box"])
        && let Some(inner) = call.args.first()
    {
        let (pin, future) = (&call.func, future(stage, labels, &quote!(#inner), output));
        return quote!(#(#statements)* #pin(#future));
    }
    let output_type = &sig.output;
    let body = quote!(::stagelight::__private::once(move || #output_type #body));
    let future = future(stage, labels, &body, output);
    quote!(::std::boxed::Box::pin(#future))
}
