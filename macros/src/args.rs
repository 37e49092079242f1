//! The attributes' arguments.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, Path, Result, Token};

/// What names a stage: a string literal or a constant expression.
#[derive(Clone)]
pub(crate) struct Name(pub(crate) Expr);

impl Name {
    /// Whether it is a literal, which refers to nothing of the user's.
    pub(crate) fn is_literal(&self) -> bool {
        matches!(self.0, Expr::Lit(_))
    }
}

/// `name = …, component = …, crate = …` or `skip`.
#[derive(Default)]
pub(crate) struct StageArgs {
    pub(crate) name: Option<Name>,
    pub(crate) component: Option<Name>,
    /// Where the sdk is found, if it is said.
    pub(crate) krate: Option<Path>,
    pub(crate) skip: Option<Ident>,
}

/// What a stage may say, and the labels.
#[derive(Default)]
pub(crate) struct QueryArgs {
    pub(crate) stage: StageArgs,
    /// In the order of `stagelight::LabelKind`.
    pub(crate) values: [Option<Expr>; 4],
    /// All of them at once, interned before.
    pub(crate) labels: Option<Expr>,
}

/// The names of the labels in the order of [`QueryArgs::values`].
const LABELS: [&str; 4] = ["key", "tenant", "user", "database"];

/// `component = …, crate = …`.
#[derive(Default)]
pub(crate) struct StageAllArgs {
    pub(crate) component: Option<Name>,
    pub(crate) krate: Option<Path>,
}

/// `name` or `name = value`.
struct Arg {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(Lit) {
            let literal: Lit = input.parse()?;
            let written = literal.to_token_stream();
            return Err(Error::new(
                literal.span(),
                format!("an argument has a name; a stage's own name is given by `name = {written}`"),
            ));
        }
        // `crate` is a keyword.
        let name = input.call(Ident::parse_any)?;
        let value = input.parse::<Option<Token![=]>>()?.map(|_| input.parse()).transpose()?;
        Ok(Self { name, value })
    }
}

impl Arg {
    fn named(&self) -> Result<Name> {
        named(&self.name.to_string(), self.expr()?)
    }

    fn path(&self) -> Result<Path> {
        match self.expr()? {
            Expr::Path(path) if path.qself.is_none() => Ok(path.path),
            other => Err(Error::new_spanned(
                other,
                "`crate` takes the path by which the crate `stagelight` is reached, as `crate = my_db::stagelight`",
            )),
        }
    }

    fn expr(&self) -> Result<Expr> {
        let missing = || Error::new(self.name.span(), format!("`{0}` needs a value: `{0} = …`", self.name));
        self.value.clone().ok_or_else(missing)
    }

    fn unknown(&self, known: &str) -> Error {
        Error::new(self.name.span(), format!("unknown argument `{}`; there are {known}", self.name))
    }
}

/// An expression that can name a stage or its component.
pub(crate) fn named(argument: &str, value: Expr) -> Result<Name> {
    if let Expr::Lit(ExprLit { lit, .. }) = &value {
        match lit {
            Lit::Str(text) if !text.value().is_empty() => {}
            _ => {
                return Err(Error::new_spanned(
                    value,
                    format!("`{argument}` takes a string literal that is not empty, or a constant `&str`"),
                ));
            }
        }
    }
    Ok(Name(value))
}

/// Sets what may be said once.
fn once<T>(place: &mut Option<T>, arg: &Arg, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(arg.name.span(), format!("`{}` is given twice", arg.name))),
    }
}

fn args(input: ParseStream<'_>) -> Result<Punctuated<Arg, Token![,]>> {
    Punctuated::parse_terminated(input)
}

impl StageArgs {
    /// Takes an argument that stages and queries share. `false` if it is none.
    fn take(&mut self, arg: &Arg) -> Result<bool> {
        match arg.name.to_string().as_str() {
            "name" => once(&mut self.name, arg, arg.named()?)?,
            "component" => once(&mut self.component, arg, arg.named()?)?,
            "crate" => once(&mut self.krate, arg, arg.path()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Parse for StageArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut stage = Self::default();
        for arg in args(input)? {
            if arg.name == "skip" && arg.value.is_none() {
                stage.skip = Some(arg.name);
            } else if !stage.take(&arg)? {
                return Err(arg.unknown("`name`, `component`, `crate` and `skip`"));
            }
        }
        match &stage.skip {
            Some(skip) if stage.name.is_some() || stage.component.is_some() => {
                Err(Error::new(skip.span(), "`skip` stands alone: a stage that is left out has no name"))
            }
            _ => Ok(stage),
        }
    }
}

impl Parse for QueryArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut query = Self::default();
        for arg in args(input)? {
            if query.stage.take(&arg)? {
                continue;
            }
            if arg.name == "labels" {
                once(&mut query.labels, &arg, arg.expr()?)?;
                continue;
            }
            let Some(label) = LABELS.iter().position(|label| arg.name == label) else {
                return Err(arg.unknown(
                    "`key`, `tenant`, `user`, `database`, `labels`, `name`, `component` and `crate`",
                ));
            };
            once(&mut query.values[label], &arg, arg.expr()?)?;
        }
        match &query.labels {
            Some(labels) if query.values.iter().any(Option::is_some) => Err(Error::new_spanned(
                labels,
                "`labels` holds all of a query's labels: give it, or single ones",
            )),
            _ => Ok(query),
        }
    }
}

impl Parse for StageAllArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut all = Self::default();
        for arg in args(input)? {
            match arg.name.to_string().as_str() {
                "component" => once(&mut all.component, &arg, arg.named()?)?,
                "crate" => once(&mut all.krate, &arg, arg.path()?)?,
                _ => return Err(arg.unknown("`component` and `crate`")),
            }
        }
        Ok(all)
    }
}

/// What `stage_block!` is given: `[PATH OF THE SDK] crate = …, name, { … }`.
pub(crate) struct BlockArgs {
    /// The sdk as the macro was reached, or as it was said.
    pub(crate) krate: TokenStream,
    pub(crate) name: Name,
    pub(crate) body: syn::Block,
}

impl Parse for BlockArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let reached;
        syn::bracketed!(reached in input);
        // `$crate` is a token of its own kind, no path that could be parsed.
        let mut krate: TokenStream = reached.parse()?;
        let usage = "`stage_block!` takes a name and a block: `stage_block!(\"scan\", { … })`";
        if input.peek(Token![crate]) && input.peek2(Token![=]) {
            let arg: Arg = input.parse()?;
            krate = arg.path()?.into_token_stream();
            input.parse::<Token![,]>()?;
        }
        let name: Expr = input.parse().map_err(|error| Error::new(error.span(), usage))?;
        let name = named("name", name)?;
        input.parse::<Token![,]>().map_err(|error| Error::new(error.span(), usage))?;
        let body = input.parse().map_err(|error| Error::new(error.span(), usage))?;
        input.parse::<Option<Token![,]>>()?;
        if !input.is_empty() {
            return Err(input.error(usage));
        }
        Ok(Self { krate, name, body })
    }
}
