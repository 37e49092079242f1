//! What a function's return type tells of how to wrap its body.

use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{
    GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Token, Type, TypeImplTrait,
    TypeParamBound, TypePath,
};

/// The return type, if it may be a `Result`, or an `Option` of one, and can be written as a closure's.
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
    // An `Option` has one where the name of its type says so.
    let never = NEVER_RESULTS.iter().any(|name| last.ident == name) && !is_option_of_result(last);
    (!never && !mentions_impl_trait(output)).then_some(ty)
}

/// Whether a type is an `Option` of what is called a `Result`.
fn is_option_of_result(last: &PathSegment) -> bool {
    let Some(Type::Path(value)) = only_type(last).filter(|_| last.ident == "Option") else { return false };
    value.path.segments.last().is_some_and(|last| last.ident.to_string().ends_with("Result"))
}

/// What a future gives, as far as that matters for whether it failed.
pub(crate) enum Output {
    /// What surely is no `Result`, or can't be told.
    NeverFails,
    /// What may be a `Result`, whatever name its type goes by.
    Typed(Box<Type>),
    /// What the compiler knows alone: the future's type is an alias.
    Inferred,
}

impl Output {
    /// Of a type that a closure's parameter can have, or none.
    fn of(ty: Option<Type>) -> Self {
        let Some(ty) = ty else { return Output::NeverFails };
        let output = ReturnType::Type(Default::default(), Box::new(ty));
        maybe_result(&output).cloned().map_or(Output::NeverFails, |ty| Output::Typed(Box::new(ty)))
    }
}

/// What runs when a function is called.
pub(crate) enum Kind {
    Sync,
    /// An `async fn`.
    Async(Output),
    /// A function that returns an `impl Future`.
    ReturnsFuture(Output),
    /// A function that returns a boxed future.
    ReturnsBox(Output),
    /// A function that returns an iterator or a stream.
    ReturnsPulled(Pulled),
}

/// An iterator or a stream that a function returns.
pub(crate) struct Pulled {
    pub(crate) stream: bool,
    /// The function of `Box` that makes one, if it is boxed.
    pub(crate) boxed: Option<&'static str>,
    pub(crate) within: Within,
    pub(crate) item: Output,
}

/// What an iterator is returned in.
pub(crate) enum Within {
    Itself,
    Option,
    Result,
}

impl Kind {
    /// The kind, as far as the signature shows it: behind an alias a future is not seen, and its making is timed.
    pub(crate) fn of(sig: &Signature) -> Self {
        if sig.asyncness.is_some() {
            return Kind::Async(
                maybe_result(&sig.output)
                    .cloned()
                    .map_or(Output::NeverFails, |ty| Output::Typed(Box::new(ty))),
            );
        }
        let ReturnType::Type(_, ty) = &sig.output else { return Kind::Sync };
        if let Some(pulled) = pulled(ty) {
            return Kind::ReturnsPulled(pulled);
        }
        match &**ty {
            Type::ImplTrait(ty) if is_kept_by_a_wrapper(&ty.bounds) => match future_output(&ty.bounds) {
                Some(output) => Kind::ReturnsFuture(Output::of(output)),
                None => Kind::Sync,
            },
            Type::Path(path) => boxed_output(path).map_or(Kind::Sync, Kind::ReturnsBox),
            _ => Kind::Sync,
        }
    }
}

/// Whether a future within one of ours is all that the bounds ask for. One that must be more, `Clone` or a
/// trait of the user's, stays as it is, and its making is timed.
fn is_kept_by_a_wrapper(bounds: &Bounds) -> bool {
    are_among(bounds, &["Future", "Send", "Sync", "Unpin"])
}

type Bounds = Punctuated<TypeParamBound, Token![+]>;

/// Whether all traits among the bounds have one of these names.
fn are_among(bounds: &Bounds, names: &[&str]) -> bool {
    bounds.iter().all(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name))
        }
        _ => true,
    })
}

