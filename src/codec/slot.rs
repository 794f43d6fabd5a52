//! The key slots of a superblock: how a passphrase or a recovery key opens the master key.

use hkdf::Hkdf;
use scrypt::Params;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::codec::Error;
use crate::codec::key::MasterKey;
use crate::codec::key::RecoveryKey;
use crate::codec::key::Secret;
use crate::codec::key::Typed;
use crate::codec::prefix;
use crate::codec::seal::Cipher;
use crate::codec::seal::TAG_LEN;
use crate::codec::wire::Reader;
use crate::codec::wire::Writer;
use crate::id::DriveId;

/// What one try of a passphrase costs. Memory is `128 · r · 2^log2_n` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Binary logarithm of scrypt's N.
    pub log2_n: u8,
    /// scrypt's r, the block size.
    pub r: u16,
    /// scrypt's p, how many times over.
    pub p: u16,
}

impl Default for Cost {
    /// 128 MiB and about 0.3 seconds.
    fn default() -> Self {
        Self {
            log2_n: 17,
            r: 8,
            p: 1,
        }
    }
}

impl Cost {
    /// As cheap as is allowed, 1 MiB: for trials. A passphrase is easily guessed at this cost.
    pub const LEAST: Cost = Cost {
        log2_n: 10,
        r: 8,
        p: 1,
    };
    const LOG2_N_MAX: u8 = 20;
    const R_MAX: u16 = 16;
    const P_MAX: u16 = 4;
    const MEMORY_BYTES_MAX: u64 = 1 << 30;

    /// Fails on what would take too much memory or time, before any is taken.
    fn params(self) -> Result<Params, Error> {
        let Self { log2_n, r, p } = self;
        let fits = (Self::LEAST.log2_n..=Self::LOG2_N_MAX).contains(&log2_n)
            && (1..=Self::R_MAX).contains(&r)
            && (1..=Self::P_MAX).contains(&p)
            && (128 * u64::from(r)) << log2_n <= Self::MEMORY_BYTES_MAX;
        let fault = || Error::bounds("the cost of the passphrase");
        if !fits {
            return Err(fault());
        }
        Params::new(log2_n, r.into(), p.into()).map_err(|_| fault())
    }
}

/// The master key, sealed by one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::codec) struct Slot {
    pub(in crate::codec) lock: Lock,
    salt: [u8; 32],
    sealed: [u8; 32 + TAG_LEN],
}

/// How a secret becomes the key of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::codec) enum Lock {
    Passphrase(Cost),
    Recovery,
}

impl Lock {
    pub(in crate::codec) fn kind(self) -> u8 {
        match self {
            Lock::Passphrase(_) => 1,
            Lock::Recovery => 2,
        }
    }
}

impl Slot {
    pub(in crate::codec) fn with_passphrase(
        drive: DriveId,
        master: &MasterKey,
        secret: &Secret,
        cost: Cost,
        salt: [u8; 32],
    ) -> Result<Self, Error> {
        let Typed::Passphrase(text) = &secret.0 else {
            return Err(Error::Mistyped {
                what: "a passphrase is needed here, not a recovery key",
            });
        };
        let kek = passphrase_kek(text, cost, &salt)?;
        Ok(Self::seal(
            drive,
            master,
            Lock::Passphrase(cost),
            salt,
            &kek,
        ))
    }

    pub(in crate::codec) fn with_recovery(
        drive: DriveId,
        master: &MasterKey,
        recovery: &RecoveryKey,
        salt: [u8; 32],
    ) -> Self {
        let kek = recovery_kek(recovery, &salt);
        Self::seal(drive, master, Lock::Recovery, salt, &kek)
    }

    fn seal(
        drive: DriveId,
        master: &MasterKey,
        lock: Lock,
        salt: [u8; 32],
        kek: &[u8; 32],
    ) -> Self {
        let mut slot = Self {
            lock,
            salt,
            sealed: [0; 32 + TAG_LEN],
        };
        let mut buffer = Zeroizing::new([0; 32 + TAG_LEN]);
        buffer[..32].copy_from_slice(&master.0[..]);
        Cipher::new(kek).seal(0, &slot.associated(drive), &mut buffer[..]);
        slot.sealed = *buffer;
        slot
    }

