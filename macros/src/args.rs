//! The attributes' arguments.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitStr, Result, Token};

/// `name = "…", component = "…"` or `skip`.
#[derive(Default)]
pub(crate) struct StageArgs {
    pub(crate) name: Option<LitStr>,
    pub(crate) component: Option<LitStr>,
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

/// `component = "…"`.
#[derive(Default)]
pub(crate) struct StageAllArgs {
    pub(crate) component: Option<LitStr>,
}

/// `name` or `name = value`.
struct Arg {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Arg {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        let value = input.parse::<Option<Token![=]>>()?.map(|_| input.parse()).transpose()?;
        Ok(Self { name, value })
    }
}

impl Arg {
    fn text(&self) -> Result<LitStr> {
        match self.expr()? {
            Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if !text.value().is_empty() => Ok(text),
            other => Err(Error::new_spanned(
                other,
                format!("`{}` takes a string literal that is not empty", self.name),
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
            "name" => once(&mut self.name, arg, arg.text()?)?,
            "component" => once(&mut self.component, arg, arg.text()?)?,
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
                return Err(arg.unknown("`name`, `component` and `skip`"));
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
                return Err(
                    arg.unknown("`key`, `tenant`, `user`, `database`, `labels`, `name` and `component`")
                );
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
                "component" => once(&mut all.component, &arg, arg.text()?)?,
                _ => return Err(arg.unknown("`component`")),
            }
        }
        Ok(all)
    }
}
