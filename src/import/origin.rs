//! Where old objects come from.

use crate::clock::Time;
use crate::drive;
use crate::import::Error;
use crate::legacy;
use crate::legacy::MANIFEST_BYTES_MAX;
use crate::legacy::MANIFESTS_BYTES_MAX;
use crate::legacy::PIECE_BYTES_MAX;
use crate::legacy::PIECES_MAX;
use crate::legacy::manifest;
use crate::legacy::manifest::Manifest;
use crate::legacy::meta::Meta;

/// Why an object cannot be read.
#[derive(Debug)]
pub(in crate::import) enum Unread {
    /// It alone.
    This(String),
    /// Nothing can, or nothing shall be.
    All(drive::Error),
}

/// Something with a name and bytes.
#[derive(Clone, Debug)]
pub(in crate::import) struct Object {
    /// Its name, as it is kept there.
    pub(in crate::import) name: String,
    /// Its length.
    pub(in crate::import) bytes: u64,
    /// Its number within the origin.
    pub(in crate::import) at: usize,
    /// When it came there.
    pub(in crate::import) made: Time,
}

/// Where they come from: a folder, or Discord.
pub(in crate::import) trait Origin: Sync {
    /// All that is there.
    fn objects(&self) -> &[Object];

    /// Reads one, whole.
    fn read(&self, object: &Object) -> Result<Vec<u8>, Unread>;
}

/// Which system made an archive, and what it says of itself.
#[derive(Debug)]
pub(in crate::import) enum System {
    /// The slicer: manifests, with the times they were made.
    Sliced(Vec<(Manifest, Time)>),
    /// The command line and the web page.
    Batch(Meta),
}

/// An archive that was found.
pub(in crate::import) struct Found<'a> {
    pub(in crate::import) origin: Box<dyn Origin + 'a>,
    pub(in crate::import) system: System,
}

/// What a read gives that is longer than anything may be.
pub(in crate::import) fn check_length(object: &Object, bytes_max: u64) -> Result<(), Unread> {
    let bytes_max = bytes_max.min(PIECE_BYTES_MAX);
    match object.bytes > bytes_max {
        true => Err(Unread::This(format!("it has more than {bytes_max} bytes"))),
        false => Ok(()),
    }
}

impl Unread {
    /// As an error of something without which nothing can be read.
    pub(in crate::import) fn fatal(self, object: &Object) -> Error {
        match self {
            Unread::This(why) => Error::NotFound(format!("{}: {why}", object.name)),
            Unread::All(error) => Error::Drive(error),
        }
    }
}

/// What the manifests of one archive are together.
#[derive(Default)]
struct Sum {
    bytes: u64,
    pieces: u64,
}

impl Sum {
    /// Before it is read.
    fn add_bytes(&mut self, object: &Object) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(object.bytes);
        match self.bytes > MANIFESTS_BYTES_MAX {
            true => Err(Sum::refused(legacy::Error::TooLarge {
                what: "together",
                bytes_max: MANIFESTS_BYTES_MAX,
            })),
            false => Ok(()),
        }
    }

    fn add_pieces(&mut self, manifest: &Manifest) -> Result<(), Error> {
        self.pieces = self.pieces.saturating_add(manifest.weight());
        match self.pieces > PIECES_MAX {
            true => Err(Sum::refused(legacy::Error::TooMany {
                what: "pieces",
                count_max: PIECES_MAX,
            })),
            false => Ok(()),
        }
    }

    fn refused(error: legacy::Error) -> Error {
        Error::archive("the archive's manifests")(error)
    }
}

/// Reads the manifests among some objects; one that cannot be read is an error unless there are others.
pub(in crate::import) fn manifests(origin: &dyn Origin) -> Result<Vec<(Manifest, Time)>, Error> {
    let mut found = Vec::new();
    let mut failed = None;
    let mut sum = Sum::default();
    let objects = origin.objects().iter();
    for object in objects.filter(|object| manifest::is_manifest(&object.name)) {
        let read = match check_length(object, MANIFEST_BYTES_MAX) {
            Ok(()) => {
                sum.add_bytes(object)?;
                origin.read(object)
            }
            Err(unread) => Err(unread),
        };
        let decoded = match read {
            Ok(bytes) => Manifest::decode(&bytes).map_err(Error::archive(object.name.clone())),
            Err(unread @ Unread::All(_)) => return Err(unread.fatal(object)),
            Err(unread) => Err(unread.fatal(object)),
        };
        match decoded {
            Ok(manifest) => {
                sum.add_pieces(&manifest)?;
                let made = manifest::made(&object.name).unwrap_or(object.made);
                found.push((object.name.clone(), manifest, made));
            }
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    match (found.is_empty(), failed) {
        (true, Some(error)) => Err(error),
        (false, Some(error)) => {
            log::warn!("{error}");
            Ok(without_names(found))
        }
        (_, None) => Ok(without_names(found)),
    }
}

fn without_names(found: Vec<(String, Manifest, Time)>) -> Vec<(Manifest, Time)> {
    let found = found.into_iter();
    found.map(|(_, manifest, made)| (manifest, made)).collect()
}

/// Most threads that fetch and open.
const WORKERS_MAX: usize = 4;

/// How many threads fetch and open pieces.
pub(in crate::import) fn workers() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .clamp(2, WORKERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Manifests that say the same each, and say that they are so long.
    struct Many(Vec<Object>, Vec<u8>);

    impl Origin for Many {
        fn objects(&self) -> &[Object] {
            &self.0
        }

        fn read(&self, _object: &Object) -> Result<Vec<u8>, Unread> {
            Ok(self.1.clone())
        }
    }

    fn read(count: usize, bytes: u64, pieces: usize) -> Result<usize, String> {
        let objects = (0..count).map(|at| Object {
            name: format!("{at}-manifest.json"),
            bytes,
            at,
            made: Time(0),
        });
        let pieces = vec!["\"\""; pieces].join(",");
        let json = format!(r#"{{"files":{{"a":{{"chunks":[{pieces}]}}}}}}"#);
        let read = manifests(&Many(objects.collect(), json.into_bytes()));
        read.map(|all| all.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn all_manifests_of_an_archive_together_have_limits() {
        assert_eq!(read(4, MANIFEST_BYTES_MAX, 1), Ok(4));
        let bytes = read(5, MANIFEST_BYTES_MAX, 1).expect_err("too long");
        assert!(bytes.contains("together: more than"), "{bytes}");
        assert_eq!(read(2, 100, 200_000), Ok(2));
        let pieces = read(3, 100, 200_000).expect_err("too many");
        assert!(pieces.contains("pieces: more than"), "{pieces}");
    }
}