    pub(in crate::codec) fn open(
        &self,
        drive: DriveId,
        secret: &Secret,
    ) -> Result<MasterKey, Error> {
        let kek = match (&secret.0, self.lock) {
            (Typed::Passphrase(text) | Typed::Either(_, text), Lock::Passphrase(cost)) => {
                passphrase_kek(text, cost, &self.salt)?
            }
            (Typed::Recovery(key) | Typed::Either(Ok(key), _), Lock::Recovery) => {
                recovery_kek(key, &self.salt)
            }
            (Typed::Recovery(_), Lock::Passphrase(_))
            | (Typed::Passphrase(_) | Typed::Either(Err(_), _), Lock::Recovery) => {
                return Err(Error::WrongKey);
            }
        };
        let mut buffer = Zeroizing::new(self.sealed);
        Cipher::new(&kek)
            .open(0, &self.associated(drive), &mut buffer[..])
            .map_err(|_| Error::WrongKey)?;
        let mut master = Zeroizing::new([0; 32]);
        master.copy_from_slice(&buffer[..32]);
        Ok(MasterKey(master))
    }

    /// The slot's bytes.
    pub(in crate::codec) fn encode(&self) -> Vec<u8> {
        [&self.head()[..], &self.sealed].concat()
    }

    /// Everything of the slot but the sealed key.
    fn head(&self) -> Vec<u8> {
        let (log2_n, r, p) = match self.lock {
            Lock::Passphrase(cost) => (cost.log2_n, cost.r, cost.p),
            Lock::Recovery => (0, 0, 0),
        };
        let mut head = Writer::with_capacity(38);
        head.u8(self.lock.kind())
            .u8(log2_n)
            .u16(r)
            .u16(p)
            .raw(&self.salt);
        head.finish()
    }

    fn associated(&self, drive: DriveId) -> Vec<u8> {
        [&prefix::SUPERBLOCK.bytes()[..], &drive.0, &self.head()].concat()
    }

    pub(in crate::codec) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = reader.u8()?;
        let cost = Cost {
            log2_n: reader.u8()?,
            r: reader.u16()?,
            p: reader.u16()?,
        };
        let lock = match (kind, cost) {
            (1, cost) => {
                cost.params()?;
                Lock::Passphrase(cost)
            }
            (
                2,
                Cost {
                    log2_n: 0,
                    r: 0,
                    p: 0,
                },
            ) => Lock::Recovery,
            _ => return Err(reader.damaged()),
        };
        Ok(Self {
            lock,
            salt: reader.array()?,
            sealed: reader.array()?,
        })
    }
}

fn passphrase_kek(text: &str, cost: Cost, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut kek = Zeroizing::new([0; 32]);
    scrypt::scrypt(text.as_bytes(), salt, &cost.params()?, &mut kek[..])
        .map_err(|_| Error::bounds("the cost of the passphrase"))?;
    Ok(kek)
}

fn recovery_kek(key: &RecoveryKey, salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut kek = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), &key.0[..])
        .expand(b"ods 1 recovery", &mut kek[..])
        .expect("shorter than HKDF's limit of 8,160 bytes");
    kek
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_have_bounds() {
        let of = |log2_n, r, p| Cost { log2_n, r, p }.params().is_ok();
        assert!(of(17, 8, 1) && of(20, 8, 1) && of(10, 8, 4) && of(19, 16, 1));
        assert!(!of(21, 8, 1) && !of(20, 9, 1) && !of(63, 1, 1) && !of(255, 1, 1));
        assert!(!of(9, 8, 1) && !of(17, 0, 1) && !of(17, 8, 0) && !of(17, 8, 5));
        assert!(!of(10, u16::MAX, 1) && !of(10, 1, u16::MAX));
    }
}
