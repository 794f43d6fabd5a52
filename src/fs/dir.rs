//! Listing directories: in the order entries were made, from any place in it, a page at a time.

use crate::drive::view::Look;
use crate::drive::view::View;
use crate::fs::Attr;
use crate::fs::Error;
use crate::fs::Fs;
use crate::id::InodeNo;
use crate::index::dirent::Listed;
use crate::index::inode::Kind;
use crate::index::key;

/// Entries looked up at a time; a kernel's buffer of 32 KiB holds about 200 with attributes.
const PAGE: usize = 256;

/// Place of `.` in every listing.
const DOT: u64 = 1;
/// Place of `..`; the places of entries are numbers of the drive and greater.
const DOT_DOT: u64 = 2;

/// An entry as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it leads to.
    pub ino: InodeNo,
    /// What kind of thing that is.
    pub kind: Kind,
    /// Its place: a listing that goes on after it begins with the next.
    pub offset: u64,
    /// Its name.
    pub name: Vec<u8>,
    /// What it leads to, for [`Fs::list_known`]; never for `.` and `..`.
    pub attr: Option<Attr>,
}

/// Does the caller take more entries?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// Yes.
    Yes,
    /// The last one did not fit any more.
    No,
}

/// What to tell about entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Names,
    Attributes,
}

impl Fs {
    /// Lists a directory after the place `offset`; 0 is the beginning.
    ///
    /// Entries that are neither made nor removed meanwhile appear exactly once, whatever happens
    /// to others. A directory that is gone is empty.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list(
        &self,
        ino: InodeNo,
        offset: u64,
        take: impl FnMut(Entry) -> More,
    ) -> Result<(), Error> {
        self.walk(ino, offset, Detail::Names, take)
    }

    /// Lists a directory as [`Fs::list`] does, with the attributes of what its entries lead to, for the kernel:
    /// it knows what it was told of until [`Fs::forget`], which is each entry with attributes that was taken,
    /// unless the listing fails.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn list_known(
        &self,
        ino: InodeNo,
        offset: u64,
        mut take: impl FnMut(Entry) -> More,
    ) -> Result<(), Error> {
        let mut met = Vec::new();
        let listed = self.walk(ino, offset, Detail::Attributes, |entry| {
            let told_of = entry.attr.as_ref().map(|attr| attr.ino);
            met.extend(told_of);
            let more = take(entry);
            if more == More::No && told_of.is_some() {
                met.pop();
                told_of.into_iter().for_each(|ino| self.open.unmeet(ino));
            }
            more
        });
        if listed.is_err() {
            met.into_iter().for_each(|ino| self.open.unmeet(ino));
        }
        listed
    }

    fn walk(
        &self,
        ino: InodeNo,
        offset: u64,
        detail: Detail,
        mut take: impl FnMut(Entry) -> More,
    ) -> Result<(), Error> {
        let parent = match self.drive.view().inode(ino)? {
            Some(inode) if inode.is_dir() => inode.parent,
            Some(_) => return Err(Error::NotADirectory),
            None => self.open.ghost(ino).ok_or(Error::Stale)?.parent,
        };
        let dots: [(u64, InodeNo, &[u8]); 2] = [(DOT, ino, b"."), (DOT_DOT, parent, b"..")];
        for (place, leads_to, name) in dots.into_iter().filter(|(place, ..)| *place > offset) {
            let (kind, name) = (Kind::Directory, name.to_vec());
            let entry = Entry {
                ino: leads_to,
                kind,
                offset: place,
                name,
                attr: None,
            };
            if take(entry) == More::No {
                return Ok(());
            }
        }
        let (_, to) = key::of(b'O', ino);
        let mut last = offset.max(DOT_DOT);
        loop {
            let Some(next) = last.checked_add(1) else {
                return Ok(());
            };
            // Attributes are looked up one by one, as long as the caller takes entries.
            let view = self.drive.view();
            let page = view.scan(&key::listed(ino, next), &to, PAGE)?;
            let is_last_page = page.len() < PAGE;
            for (key, value) in page {
                let entry = self.entry(&view, &key, &value, detail)?;
                last = entry.offset;
                if take(entry) == More::No {
                    return Ok(());
                }
            }
            if is_last_page {
                return Ok(());
            }
        }
    }

    fn entry(
        &self,
        view: &View<'_>,
        key: &[u8],
        value: &[u8],
        detail: Detail,
    ) -> Result<Entry, Error> {
        let Listed { ino, kind, name } =
            Listed::decode(value).map_err(crate::drive::Error::from)?;
        let attr = match detail {
            Detail::Names => None,
            Detail::Attributes => {
                let inode = view.inode(ino)?;
                inode.map(|inode| self.met(view, self.attr(ino, inode)))
            }
        };
        // A place is kept where an extent's offset is.
        let offset = key::extent_offset(key).ok_or(crate::drive::Error::Malformed)?;
        Ok(Entry {
            ino,
            kind,
            offset,
            name,
            attr,
        })
    }
}
