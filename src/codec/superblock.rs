//! The one object that can be read without a key: what the drive is, and how a secret opens it.

use crate::codec::Error;
use crate::codec::Sealed;
use crate::codec::VERSION;
use crate::codec::key::Keys;
use crate::codec::key::MasterKey;
use crate::codec::key::RecoveryKey;
use crate::codec::key::Secret;
use crate::codec::key::random;
use crate::codec::prefix;
use crate::codec::slot::Slot;
use crate::codec::wire::Reader;
use crate::codec::wire::Writer;
use crate::id::DriveId;

pub use crate::codec::slot::Cost;

const WHAT: &str = "the superblock";
/// Longest `places`, in bytes.
pub const PLACES_MAX: usize = 64 << 10;
/// Most key slots.
const SLOTS_MAX: usize = 4;
const MAC_LEN: usize = 32;
const SUM_LEN: usize = 4;

/// The drive's first object: header, key slots, places. Everybody can read it, only a holder of the
/// master key can make one that opens.
///
/// A secret that opened an older generation still opens that older superblock, so the newest
/// generation ever seen is worth remembering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    drive: DriveId,
    generation: u64,
    places: Vec<u8>,
    slots: Vec<Slot>,
    mac: [u8; MAC_LEN],
}

/// What is random in a new superblock; only tests choose it.
pub(in crate::codec) struct Chance {
    pub(in crate::codec) drive: DriveId,
    pub(in crate::codec) master: MasterKey,
    pub(in crate::codec) recovery: RecoveryKey,
    pub(in crate::codec) salts: [[u8; 32]; 2],
}

impl Superblock {
    /// A new drive with a random id and master key, which the secret and the recovery key open.
    ///
    /// # Errors
    /// `Bounds` when the cost or the places are outside their limits; `Mistyped` when the secret is
    /// itself a recovery key, which only an existing drive can have.
    pub fn create(
        secret: &Secret,
        cost: Cost,
        places: Vec<u8>,
    ) -> Result<(Self, MasterKey, RecoveryKey), Error> {
        let chance = Chance {
            drive: DriveId(random()),
            master: MasterKey::generate(),
            recovery: RecoveryKey::generate(),
            salts: [random(), random()],
        };
        let superblock = Self::create_by(&chance, secret, cost, places)?;
        Ok((superblock, chance.master, chance.recovery))
    }

    pub(in crate::codec) fn create_by(
        chance: &Chance,
        secret: &Secret,
        cost: Cost,
        places: Vec<u8>,
    ) -> Result<Self, Error> {
        check_places(places.len())?;
        let Chance {
            drive,
            master,
            recovery,
            salts,
        } = chance;
        let slots = vec![
            Slot::with_passphrase(*drive, master, secret, cost, salts[0])?,
            Slot::with_recovery(*drive, master, recovery, salts[1]),
        ];
        Ok(Self {
            drive: *drive,
            generation: 1,
            places,
            slots,
            mac: [0; MAC_LEN],
        }
        .authenticated(master))
    }

    /// The drive.
    #[must_use]
    pub fn drive(&self) -> DriveId {
        self.drive
    }

    /// Version of the format this was read in, or will be written in.
    #[must_use]
    pub fn version(&self) -> u16 {
        VERSION
    }

    /// 1 at creation, greater by one with each change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the drive is kept: opaque here, readable by everybody, authenticated by [`Superblock::open`].
    #[must_use]
    pub fn places(&self) -> &[u8] {
        &self.places
    }

    /// The master key, once the secret fits a slot and every byte proved to be the key holder's.
    ///
    /// # Errors
    /// `WrongKey` when no slot opens (`Mistyped` when the secret looks like a recovery key with a typing error),
    /// `Damaged` when one opens but something else was changed,
    /// `Bounds` when a slot asks for more memory or time than is allowed.
    pub fn open(&self, secret: &Secret) -> Result<MasterKey, Error> {
        for slot in &self.slots {
            match slot.open(self.drive, secret) {
                Ok(master) if self.expected_mac(&master) == self.mac => return Ok(master),
                Ok(_) => return Err(Error::damaged(WHAT)),
                Err(Error::WrongKey) => {}
                Err(other) => return Err(other),
            }
        }
        Err(secret.misfit())
    }

    /// Did a holder of this key write every byte of it?
    #[must_use]
    pub fn is_by(&self, master: &MasterKey) -> bool {
        self.expected_mac(master) == self.mac
    }

    /// The same drive with another passphrase, in the next generation; recovery keys stay.
    ///
    /// # Errors
    /// `Bounds` when the cost is outside its limits, `Mistyped` when the secret is a recovery key.
    pub fn with_passphrase(
        &self,
        master: &MasterKey,
        new: &Secret,
        cost: Cost,
    ) -> Result<Self, Error> {
        let slot = Slot::with_passphrase(self.drive, master, new, cost, random())?;
        Ok(self.with_slot(master, slot))
    }

