//! Where functions begin and end by an object's unwind tables, which say so of functions whose
//! symbols were stripped as well.

use std::ops::Range;

use addr2line::gimli::{BaseAddresses, EhFrame, EhFrameHdr, UnwindSection as _};
use object::{Object as _, ObjectSection as _};

use super::debug_sections::Reader;
use super::object_file::Elf;

/// The last range of the unwind tables that begins at or before an address. It may end before it.
pub(super) fn last_before(elf: &Elf<'_>, address: u64) -> Option<Range<u64>> {
    let endian = addr2line::gimli::RunTimeEndian::Little;
    let [header, frames] = [".eh_frame_hdr", ".eh_frame"].map(|name| elf.section_by_name(name));
    let (header, frames) = (header?, frames?);
    let bases = BaseAddresses::default().set_eh_frame_hdr(header.address()).set_eh_frame(frames.address());
    let table = EhFrameHdr::from(Reader::new(header.data().ok()?, endian)).parse(&bases, 8).ok()?;
    let table = table.table()?;
    let frames = EhFrame::from(Reader::new(frames.data().ok()?, endian));
    let place = table.pointer_to_offset(table.lookup(address, &bases).ok()?).ok()?;
    let function = frames.fde_from_offset(&bases, place, EhFrame::cie_from_offset).ok()?;
    let start = function.initial_address();
    // Of what lies before all ranges the table gives the first.
    (start <= address).then(|| start..start.saturating_add(function.len()))
}
