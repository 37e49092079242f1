//! What a function's return type tells of how to wrap its body.

use syn::visit_mut::{VisitMut, visit_type_impl_trait_mut};
use syn::{PathSegment, ReturnType, Type, TypeImplTrait};

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

/// Whether the function returns a future, as far as its signature shows it.
pub(crate) fn is_future(output: &ReturnType) -> bool {
    mentions(output).future
}

#[derive(Default)]
struct Mentions {
    impl_trait: bool,
    future: bool,
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

    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        let name = segment.ident.to_string();
        self.future |= matches!(name.as_str(), "Future" | "BoxFuture" | "LocalBoxFuture");
        syn::visit_mut::visit_path_segment_mut(self, segment);
    }
}