    /// The same drive with another recovery key, in the next generation; the passphrase stays.
    #[must_use]
    pub fn with_recovery(&self, master: &MasterKey) -> (Self, RecoveryKey) {
        let recovery = RecoveryKey::generate();
        let slot = Slot::with_recovery(self.drive, master, &recovery, random());
        (self.with_slot(master, slot), recovery)
    }

    /// The same drive with other places, in the next generation.
    ///
    /// # Errors
    /// `Bounds` when the places are longer than [`PLACES_MAX`].
    pub fn with_places(&self, master: &MasterKey, places: Vec<u8>) -> Result<Self, Error> {
        check_places(places.len())?;
        let mut next = self.clone();
        next.places = places;
        Ok(next.advanced(master))
    }

    /// Replaces the slots of the same kind.
    fn with_slot(&self, master: &MasterKey, slot: Slot) -> Self {
        let mut next = self.clone();
        next.slots.retain(|old| old.lock.kind() != slot.lock.kind());
        // Nobody reads more; only a superblock that no version wrote has so many of one kind.
        next.slots.truncate(SLOTS_MAX - 1);
        next.slots.push(slot);
        next.slots.sort_by_key(|slot| slot.lock.kind());
        next.advanced(master)
    }

    fn advanced(mut self, master: &MasterKey) -> Self {
        self.generation = self.generation.saturating_add(1);
        self.authenticated(master)
    }

    /// Every byte, authenticated with the master key.
    #[must_use]
    pub fn encode(&self, master: &MasterKey) -> Sealed {
        let mut bytes = Writer::new();
        bytes
            .raw(&self.body())
            .raw(self.expected_mac(master).as_bytes());
        let sum = crc32fast::hash(bytes.as_bytes());
        bytes.u32(sum);
        Sealed::new(bytes.finish())
    }

    /// Reads a superblock, and gives its bytes as they were, to be put once more without the master key.
    ///
    /// # Errors
    /// As [`Superblock::decode`].
    pub fn again(bytes: &[u8]) -> Result<(Self, Sealed), Error> {
        let read = Self::decode(bytes)?;
        Ok((read, Sealed::new(bytes.to_vec())))
    }

    /// Reads a superblock, without proof yet of who made it: that is [`Superblock::open`]'s.
    ///
    /// # Errors
    /// `Damaged`, `NewerVersion`, or `Bounds` when a slot asks for more memory or time than is allowed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::damaged(WHAT);
        prefix::SUPERBLOCK.strip(bytes)?;
        let (summed, sum) = bytes.split_last_chunk::<SUM_LEN>().ok_or_else(damaged)?;
        if crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return Err(damaged());
        }
        let mut reader = Reader::new(prefix::SUPERBLOCK.strip(summed)?, WHAT);
        let drive = DriveId(reader.array()?);
        let generation = reader.u64()?;
        let count = usize::from(reader.u8()?);
        if count > SLOTS_MAX {
            return Err(Error::bounds("the number of key slots"));
        }
        let slots = (0..count)
            .map(|_| Slot::decode(&mut reader))
            .collect::<Result<_, _>>()?;
        let places_len = usize::try_from(reader.u32()?).map_err(|_| damaged())?;
        check_places(places_len)?;
        let places = reader.raw(places_len)?.to_vec();
        let mac = reader.array()?;
        reader.finish()?;
        Ok(Self {
            drive,
            generation,
            places,
            slots,
            mac,
        })
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Writer::new();
        body.raw(&prefix::SUPERBLOCK.bytes())
            .raw(&self.drive.0)
            .u64(self.generation)
            .u8(u8::try_from(self.slots.len()).expect("at most SLOTS_MAX and one"));
        for slot in &self.slots {
            body.raw(&slot.encode());
        }
        body.u32(u32::try_from(self.places.len()).expect("at most PLACES_MAX"))
            .raw(&self.places);
        body.finish()
    }

    fn expected_mac(&self, master: &MasterKey) -> blake3::Hash {
        Keys::derive(master, self.drive).superblock(&self.body())
    }

    fn authenticated(mut self, master: &MasterKey) -> Self {
        self.mac = *self.expected_mac(master).as_bytes();
        self
    }
}

