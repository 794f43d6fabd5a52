//! Manifests of the slicer, versions up to 3.1: which pieces make which file.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de;
use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::clock::Time;
use crate::legacy::Error;
use crate::legacy::MANIFEST_BYTES_MAX;
use crate::legacy::PIECES_MAX;

/// What of an archive is sealed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nothing: pieces are plain, and together perhaps gzip.
    Plain,
    /// Each piece.
    Pieces,
    /// Each file, over all of its pieces.
    Files,
}

/// One manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What of it is sealed at once.
    pub seal: Seal,
    /// Name of the folder that was sliced, as it was written down.
    pub folder: Option<String>,
    /// The files, in the order of their ids.
    pub files: Vec<File>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, as it was written down.
    pub name: String,
    /// Its length, if it was written down.
    pub bytes: Option<u64>,
    /// What it is made of, in order; the names of gaps are empty.
    pub pieces: Vec<Piece>,
}

/// One piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The name of its file or attachment.
    pub name: String,
    /// Its length as it is kept, if it was written down.
    pub bytes: Option<u64>,
}

#[derive(Deserialize)]
struct RawManifest {
    #[serde(default)]
    encrypted: Truth,
    encryption_scope: Option<String>,
    source_folder: Option<String>,
    files: RawFiles,
}

/// A value as Python takes it when it asks whether it is so; it is not kept.
#[derive(Default)]
struct Truth(bool);

/// By id. Each takes its final form as it is read, and what is more than may be is not read.
struct RawFiles(BTreeMap<String, File>);

#[derive(Deserialize)]
struct RawFile {
    original_name: Option<String>,
    original_size: Option<u64>,
    #[serde(default)]
    chunks: Option<RawPieces>,
}

/// No more of them are read than may be.
#[derive(Default)]
struct RawPieces(Vec<RawPiece>);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPiece {
    Name(String),
    Full {
        name: String,
        size: Option<u64>,
        index: Option<u64>,
    },
}

