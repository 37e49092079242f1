//! What a function's return type tells of how to wrap its body.

use syn::punctuated::Punctuated;
use syn::visit_mut::{VisitMut, visit_type_impl_trait_mut};
use syn::{
    GenericArgument, PathArguments, ReturnType, Signature, Token, Type, TypeImplTrait, TypeParamBound,
    TypePath,
};

/// The return type, if it may be a `Result` and can be written as a closure's.
///
/// Any path may be an alias of `Result`, so only those are left out that surely are none: then the body stays
/// where it is and no closure is needed. An `impl Trait` can't be written in a closure's return type.
pub(crate) fn maybe_result(output: &ReturnType) -> Option<&Type> {
    const NEVER_RESULTS: [&str; 22] = [
        "bool", "char", "str", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
        "isize", "f32", "f64", "String", "Vec", "Box", "Option", "Self",
    ];
    let ReturnType::Type(_, ty) = output else { return None };
    let Type::Path(path) = &**ty else { return None };
    let last = path.path.segments.last()?;
    // A trait's method may return `Self::Output`, which may be anything, but a bare `Self` is the type.
    let never = NEVER_RESULTS.iter().any(|name| last.ident == name);
    (!never && !mentions(output).impl_trait).then_some(ty)
}

/// What runs when a function is called.
pub(crate) enum Kind {
    Sync,
    /// An `async fn`, with what it gives, if that can be named in a closure.
    Async(Option<Type>),
    /// A function that returns an `impl Future`, with the future's output.
    ReturnsFuture(Option<Type>),
    /// A function that returns a boxed future.
    ReturnsBox(Option<Type>),
}

impl Kind {
    /// The kind, as far as the signature shows it: behind an alias a future is not seen, and its making is timed.
    pub(crate) fn of(sig: &Signature) -> Self {
        if sig.asyncness.is_some() {
            return Kind::Async(maybe_result(&sig.output).cloned());
        }
        let ReturnType::Type(_, ty) = &sig.output else { return Kind::Sync };
        match &**ty {
            Type::ImplTrait(ty) => match future_output(&ty.bounds) {
                Some(output) => Kind::ReturnsFuture(nameable(output)),
                None => Kind::Sync,
            },
            Type::Path(path) => match boxed_output(path) {
                Some(output) => Kind::ReturnsBox(nameable(output)),
                None => Kind::Sync,
            },
            _ => Kind::Sync,
        }
    }
}

/// The type, if a closure's parameter can have it and it may be a `Result`.
fn nameable(output: Option<Type>) -> Option<Type> {
    let output = ReturnType::Type(Default::default(), Box::new(output?));
    maybe_result(&output).cloned()
}

/// The `Output` of the `Future` among some bounds. `Some(None)` if there is a future of which it isn't said.
fn future_output(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<Option<Type>> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Some(None) };
        Some(arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(assoc.ty.clone()),
            _ => None,
        }))
    })
}

/// The output of a `Pin<Box<dyn Future<Output = T>>>` or of a `BoxFuture<T>`.
fn boxed_output(path: &TypePath) -> Option<Option<Type>> {
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let argument = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    match (last.ident.to_string().as_str(), argument?) {
        ("BoxFuture" | "LocalBoxFuture", output) => Some(Some(output.clone())),
        ("Pin", Type::Path(inner)) => boxed_output(inner),
        ("Box", Type::TraitObject(object)) => future_output(&object.bounds),
        _ => None,
    }
}

#[derive(Default)]
struct Mentions {
    impl_trait: bool,
}

fn mentions(output: &ReturnType) -> Mentions {
    let mut found = Mentions::default();
    found.visit_return_type_mut(&mut output.clone());
    found
}

impl VisitMut for Mentions {
    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        self.impl_trait = true;
        visit_type_impl_trait_mut(self, ty);
    }
}