fn check_places(len: usize) -> Result<(), Error> {
    if len > PLACES_MAX {
        return Err(Error::bounds("the places in the superblock"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::passphrase(text.into()).expect("not empty")
    }

    fn created() -> (Superblock, MasterKey, RecoveryKey) {
        Superblock::create(&secret("right"), Cost::LEAST, b"channels".to_vec()).expect("in bounds")
    }

    fn read(superblock: &Superblock, master: &MasterKey) -> Superblock {
        Superblock::decode(&superblock.encode(master).to_bytes()).expect("well made")
    }

    #[test]
    fn passphrase_and_recovery_key_open() {
        let (superblock, master, recovery) = created();
        let read = read(&superblock, &master);
        assert_eq!(read, superblock);
        assert_eq!((read.generation(), read.places()), (1, &b"channels"[..]));
        let recovery = Secret::recovery(&recovery.to_string()).expect("as printed");
        for secret in [&secret("right"), &recovery] {
            assert_eq!(read.open(secret).expect("fits").0, master.0);
        }
        assert_eq!(read.open(&secret("wrong")).err(), Some(Error::WrongKey));
        let other = Secret::recovery(&RecoveryKey::generate().to_string()).expect("as printed");
        assert_eq!(read.open(&other).err(), Some(Error::WrongKey));
    }

    #[test]
    fn a_passphrase_that_begins_like_a_recovery_key_opens() {
        let text = "ods-recovery is my favourite phrase";
        let (first, master, recovery) = created();
        let with = |text| {
            let superblock = first.with_passphrase(&master, &secret(text), Cost::LEAST);
            superblock.expect("in bounds")
        };
        let typed = |text: &str| Secret::typed(text).expect("not empty");
        assert_eq!(with(text).open(&typed(text)).expect("fits").0, master.0);
        // Even one that is a whole recovery key, of another drive.
        let key = RecoveryKey::generate().to_string();
        assert_eq!(with(&key).open(&typed(&key)).expect("fits").0, master.0);
        let recovery = recovery.to_string();
        assert_eq!(first.open(&typed(&recovery)).expect("fits").0, master.0);
        assert_eq!(first.open(&typed(&key)).err(), Some(Error::WrongKey));
        let mistyped = first.open(&typed(&recovery[..recovery.len() - 1]));
        assert!(matches!(mistyped.err(), Some(Error::Mistyped { .. })));
    }

    #[test]
    fn secrets_change_without_touching_data() {
        let (first, master, recovery) = created();
        let old_recovery = Secret::recovery(&recovery.to_string()).expect("as printed");
        let second = first
            .with_passphrase(&master, &secret("new"), Cost::LEAST)
            .expect("in bounds");
        let (third, recovery) = second.with_recovery(&master);
        let fourth = third
            .with_places(&master, b"elsewhere".to_vec())
            .expect("short");
        let read = read(&fourth, &master);
        assert_eq!((read.generation(), read.places()), (4, &b"elsewhere"[..]));
        assert_eq!(read.open(&secret("new")).expect("fits").0, master.0);
        assert_eq!(read.open(&secret("right")).err(), Some(Error::WrongKey));
        assert_eq!(second.open(&old_recovery).expect("fits").0, master.0);
        assert_eq!(read.open(&old_recovery).err(), Some(Error::WrongKey));
        let recovery = Secret::recovery(&recovery.to_string()).expect("as printed");
        assert_eq!(read.open(&recovery).expect("fits").0, master.0);
        assert!(matches!(
            read.with_passphrase(&master, &recovery, Cost::LEAST),
            Err(Error::Mistyped { .. })
        ));
    }

    #[test]
    fn a_forger_with_a_right_checksum_is_found_out() {
        let (superblock, master, _) = created();
        let bytes = superblock.encode(&master).to_bytes();
        for at in 0..bytes.len() - SUM_LEN {
            let mut forged = bytes[..bytes.len() - SUM_LEN].to_vec();
            forged[at] ^= 1;
            let sum = crc32fast::hash(&forged);
            forged.extend_from_slice(&sum.to_le_bytes());
            let opened = Superblock::decode(&forged).and_then(|read| read.open(&secret("right")));
            assert!(opened.is_err(), "byte {at} may be changed");
        }
    }

    #[test]
    fn costs_have_bounds_before_memory_is_taken() {
        let dear = Cost {
            log2_n: 30,
            ..Cost::LEAST
        };
        assert!(matches!(
            Superblock::create(&secret("right"), dear, Vec::new()),
            Err(Error::Bounds { .. })
        ));

        let (superblock, master, _) = created();
        let mut bytes = superblock.encode(&master).to_bytes()[..].to_vec();
        bytes.truncate(bytes.len() - SUM_LEN);
        assert_eq!(bytes[34], Cost::LEAST.log2_n);
        bytes[34] = 40;
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        assert!(matches!(
            Superblock::decode(&bytes),
            Err(Error::Bounds { .. })
        ));
    }

    #[test]
    fn places_have_a_limit() {
        let made = |len| Superblock::create(&secret("right"), Cost::LEAST, vec![7; len]);
        let (superblock, master, _) = made(PLACES_MAX).expect("in bounds");
        assert_eq!(read(&superblock, &master), superblock);
        assert!(matches!(made(PLACES_MAX + 1), Err(Error::Bounds { .. })));
        assert!(
            superblock
                .with_places(&master, vec![0; PLACES_MAX + 1])
                .is_err()
        );
    }
}