/// The file that Finder makes, which nobody wants back.
const IGNORED: &str = ".DS_Store";

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is none; [`Error::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Manifest, Error> {
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "a manifest",
                bytes_max: MANIFEST_BYTES_MAX,
            });
        }
        let raw: RawManifest = serde_json::from_slice(bytes)
            .map_err(|error| Error::damaged(format!("no manifest: {error}")))?;
        let seal = match (raw.encrypted.0, raw.encryption_scope.as_deref()) {
            (false, _) => Seal::Plain,
            (true, Some("chunk")) => Seal::Pieces,
            (true, Some("file") | None) => Seal::Files,
            (true, Some(other)) => {
                let scope: String = other.chars().take(40).collect();
                return Err(Error::damaged(format!("unknown scope `{scope}`")));
            }
        };
        let files = raw.files.0.into_values();
        let files = files.filter(|file| file.name != IGNORED).collect();
        Ok(Manifest {
            seal,
            folder: raw.source_folder,
            files,
        })
    }

    /// How much of [`PIECES_MAX`] it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.files.iter().map(File::weight).sum()
    }
}

/// Reads [`RawFiles`].
struct FilesVisitor;

/// Reads [`RawPieces`].
struct PiecesVisitor;

fn too_many<E: de::Error>() -> E {
    E::custom(Error::TooMany {
        what: "pieces",
        count_max: PIECES_MAX,
    })
}

impl<'de> de::Visitor<'de> for FilesVisitor {
    type Value = RawFiles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files by their ids")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut from: A) -> Result<RawFiles, A::Error> {
        let (mut files, mut count) = (BTreeMap::new(), 0);
        while let Some((id, raw)) = from.next_entry::<String, RawFile>()? {
            let file = file(id.clone(), raw);
            count += file.weight();
            if count > PIECES_MAX {
                return Err(too_many());
            }
            files.insert(id, file);
        }
        Ok(RawFiles(files))
    }
}

impl<'de> Deserialize<'de> for RawFiles {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RawFiles, D::Error> {
        from.deserialize_map(FilesVisitor)
    }
}

impl<'de> de::Visitor<'de> for PiecesVisitor {
    type Value = RawPieces;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pieces")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut from: A) -> Result<RawPieces, A::Error> {
        let mut pieces = Vec::new();
        while let Some(piece) = from.next_element()? {
            if pieces.len() as u64 == PIECES_MAX {
                return Err(too_many());
            }
            pieces.push(piece);
        }
        Ok(RawPieces(pieces))
    }
}

impl<'de> Deserialize<'de> for RawPieces {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RawPieces, D::Error> {
        from.deserialize_seq(PiecesVisitor)
    }
}

impl File {
    /// How much of [`PIECES_MAX`] it takes.
    fn weight(&self) -> u64 {
        self.pieces.len().max(1) as u64
    }
}

/// Reads [`Truth`].
struct TruthVisitor;

impl<'de> de::Visitor<'de> for TruthVisitor {
    type Value = Truth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Truth, E> {
        Ok(Truth(false))
    }

    fn visit_bool<E>(self, is_so: bool) -> Result<Truth, E> {
        Ok(Truth(is_so))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Truth, E> {
        Ok(Truth(number != 0))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Truth, E> {
        Ok(Truth(number != 0))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Truth, E> {
        Ok(Truth(number != 0.0))
    }

    fn visit_str<E>(self, text: &str) -> Result<Truth, E> {
        Ok(Truth(!text.is_empty()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut from: A) -> Result<Truth, A::Error> {
        while from.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Truth(true))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut from: A) -> Result<Truth, A::Error> {
        while from
            .next_entry::<de::IgnoredAny, de::IgnoredAny>()?
            .is_some()
        {}
        Ok(Truth(true))
    }
}

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Truth, D::Error> {
        from.deserialize_any(TruthVisitor)
    }
}

fn file(id: String, raw: RawFile) -> File {
    let pieces = raw.chunks.unwrap_or_default().0;
    let mut numbered: Vec<(u64, Piece)> = Vec::with_capacity(pieces.len());
    for (at, piece) in (0..).zip(pieces) {
        numbered.push(match piece {
            RawPiece::Name(name) => (at, Piece { name, bytes: None }),
            RawPiece::Full { name, size, index } => {
                (index.unwrap_or(at), Piece { name, bytes: size })
            }
        });
    }
    numbered.sort_by_key(|(index, _)| *index);
    File {
        name: raw.original_name.unwrap_or(id),
        bytes: raw.original_size,
        pieces: with_gaps(numbered),
    }
}

/// Puts a piece without a name where one is missing: one is enough to make the file incomplete.
fn with_gaps(numbered: Vec<(u64, Piece)>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(numbered.len());
    let mut next = 0;
    for (index, piece) in numbered {
        if index > next {
            pieces.push(Piece {
                name: String::new(),
                bytes: None,
            });
        }
        next = index.saturating_add(1);
        pieces.push(piece);
    }
    pieces
}

/// Is this the name of a manifest, and not that of a piece?
#[must_use]
pub fn is_manifest(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".json") && name.contains("manifest")
}

/// When a manifest was made, as its name says (`…manifest_HHMMSS_DDMMYY…`). The slicer wrote the time
/// of its own clock's zone, which nobody knows any more: it is taken for UTC.
#[must_use]
pub fn made(name: &str) -> Option<Time> {
    let (_, rest) = name.rsplit_once("manifest_")?;
    let digits = rest.get(..13)?;
    // Two digits of a year have no century of their own.
    let (time, year) = digits.split_at_checked(11)?;
    let with_century = format_description!("[hour][minute][second]_[day][month][year]");
    let at = PrimitiveDateTime::parse(&format!("{time}20{year}"), with_century).ok()?;
    let ns = at.assume_utc().unix_timestamp_nanos();
    i64::try_from(ns).ok().map(Time)
}

/// The first half of the SHA-256 of a piece, as its name has it: `NNNN-<file>-<hash>-<index>.bin`.
#[must_use]
pub fn hash_in(name: &str) -> Option<[u8; 8]> {
    let mut words = name.strip_suffix(".bin")?.split('-');
    let hash = words.nth(2).filter(|hash| hash.len() == 16)?;
    let bytes = data_encoding::HEXLOWER.decode(hash.as_bytes()).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_forms_are_read() {
        let plain = br#"{"files":{"b":{"original_name":"x","chunks":["p1","p0"]},
            "a":{"original_name":".DS_Store","chunks":[]}}}"#;
        let manifest = Manifest::decode(plain).expect("reads");
        assert_eq!(manifest.seal, Seal::Plain);
        assert_eq!(manifest.files.len(), 1);
        let names: Vec<&str> = manifest.files[0].pieces.iter().map(|p| &*p.name).collect();
        assert_eq!(names, ["p1", "p0"], "in the order of the list");
        let file = br#"{"encrypted":true,"files":{}}"#;
        assert_eq!(Manifest::decode(file).expect("reads").seal, Seal::Files);
    }

    #[test]
    fn pieces_are_in_order_and_a_gap_shows() {
        let json = br#"{"encrypted":true,"encryption_scope":"chunk","files":{"b":{"original_name":"x",
            "original_size":9,"chunks":[{"name":"three","size":1,"index":3},{"name":"nil","index":0}]}}}"#;
        let manifest = Manifest::decode(json).expect("reads");
        let names: Vec<&str> = manifest.files[0].pieces.iter().map(|p| &*p.name).collect();
        assert_eq!(names, ["nil", "", "three"]);
    }

    #[test]
    fn what_is_so_is_what_python_takes_for_it() {
        for (text, seal) in [
            ("null", Seal::Plain),
            ("false", Seal::Plain),
            ("0", Seal::Plain),
            ("0.0", Seal::Plain),
            ("\"\"", Seal::Plain),
            ("true", Seal::Files),
            ("1", Seal::Files),
            ("-1.5", Seal::Files),
            ("\"yes\"", Seal::Files),
            ("[[0],{}]", Seal::Files),
            ("{\"a\":[]}", Seal::Files),
        ] {
            let json = format!(r#"{{"encrypted":{text},"files":{{}}}}"#);
            let manifest = Manifest::decode(json.as_bytes()).expect("reads");
            assert_eq!(manifest.seal, seal, "{text}");
        }
    }

    #[test]
    fn no_more_pieces_are_taken_than_may_be() {
        let pieces = |count: usize| vec!["\"\""; count].join(",");
        let most = usize::try_from(PIECES_MAX).expect("fits");
        let refused = |json: String| {
            let error = Manifest::decode(json.as_bytes()).expect_err("too many");
            assert!(error.to_string().contains("pieces: more than"), "{error}");
        };
        let one = |count| format!(r#"{{"files":{{"a":{{"chunks":[{}]}}}}}}"#, pieces(count));
        let manifest = Manifest::decode(one(most).as_bytes()).expect("as many as may be");
        assert_eq!(manifest.weight(), PIECES_MAX);
        refused(one(most + 1));
        let half = pieces(most / 2 + 1);
        refused(format!(
            r#"{{"files":{{"a":{{"chunks":[{half}]}},"b":{{"chunks":[{half}]}}}}}}"#
        ));
        let empty: Vec<String> = (0..=most).map(|id| format!("\"{id}\":{{}}")).collect();
        refused(format!(r#"{{"files":{{{}}}}}"#, empty.join(",")));
    }

    #[test]
    fn names_tell_time_and_hash() {
        let at = made("6-manifest_140848_201126.json").expect("a time");
        assert_eq!(at.seconds(), 1_795_183_728);
        assert_eq!(made("6-manifest_140848_201126_2.json"), Some(at));
        assert_eq!(made("manifest.json"), None);
        assert_eq!(made("x-manifest_999999_999999.json"), None);
        let hash = hash_in("0001-f5d9cd2fa64d-d2bd4cd1d10fe62e-0000.bin");
        assert_eq!(hash, Some([0xd2, 0xbd, 0x4c, 0xd1, 0xd1, 0x0f, 0xe6, 0x2e]));
        assert_eq!(hash_in("plain.bin"), None);
    }
}
