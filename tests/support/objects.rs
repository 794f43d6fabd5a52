//! Objects to put: sealed bytes of wanted sizes.

#![allow(dead_code, reason = "each suite uses a part of it")]

use ods::codec::{Sealed, segment};
use ods::id::{DriveId, EpochNo};
use ods::store::Object;

use ods::codec::key::{Keys, MasterKey};

/// Sealed bytes of a bit more than `plain_bytes`, different each time.
pub(crate) fn sealed(plain_bytes: usize) -> Sealed {
    let keys = Keys::derive(&MasterKey::from_bytes([7; 32]), DriveId([1; 16]));
    let header = segment::PartHeader {
        kind: segment::Kind::Segment,
        epoch: EpochNo(1),
        set: [0; 16],
        part: 0,
        parts: 1,
        previous: [0; 32],
    };
    // Noise, so that it does not shrink.
    let mut plain = vec![0; plain_bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut plain);
    segment::seal_part(&keys, &header, &plain).expect("within bounds")
}

pub(crate) fn object(name: &str, plain_bytes: usize) -> Object {
    Object {
        name: name.into(),
        body: sealed(plain_bytes),
    }
}

/// All bytes of an object, as they should be read back.
pub(crate) fn bytes_of(object: &Object) -> Vec<u8> {
    object.body.parts().concat()
}

/// The same bytes of a bit more than 9 MiB under each name, sealed once for all tests.
pub(crate) fn nine_mib(names: &[&str]) -> Vec<Object> {
    static BODY: std::sync::OnceLock<Sealed> = std::sync::OnceLock::new();
    let body = BODY.get_or_init(|| sealed(9 << 20));
    let object = |name: &&str| Object {
        name: (*name).into(),
        body: body.clone(),
    };
    names.iter().map(object).collect()
}

/// More than Discord takes, sealed once for all tests.
pub(crate) fn over_ten_mib(name: &str) -> Object {
    static BODY: std::sync::OnceLock<Sealed> = std::sync::OnceLock::new();
    Object {
        name: name.into(),
        body: BODY.get_or_init(|| sealed(10 << 20)).clone(),
    }
}