/// The iterator or stream that a type is, or that a `Result` or an `Option` of it has.
fn pulled(ty: &Type) -> Option<Pulled> {
    if let Some(pulled) = itself_pulled(ty) {
        return Some(pulled);
    }
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let within = match last.ident.to_string().as_str() {
        "Result" => Within::Result,
        "Option" => Within::Option,
        _ => return None,
    };
    itself_pulled(only_type(last)?).map(|pulled| Pulled { within, ..pulled })
}

fn itself_pulled(ty: &Type) -> Option<Pulled> {
    const ITERATORS: [&str; 4] = ["Iterator", "DoubleEndedIterator", "ExactSizeIterator", "FusedIterator"];
    const STREAMS: [&str; 2] = ["Stream", "FusedStream"];
    /// What our iterators and streams are as well where what they hold is it.
    const KEPT: [&str; 5] = ["Send", "Sync", "Unpin", "UnwindSafe", "RefUnwindSafe"];
    let of = |bounds: &Bounds, boxed| {
        let named = |kind: &[&str], more: &[&str]| {
            are_among(bounds, &[kind, &KEPT, more].concat()).then(|| item(bounds, kind)).flatten()
        };
        let pulled = |stream, item| Pulled { stream, boxed, within: Within::Itself, item: Output::of(item) };
        if let Some(item) = named(&ITERATORS, &["Clone", "Debug"]).filter(|_| boxed != Some("pin")) {
            return Some(pulled(false, item));
        }
        let stream = cfg!(feature = "stream").then(|| named(&STREAMS, &[])).flatten();
        stream.filter(|_| boxed != Some("new")).map(|item| pulled(true, item))
    };
    match ty {
        Type::ImplTrait(ty) => of(&ty.bounds, None),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            if cfg!(feature = "stream") && (last.ident == "BoxStream" || last.ident == "LocalBoxStream") {
                // What its parameters are is known to who defined it.
                let (boxed, within, item) = (Some("pin"), Within::Itself, Output::Inferred);
                return Some(Pulled { stream: true, boxed, within, item });
            }
            let (boxed, last) = match only_type(last) {
                Some(Type::Path(pinned)) if last.ident == "Pin" => ("pin", pinned.path.segments.last()?),
                _ => ("new", last),
            };
            match only_type(last).filter(|_| last.ident == "Box")? {
                Type::TraitObject(object) => of(&object.bounds, Some(boxed)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The `Item` of the trait of one of these names among some bounds. `Some(None)` if there is such a trait of which it
/// isn't said in full. A trait that has anything else is another one of that name.
fn item(bounds: &Bounds, names: &[&str]) -> Option<Option<Type>> {
    bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last()?;
        if !names.iter().any(|name| last.ident == name) {
            return None;
        }
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        match arguments.args.iter().collect::<Vec<_>>()[..] {
            [GenericArgument::AssocType(assoc)] if assoc.ident == "Item" => Some(Some(assoc.ty.clone())),
            [GenericArgument::Constraint(bound)] if bound.ident == "Item" => Some(None),
            _ => None,
        }
    })
}

/// The `Output` of the `Future` among some bounds. `Some(None)` if there is a future of which it isn't said.
fn future_output(bounds: &Bounds) -> Option<Option<Type>> {
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

/// The output of a `Pin<Box<dyn Future<Output = T>>>` or of what is called a `BoxFuture`.
fn boxed_output(path: &TypePath) -> Option<Output> {
    let last = path.path.segments.last()?;
    if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" {
        // What its parameters are is known to who defined it.
        return Some(Output::Inferred);
    }
    let pinned = only_type(last).filter(|_| last.ident == "Pin")?;
    let Type::Path(pinned) = pinned else { return None };
    let last = pinned.path.segments.last()?;
    match only_type(last).filter(|_| last.ident == "Box")? {
        Type::TraitObject(object) => future_output(&object.bounds).map(Output::of),
        _ => None,
    }
}

fn only_type(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// Whether the type has an `impl Trait` in it, and so can't be written in a body.
pub(crate) fn mentions_impl_trait(output: &ReturnType) -> bool {
    struct Mentions(bool);
    impl<'ast> Visit<'ast> for Mentions {
        fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut mentions = Mentions(false);
    mentions.visit_return_type(output);
    mentions.0
}
