//! Places where a user would put the attributes.
#![deny(warnings)]

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use stagelight::{query, stage, stage_all};

#[stage]
fn generic<T: Debug + Clone, const N: usize>(items: [T; N]) -> Vec<T> {
    items.to_vec()
}

#[stage]
fn lifetimes<'a>(left: &'a str, _right: &str) -> &'a str {
    left
}

#[stage]
fn returns_a_borrow_in_a_result<'a>(items: &'a mut Vec<String>) -> Result<&'a mut String, ()> {
    items.first_mut().ok_or(())
}

#[stage]
fn impl_trait(n: u32) -> impl Iterator<Item = u32> {
    (0..n).map(|n| n * 2)
}

#[stage]
fn takes_impl(items: impl IntoIterator<Item = u32>) -> Option<u32> {
    let mut items = items.into_iter();
    let first = items.next()?;
    if first == 0 {
        return None;
    }
    Some(first)
}

#[stage]
unsafe fn raw(pointer: *const u8) -> Result<u8, ()> {
    // SAFETY: the caller's pointer is valid.
    Ok(unsafe { *pointer })
}

#[stage(name = "moves")]
fn moves(mut items: Vec<u8>, extra: Box<u8>) -> std::io::Result<Vec<u8>> {
    items.push(*extra);
    let text = String::from_utf8(items).map_err(std::io::Error::other)?;
    Ok(text.into_bytes())
}

#[stage]
fn never() -> ! {
    panic!("never returns")
}

type Aliased = Result<u8, String>;

#[stage]
#[must_use]
#[inline]
fn aliased() -> Aliased {
    Err("no".into())
}

struct Store {
    items: Vec<u8>,
}

#[stage_all(component = "store")]
impl Store {
    fn by_ref(&self) -> usize {
        self.items.len()
    }

    fn by_mut(&mut self) -> Result<&mut u8, ()> {
        self.items.first_mut().ok_or(())
    }

    fn by_value(self) -> Vec<u8> {
        self.items
    }

    fn by_box(self: Box<Self>) -> usize {
        self.items.len()
    }

    async fn asynchronous(&self) -> usize {
        self.items.len()
    }

    #[query(key = "get", tenant = tenant, user = user, database = &self.items.len())]
    fn get(&self, tenant: &str, user: Option<String>, index: usize) -> Result<u8, String> {
        self.items.get(index).copied().ok_or_else(|| format!("{tenant} {user:?}"))
    }
}

#[stage_all]
trait Engine {
    fn required(&self) -> u8;

    fn default_method(&self) -> u8 {
        self.required()
    }
}

impl Engine for Store {
    #[stage]
    fn required(&self) -> u8 {
        1
    }
}

#[stage_all]
mod nested {
    pub fn function() -> u8 {
        2
    }
}

#[stage]
async fn awaits<'a, T: Send>(items: &'a [T]) -> Result<&'a T, String> {
    let first = items.first().ok_or("none")?;
    std::future::ready(()).await;
    Ok(first)
}

#[query(key = "async", tenant = tenant)]
async fn query_that_awaits(tenant: String) -> String {
    std::future::ready(tenant).await
}

#[stage]
fn future(value: u8) -> impl Future<Output = Result<u8, ()>> + Send {
    async move { Ok(value) }
}

#[stage]
fn boxed(value: &u8) -> Pin<Box<dyn Future<Output = u8> + Send + '_>> {
    Box::pin(async move { *value })
}

#[stage]
fn boxed_elsewhere(value: &u8) -> Pin<Box<dyn Future<Output = u8> + Send + '_>> {
    if *value == 0 {
        return Box::pin(std::future::ready(9));
    }
    boxed(value)
}

fn done<F: Future + Send>(future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

fn main() {
    assert_eq!(done(awaits(&[1, 2])), Ok(&1));
    assert!(done(awaits::<u8>(&[])).is_err());
    assert_eq!(done(query_that_awaits("acme".into())), "acme");
    assert_eq!((done(future(3)), done(boxed(&4)), done(boxed_elsewhere(&0))), (Ok(3), 4, 9));
    assert_eq!(done(boxed_elsewhere(&5)), 5);
    assert_eq!(generic([1, 2]).len(), 2);
    assert_eq!(lifetimes("a", "b"), "a");
    returns_a_borrow_in_a_result(&mut vec![String::new()]).unwrap().push('x');
    assert_eq!(impl_trait(3).sum::<u32>(), 6);
    assert_eq!(takes_impl([1]), Some(1));
    // SAFETY: the pointer is to a live byte.
    assert_eq!(unsafe { raw(&7) }, Ok(7));
    assert_eq!(moves(vec![65], Box::new(66)).unwrap(), b"AB");
    assert!(aliased().is_err());
    assert!(std::panic::catch_unwind(|| never()).is_err());
    let mut store = Store { items: vec![5] };
    *store.by_mut().unwrap() += 1;
    assert_eq!((store.by_ref(), store.default_method()), (1, 1));
    assert_eq!(store.get("acme", None, 0), Ok(6));
    assert!(store.get("acme", Some("u".into()), 9).is_err());
    assert_eq!(done(store.asynchronous()), 1);
    assert_eq!(store.by_value(), [6]);
    assert_eq!(Box::new(Store { items: vec![] }).by_box(), 0);
    assert_eq!(nested::function(), 2);
    assert_eq!(stagelight::stage_block!("block", { 1 + 1 }), 2);

    let snapshot = stagelight::snapshot();
    let errors = |name: &str| snapshot.stage(name).map(|stage| (stage.calls, stage.errors));
    assert_eq!((errors("awaits"), errors("future"), errors("boxed")), (Some((2, 1)), Some((1, 0)), Some((2, 0))));
    assert_eq!((errors("aliased"), errors("get")), (Some((1, 1)), Some((2, 1))));
    assert_eq!(errors("Store::by_mut"), Some((1, 0)));
}
