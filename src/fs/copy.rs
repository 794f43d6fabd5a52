//! `copy_file_range`: the copy refers to the bytes that are there already; none is read or written.

use crate::drive::change::Change;
use crate::fs::Error;
use crate::fs::FILE_BYTES_MAX;
use crate::fs::Fs;
use crate::fs::Privileges;
use crate::fs::file::strip;
use crate::fs::regular;
use crate::id::InodeNo;

/// Most parts laid in one change; the caller comes back for the rest.
const PARTS_MAX: usize = 1024;

/// Most bytes looked at in one change. A part is at most a chunk or one write, so that this is
/// near [`PARTS_MAX`] for files written in whole pages.
const BYTES_MAX: u64 = 64 << 20;

/// What to copy where.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// The file to copy from.
    pub from: InodeNo,
    /// Its first byte to copy.
    pub from_offset: u64,
    /// The file to copy to.
    pub to: InodeNo,
    /// Where the first byte goes.
    pub to_offset: u64,
    /// How many bytes.
    pub len: u64,
}

impl Fs {
    /// Copies a range; tells how much of it, which is 0 at the end of the source only.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the ranges overlap in one file, [`Error::FileTooLarge`].
    pub fn copy(&self, copy: Copy, privileges: Privileges) -> Result<u32, Error> {
        self.change(|c| lay(c, copy, privileges))
    }
}

fn lay(c: &mut Change<'_>, copy: Copy, privileges: Privileges) -> Result<u32, Error> {
    let Copy {
        from,
        from_offset,
        to,
        to_offset,
        len,
    } = copy;
    let source = regular(c, from)?;
    let mut target = regular(c, to)?;
    let len = len
        .min(source.size.saturating_sub(from_offset))
        .min(BYTES_MAX);
    if len == 0 {
        return Ok(0);
    }
    let len = len.min(FILE_BYTES_MAX.saturating_sub(to_offset));
    if len == 0 {
        return Err(Error::FileTooLarge);
    }
    if from == to && from_offset.abs_diff(to_offset) < len {
        return Err(Error::Invalid);
    }
    let parts = c.parts_before(from, from_offset..from_offset + len, PARTS_MAX)?;
    let len: u64 = parts.iter().map(|part| part.len).sum();
    let hidden = c.stored_before(to, to_offset, to_offset + len)?;
    let mut laid = 0;
    for part in &parts {
        let start = to_offset + (part.start - from_offset);
        if part.found.is_hole() {
            c.zero(to, start, start + part.len);
        } else {
            c.lay(to, start, part);
            laid += part.len;
        }
    }
    target.stored = (target.stored + laid).saturating_sub(hidden);
    target.size = target.size.max(to_offset + len);
    target.mtime = c.now();
    target.ctime = c.now();
    strip(c, to, &mut target, privileges)?;
    c.put_inode(to, &target);
    u32::try_from(len).map_err(|_| Error::Invalid)
}
