//! Each type that can label a query, by value, by reference, as an option and behind a pointer.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::*;
use std::rc::Rc;
use std::sync::Arc;

use stagelight::{LabelValue, query};

#[query(key = value, tenant = &value, user = Some(&value), database = Arc::new(value))]
fn labelled<T: LabelValue + Copy>(value: T) {}

#[query(key = flag, tenant = letter, user = from, database = id)]
fn concrete(flag: bool, letter: char, from: Option<IpAddr>, id: NonZeroU64) {}

#[query(key = text, tenant = shared, user = local, database = boxed)]
fn texts(text: &Cow<'_, str>, shared: Arc<str>, local: &Rc<str>, boxed: Option<&mut Box<str>>) {}

#[query(key = text.as_ref(), tenant = text)]
async fn later(text: Cow<'static, str>) {}

fn main() {
    labelled("a");
    labelled('a');
    labelled(true);
    labelled(&String::from("a"));
    labelled(Some(1_u8));
    (labelled(1_u8), labelled(1_u16), labelled(1_u32), labelled(1_u64), labelled(1_u128));
    (labelled(1_i8), labelled(1_i16), labelled(1_i32), labelled(1_i64), labelled(1_i128));
    (labelled(1_usize), labelled(1_isize));
    (labelled(NonZeroU8::MIN), labelled(NonZeroU16::MIN), labelled(NonZeroU32::MIN));
    (labelled(NonZeroU64::MIN), labelled(NonZeroU128::MIN), labelled(NonZeroUsize::MIN));
    (labelled(NonZeroI8::MIN), labelled(NonZeroI16::MIN), labelled(NonZeroI32::MIN));
    (labelled(NonZeroI64::MIN), labelled(NonZeroI128::MIN), labelled(NonZeroIsize::MIN));
    labelled(IpAddr::from([127, 0, 0, 1]));
    (labelled(Ipv4Addr::LOCALHOST), labelled(Ipv6Addr::LOCALHOST));
    labelled(SocketAddr::from(([127, 0, 0, 1], 80)));
    labelled(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));
    labelled(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0));
    labelled(&Box::<str>::from("a"));
    labelled(&Rc::<str>::from("a"));
    labelled(&Arc::<str>::from("a"));
    labelled(&Cow::Borrowed("a"));
    labelled(None::<&Arc<str>>);
    concrete(true, 'a', None, NonZeroU64::MIN);
    texts(&"a".into(), "b".into(), &"c".into(), None);
    drop(later("a".into()));
}
