//! A function that gives a future.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Block, ReturnType, Signature, Type};

use super::{Wrapping, captures, failed, local, tail};
use crate::returns::{self, Output};

/// An `async fn`.
pub(super) fn body(
    wrapping: &Wrapping<'_>,
    sig: &mut Signature,
    body: &Block,
    output: &Output,
) -> TokenStream {
    let captured = captures::captured(wrapping.sdk, sig);
    let never = matches!(&sig.output, ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)));
    // An async block has no type of its own that could be written down. A return that is never reached
    // tells it, so that its other values are coerced as they would be in the function.
    let hint = match &sig.output {
        // The type `!` can't be written, and one that has no values does as well.
        _ if never => quote!(::core::convert::Infallible),
        ReturnType::Type(_, ty) if !returns::mentions_impl_trait(&sig.output) => quote!(#ty),
        ReturnType::Type(..) => TokenStream::new(),
        ReturnType::Default => quote!(()),
    };
    let result = local("result");
    let hint = (!hint.is_empty()).then(|| {
        quote! {
            #[allow(unreachable_code)]
            if let ::core::option::Option::Some(#result) = ::core::option::Option::None::<#hint> {
                return #result;
            }
        }
    });
    let body = tail(body);
    let future = wrapping.future(&quote!(async move { #captured #hint #body }), output);
    if never { quote!(match #future.await {}) } else { quote!(#future.await) }
}

/// A function that returns a future, which is the value of `future`.
pub(super) fn given(wrapping: &Wrapping<'_>, future: &TokenStream, output: &Output) -> TokenStream {
    let name = local("future");
    let (labels, wrapping) = wrapping.labels_first();
    let wrapped = wrapping.borrowed().future(&quote!(#name), output);
    quote! {
        #labels
        #[allow(unused_braces)]
        let #name = #future;
        #wrapped
    }
}

/// A wrapping whose labels are in a variable.
pub(super) struct Labelled<'a> {
    sdk: &'a TokenStream,
    stage: &'a TokenStream,
    labels: Option<TokenStream>,
}

impl Labelled<'_> {
    pub(super) fn borrowed(&self) -> Wrapping<'_> {
        Wrapping { sdk: self.sdk, stage: self.stage, labels: self.labels.as_ref() }
    }
}

impl Wrapping<'_> {
    /// A statement that makes the labels before the body takes what they are made of.
    pub(super) fn labels_first(&self) -> (TokenStream, Labelled<'_>) {
        let name = local("labels");
        let statement = self.labels.map(|labels| quote!(let #name = #labels;));
        let labels = self.labels.map(|_| quote!(#name));
        let statement = statement.unwrap_or_default();
        (statement, Labelled { sdk: self.sdk, stage: self.stage, labels })
    }

    /// A future that is the stage, or the query, made of another.
    pub(super) fn future(&self, future: &TokenStream, output: &Output) -> TokenStream {
        let result = local("result");
        let failed = failed(self.sdk, &quote!(#result));
        let failed = match output {
            Output::Typed(output) => quote!(|#result: &#output| #failed),
            Output::Inferred => quote!(|#result| #failed),
            Output::NeverFails => quote!(|_| false),
        };
        let Self { sdk, stage, labels } = self;
        match labels {
            Some(labels) => quote!(#sdk::__private::query_future(#stage, #labels, #future, #failed)),
            None => quote!(#sdk::__private::stage_future(#stage, #future, #failed)),
        }
    }
}
