//! The names of things: every identifier that ods stores or shows has its own type here.

use std::fmt;

/// Number of an inode; never reused within a drive. 1 is the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeNo(pub u64);

impl InodeNo {
    /// The root directory of every drive.
    pub const ROOT: InodeNo = InodeNo(1);
}

/// BLAKE3 keyed hash of a chunk's plaintext; the key belongs to the drive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; 32]);

/// Random name of a pack, used once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub [u8; 16]);

/// Random name of a drive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveId(pub [u8; 16]);

/// Number of an archive within its drive, in order of creation; 0 is the archive of the root's own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveNo(pub u32);

/// Place of a record in the spool's order; starts at 1, grows by one per record, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Number of an epoch and of the journal segment that publishes it; 0 is the empty drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochNo(pub u64);

/// What people call an archive: `#DDMMYY-NN`, day of creation (UTC) and a number within the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId {
    /// Year minus 2000, 0..=99.
    pub year: u8,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 1.. within the day; shown with at least two digits.
    pub number: u16,
}

impl ArchiveId {
    /// The beginning of its day (UTC), seconds since 1970; 0 when there is no such day.
    #[must_use]
    pub fn day_s(&self) -> i64 {
        let date = time::Month::try_from(self.month).ok().and_then(|month| {
            time::Date::from_calendar_date(2000 + i32::from(self.year), month, self.day).ok()
        });
        date.map_or(0, |date| date.midnight().assume_utc().unix_timestamp())
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            number,
        } = self;
        write!(f, "#{day:02}{month:02}{year:02}-{number:02}")
    }
}

macro_rules! hex_name {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}
hex_name!(ChunkId PackId DriveId);

macro_rules! plain_name {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}
plain_name!(InodeNo ArchiveNo Seq EpochNo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_id_is_day_month_year_number() {
        let id = ArchiveId {
            year: 26,
            month: 11,
            day: 5,
            number: 7,
        };
        assert_eq!(id.to_string(), "#051126-07");
        assert_eq!(id.day_s(), 1_793_836_800);
        assert_eq!(ArchiveId { month: 13, ..id }.day_s(), 0);
    }
}
