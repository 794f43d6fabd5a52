//! What objects on the journal shelf are called: enough to sort them without fetching, nothing about content.

use crate::codec::pack::parse_pack_name;
use crate::id::EpochNo;

/// What an object on the journal shelf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Name {
    /// A part of a segment or of a checkpoint.
    Part(PartName),
    /// A lease, by the instance that holds it.
    Lease {
        /// Who.
        instance: [u8; 8],
        /// Random, so that no two are alike.
        salt: [u8; 8],
    },
    /// A superblock.
    Superblock {
        /// Greater is newer.
        generation: u64,
        /// Random, so that no two are alike.
        salt: [u8; 8],
    },
}

/// The name of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) struct PartName {
    /// Segment or checkpoint.
    pub(in crate::drive) series: Series,
    /// The epoch that it publishes, or that it is the state of.
    pub(in crate::drive) epoch: EpochNo,
    /// Random, the same for all parts of one attempt.
    pub(in crate::drive) attempt: [u8; 8],
    /// 0.. within the attempt.
    pub(in crate::drive) part: u32,
    /// Is it the last one?
    pub(in crate::drive) last: bool,
}

/// Which of the two kinds of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::drive) enum Series {
    /// What one epoch changed.
    Segment,
    /// Everything, as of one epoch.
    Checkpoint,
}

/// Could a store take a file of this name for an object of a drive? Whoever sends other files to where objects lie
/// gives them other names. Characters that a store leaves out of a name count as left out.
#[must_use]
pub fn is_like_an_object(name: &str) -> bool {
    let is_kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let bare: String = name.chars().filter(is_kept).collect();
    let bare = bare.to_ascii_lowercase();
    Name::parse_loosely(&bare).is_some() || parse_pack_name(&bare).is_some()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .ok()?
        .try_into()
        .ok()
}

impl Name {
    /// The name as text.
    pub(in crate::drive) fn text(&self) -> String {
        match self {
            Name::Part(name) => {
                let series = if name.series == Series::Segment {
                    's'
                } else {
                    'c'
                };
                let end = if name.last { 'z' } else { 'a' };
                let (epoch, attempt) = (name.epoch.0, hex(&name.attempt));
                format!(
                    "{series}-{epoch:016x}-{attempt}-{:08x}-{end}.bin",
                    name.part
                )
            }
            Name::Lease { instance, salt } => format!("l-{}-{}.bin", hex(instance), hex(salt)),
            Name::Superblock { generation, salt } => {
                format!("b-{generation:016x}-{}.bin", hex(salt))
            }
        }
    }

    /// Reads a name; none if it is nothing of ours. Each thing has one name.
    pub(in crate::drive) fn parse(text: &str) -> Option<Name> {
        Name::parse_loosely(text).filter(|name| name.text() == text)
    }

    fn parse_loosely(text: &str) -> Option<Name> {
        let fields: Vec<&str> = text.strip_suffix(".bin")?.split('-').collect();
        match *fields.as_slice() {
            [
                series @ ("s" | "c"),
                epoch,
                attempt,
                part,
                end @ ("a" | "z"),
            ] => Some(Name::Part(PartName {
                series: if series == "s" {
                    Series::Segment
                } else {
                    Series::Checkpoint
                },
                epoch: EpochNo(u64::from_str_radix(epoch, 16).ok()?),
                attempt: unhex(attempt)?,
                part: u32::from_str_radix(part, 16).ok()?,
                last: end == "z",
            })),
            ["l", instance, salt] => Some(Name::Lease {
                instance: unhex(instance)?,
                salt: unhex(salt)?,
            }),
            ["b", generation, salt] => {
                let generation = u64::from_str_radix(generation, 16).ok()?;
                Some(Name::Superblock {
                    generation,
                    salt: unhex(salt)?,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let part = PartName {
            series: Series::Checkpoint,
            epoch: EpochNo(300),
            attempt: [7; 8],
            part: 9,
            last: true,
        };
        let names = [
            Name::Part(part),
            Name::Part(PartName {
                series: Series::Segment,
                last: false,
                ..part
            }),
            Name::Lease {
                instance: [1; 8],
                salt: [2; 8],
            },
            Name::Superblock {
                generation: 3,
                salt: [4; 8],
            },
        ];
        for name in names {
            assert_eq!(Name::parse(&name.text()), Some(name));
        }
        assert_eq!(Name::parse("holiday.jpg"), None);
        for name in names {
            let text = name.text();
            assert!(is_like_an_object(&text), "{text}");
            assert!(
                is_like_an_object(&text.replacen('-', " -\u{200b}", 1)),
                "{text}"
            );
        }
        assert!(is_like_an_object("00112233445566778899aabbccddeeff.bin"));
        for name in ["holiday.jpg", "l-1.bin", "firmware.bin", ""] {
            assert!(!is_like_an_object(name), "{name}");
        }
    }
}
